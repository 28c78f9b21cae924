"""Answers worded as their numbers allow: every branch is a template that its section can fill."""

from __future__ import annotations

import re

import pytest

from mtl.evaluation.statistics import Estimate
from mtl.reporting.claims import claim
from mtl.studies.em.ablation_answers import ablations_answer, ablations_headline, sides_of_zero
from mtl.studies.em.answers import (
    clicks_answer,
    data_answer,
    error_reading,
    evaluation_answer,
    training_answer,
    training_headline,
)

ESTIMATE = {"value": 0.3, "low": 0.2, "high": 0.4, "n": 27, "unit": "block"}


def said(name: str, answer: str, section: dict) -> str:
    """The answer as a reader sees it."""
    return re.sub(r"<[^>]+>|\*", "", claim(answer, {name: section}).data)


def counts(**changes) -> dict:
    return {
        "pairs": 12, "conflict": 2, "agree": 1, "unclear": 9, "no_verdict": 0, "why": "", "batches": "4",
    } | changes  # fmt: skip


def data(**told) -> str:
    told = {"asked": 1.0, "labelled": 43, "objects": 43, "line_share": 0.2} | told
    section = {
        "watershed": dict.fromkeys(("adapted_rand", "voi_split", "voi_merge"), ESTIMATE), "blocks": "boxes",
        "objects": 60, "objects_that_count": 50, "unknown": 0.25, "told": told,
    }  # fmt: skip
    return said("data_and_targets", data_answer(section), section)


def test_what_the_network_is_told_has_its_reason():
    assert data().endswith("The network is told 43 of the 43 objects of the training part.")
    assert "intervals are over 27 boxes" in data() and "(lower is better) of 0.30" in data()
    assert "42 of the 43 objects of the training part: what is missing is so thin" in data(labelled=42)
    assert "(20% of the object voxels are in that line)" in data(labelled=42)
    text = data(labelled=20, asked=0.5)
    assert "a chance of 0.50 per object was asked for" in text and "thin" not in text


def training(**changes) -> str:
    section = {
        "first_arm": "late", "modes": ["automatic", "proofread"], "different_heads": counts(),
        "same_head": counts(pairs=3, agree=3, conflict=0, unclear=0), "clicks_change": None,
        "lowest": {"cosine": ESTIMATE, "first": "automatic · embedding", "second": "b", "similarity": 0.03},
        "pairs_of_heads": 3, "update_share": {"semantic": 0.4, "instance": 0.6},
    } | changes  # fmt: skip
    return said("training", training_answer(section), section)


def test_pairs_that_cannot_be_told_from_zero_are_not_called_agreement():
    text = training()
    assert (
        "of 12 pairs of tasks of different heads (of 3 pairs of heads, each in every combination of modes) 2 "
        "conflict, 1 agree and 9 cannot be told from zero (4 probe batches)." in text
    )
    assert "The same head in both modes agrees in 3 of 3 pairs, which says little" in text
    assert "geometry" not in text
    some = counts(unclear=4, no_verdict=5, why="fewer than three probe batches")
    assert "4 probe batches), with no verdict on 5 more (fewer than three" in training(different_heads=some)


def test_nothing_decided_is_no_verdict_and_not_zero_conflicts():
    undecided = counts(conflict=0, agree=0, unclear=0, no_verdict=12, why="all noise")
    text = training(different_heads=undecided, lowest=None)
    assert "there is no verdict on any of the 12 pairs of different heads (all noise)" in text
    assert "conflict" not in text
    assert training_headline({"different_heads": undecided}) == "no verdict"


def test_the_card_tells_unclear_from_no_conflict():
    section = {"different_heads": counts(conflict=0, agree=0, unclear=12)}
    assert training_headline(section) == "0 conflict / 0 agree / 12 unclear"


def test_one_mode_and_the_mask_head_are_named():
    none = counts(pairs=0, agree=0, conflict=0, unclear=0)
    text = training(modes=["automatic"], same_head=none)
    assert "Only the automatic mode was trained" in text and "same head" not in text
    assert "for the loss of the mask head" in training(update_share={"semantic": 0.4, "target": 0.6})


@pytest.mark.parametrize(
    ("value", "higher", "text"),
    [
        (0.0312, True, "by 3.1% at most (the embedding losses of epoch 2: higher with clicks)."),
        (0.00041, False, "by 0.041% at most (the embedding losses of epoch 2: lower with clicks)."),
        (0.0, False, "Clicks change none of its training losses."),
    ],
)
def test_what_clicks_change_is_told_where_both_modes_were_trained(value, higher, text):
    change = {"value": value, "higher": higher, "head": "instance", "epoch": 2}
    assert text in training(clicks_change=change)
    assert "Clicks change" not in training(clicks_change=change, modes=["automatic"])


def comparison(verdict: str, figure: str = "dice@3", second: str = "input") -> dict:
    return {"figure": figure, "first": "late", "second": second, "verdict": verdict, "p_holm": 0.02}


def clicks(rows: list[dict], **changes) -> str:
    section = {
        "clicks": 3, "best": {"arm": "late", "dice": ESTIMATE, "gain": ESTIMATE}, "zero": ESTIMATE,
        "practised": True, "comparisons": rows, "family": len(rows), "alarms": "none",
    } | changes  # fmt: skip
    return said("click_curves", clicks_answer(section), section)


def test_arms_are_told_apart_in_the_words_of_their_verdict():
    rows = [
        comparison("no difference shown", "dice@0"),
        comparison("better"),
        comparison("worse", second="embedding"),
        comparison("no difference shown", second="multiscale"),
        comparison("no verdict", second="target_head"),
    ]
    text = clicks(rows)
    assert "In Dice after 3 clicks, paired by object" in text
    assert "all 5 comparisons of the table (Holm): input is better than late (p 0.020);" in text
    assert "embedding is worse than late (p 0.020)" in text
    assert "no difference between multiscale and late is shown (p 0.020)" in text
    assert "no verdict on target_head against late" in text


def test_measures_that_disagree_are_named():
    rows = [comparison("better"), comparison("worse", "noc@85"), comparison("better", second="embedding")]
    assert "Other measures of the table say the opposite of input." in clicks(rows)
    assert "opposite" not in clicks(rows[::2])


def test_a_loss_is_not_called_a_gain():
    assert "a change of 0.30" in clicks([]) and "gain" not in clicks([]) and "(27 objects)" in clicks([])


def test_one_arm_or_no_practice():
    assert "Holm" not in clicks([])
    text = clicks([], practised=False, clicks=1)
    assert "After 1 click the arm" in text and "never practised" in text


@pytest.mark.parametrize(
    ("low", "high", "reading"),
    [
        (-0.2, -0.1, "the network is better"),
        (0.1, 0.2, "the network is worse"),
        (-0.1, 0.1, "no difference shown"),
        (None, None, "no verdict"),
    ],
)
def test_the_interval_of_a_difference_of_errors_is_read(low, high, reading):
    assert error_reading(low, high) == reading


@pytest.mark.parametrize("cost", [None, {"difference": ESTIMATE, "verdict": "non-inferior"}])
def test_the_cost_of_clicks_is_told_where_it_was_asked(cost):
    section = {
        "network": {"name": "late", "decoding": "by embedding", "scores": {"adapted_rand": ESTIMATE}},
        "baseline": {"adapted_rand": ESTIMATE}, "minus_baseline": ESTIMATE, "reading": "the network is worse",
        "proofread_cost": cost, "alarms_of_network": "few objects", "blocks": "columns through all planes",
    }  # fmt: skip
    text = said("decoding_and_evaluation", evaluation_answer(section), section)
    assert ("a loss as large as the margin is excluded" in text) == bool(cost)
    first, second = text.split(". ")[:2]  # the gallery's card shows the first
    assert "test part by 0.30" in first and first.endswith("the network is worse")
    assert "decoding: by embedding" in first
    assert second.endswith("intervals are over 27 columns through all planes")
    assert "Alarms of this network and of the test part: few objects." in text


def ablations(
    intervals: dict[str, tuple], labels: dict | None = None, skipped: str = "", spread: float | None = None
) -> str:
    sides = sides_of_zero(intervals)
    farthest = {"name": "without directions", "difference": ESTIMATE} if intervals else None
    section = {
        "first_arm": "late", "n": len(intervals), "farthest": farthest, "sides": sides,
        "counts": {side: len(names) for side, names in sides.items()},
        "labels": labels or {}, "skipped": skipped, "spread": spread, "beyond_spread": 1, "n_arms": 5,
    }  # fmt: skip
    return said("ablations", ablations_answer(section), section)


def test_ablations_are_counted_by_the_side_of_their_interval():
    text = ablations({"a": (0.1, 0.2), "b": (-0.3, -0.1), "c": (-0.2, -0.1), "d": (-0.1, 0.1)})
    first, second = text.split(". ")[:2]
    assert first == (
        "One training of each, so no verdict: of 4 ablations of the arm late, the intervals over blocks put "
        "the adapted Rand error of 1 above the arm's, of 2 below it and of 1 on neither side (no difference "
        "shown)"
    )
    assert second.startswith("Farthest from the arm, on either side, is without directions: its error minus")


def test_nothing_that_gets_worse_is_no_worst_ablation():
    text = ablations({"a": (-0.17, 0.07), "b": (-0.5, -0.2), "c": (None, None)})
    assert "of none above the arm's, of 1 below it and of 1 on neither side (no difference" in text
    assert "shown); 1 without an interval." in text and "worst" not in text


def test_differences_are_held_against_those_between_the_arms():
    text = ablations({"a": (0.1, 0.2), "b": (-0.3, -0.1)}, spread=0.26)
    assert "The 5 arms, whose backbones learn from the same losses, lie up to 0.26 apart themselves" in text
    assert "1 of the differences are larger than that" in text
    assert "apart themselves" not in ablations({"a": (0.1, 0.2), "b": (-0.3, -0.1)})


@pytest.mark.parametrize(
    ("interval", "reading"),
    [
        ((0.1, 0.2), "worse than the arm, by its interval over blocks"),
        ((-0.2, -0.1), "better than the arm, by its interval over blocks"),
        ((-0.2, 0.1), "no difference shown"),
        ((None, None), "without an interval"),
    ],
)
def test_one_ablation_alone_is_read_by_its_interval(interval, reading):
    text = ablations({"without directions": interval})
    assert text.startswith(
        "One training of each, so no verdict: the arm late was trained again once (without"
    )
    assert text.endswith(f": {reading}.")


def test_the_card_of_the_ablations_begins_with_all_of_them_and_goes_on_with_the_farthest():
    intervals = {"a": (0.1, 0.3), "b": (-0.9, -0.1), "c": (None, None)}
    values = {"a": 0.2, "b": -0.5, "c": None}
    errors = {name: Estimate(values[name], *ends, n=4, unit="block") for name, ends in intervals.items()}
    entries = ablations_headline("late", errors, sides_of_zero(intervals))
    assert entries[0]["value"] == "1 / 1 / 0"
    assert [entry["value"].value for entry in entries[1:]] == [-0.5, 0.2, None]
    assert entries[1]["label"] == "Adapted Rand error, b, minus late"
    assert ablations_headline("late", {}, sides_of_zero({})) == []


def test_no_ablation_at_all():
    text = ablations({}, skipped="without the geometry head")
    assert "there is nothing to compare, and no verdict" in text
    assert text.endswith(
        "Not trained, because it would change nothing in this run: without the geometry head."
    )


def test_the_realised_share_of_labels_stands_in_the_answer_where_labels_were_taken_away():
    share = {"objects_share": 0.45, "foreground_share": 0.61}
    labels = {"late": share | {"asked": 1.0, "name": "late"}}
    labels |= {"labels_50": share | {"asked": 0.5, "name": "half of the objects labelled"}}
    text = ablations({"a": (0.1, 0.2), "b": (0.1, 0.2)}, labels)
    assert "half of the objects labelled came to 45% of the objects and 61% of their voxels" in text
    assert "late came" not in text
