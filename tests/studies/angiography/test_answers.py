"""Answers of the angiography reports: what is said of shuffled films, of one objective, of phantoms."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mtl.studies.angiography.answers import (
    PHANTOM_CLAIM,
    captions_answer,
    clip_answer,
    data_answer,
    objectives_answer,
    settings_answer,
    training_answer,
)

REAL = {"made_up": False}
NOTHING = {
    data_answer: {},
    training_answer: {"update_share": {}, "pairs": {}},
    captions_answer: {"retrieval": {}, "fields": {}, "alarms_said": ""},
    objectives_answer: {"differences": {}},
    settings_answer: {"differences": {}},
    clip_answer: {"grounding": {}, "steps": 1},
}


@pytest.mark.parametrize("answer", NOTHING)
def test_every_answer_about_made_up_films_says_so(answer: Callable[[dict], str]) -> None:
    assert answer(NOTHING[answer] | {"made_up": True}).endswith(PHANTOM_CLAIM)
    assert PHANTOM_CLAIM not in answer(NOTHING[answer] | REAL)


def test_the_objective_that_moves_the_encoder_most_is_named() -> None:
    shares, pairs = {"contrastive": 0.2, "captioning": 0.8}, {"conflict": 1, "agree": 2}
    said = training_answer(REAL | {"update_share": shares, "pairs": pairs})
    assert "*captioning* moves" in said and "{training.update_share.captioning:.0%}" in said
    assert "{training.pairs.conflict} conflict" in said
    assert "conflict" not in training_answer(REAL | {"update_share": shares, "pairs": {}})
    assert "nothing to compare" in training_answer(REAL | {"update_share": {}, "pairs": {}})


def test_a_writer_that_ignores_the_film_is_called_so() -> None:
    section = REAL | {"retrieval": {}, "fields": {"captions": {}}, "ignores_video": True, "alarms_said": ""}
    section |= {"fields_defined": True, "percents_defined": True}
    assert "**The writer is not shown to use the film**" in captions_answer(section)
    assert "the writer looks at the film" in captions_answer(section | {"ignores_video": False})
    assert "Neither contrast nor captions" in captions_answer(section | {"fields": {}})
    assert "Alarms: " not in captions_answer(section)
    assert "points over all findings" in captions_answer(section)
    assert "points over all" not in captions_answer(section | {"percents_defined": False})
    undefined = captions_answer(section | {"fields_defined": False})
    assert undefined.startswith("No segment is named") and "shown to use the film" not in undefined
    assert "Alarms: {retrieval" in captions_answer(section | {"alarms_said": "few studies"})


def test_differences_are_said_with_their_verdicts() -> None:
    rows = {"fields": {"verdict": "positive"}, "to_report": {"verdict": "inconclusive"}}
    section = REAL | {"differences": {"without_masked": rows}}
    said = objectives_answer(section)
    assert said.startswith("All objectives minus without masked")
    assert "(*all objectives are better*)" in said and "(*no difference shown*)" in said
    assert "(*the run's own setting is better*)" in settings_answer(section)
    assert "nothing to compare" in objectives_answer(REAL | {"differences": {"without_masked": {}}})


def test_the_place_of_attention_is_said_where_boxes_are_known() -> None:
    assert "true box" in clip_answer(REAL | {"grounding": {"pointing": 0.5}, "steps": 4})
    assert "true box" not in clip_answer(REAL | {"grounding": {}, "steps": 4})


def test_a_clip_of_one_step_has_no_largest_step() -> None:
    assert "step {one_clip_in_depth.peak_step}" in clip_answer(REAL | {"grounding": {}, "steps": 4})
    assert "peak_step" not in clip_answer(REAL | {"grounding": {}, "steps": 1})
