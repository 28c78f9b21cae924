"""Answers worded as their numbers allow: every branch is a template that its section can fill."""

from __future__ import annotations

import re

import pytest

from mtl.reporting.claims import claim
from mtl.studies.em.answers import (
    ablations_answer,
    clicks_answer,
    data_answer,
    error_reading,
    evaluation_answer,
    training_answer,
)

ESTIMATE = {"value": 0.3, "low": 0.2, "high": 0.4, "n": 27, "unit": "block"}


def said(name: str, answer: str, section: dict) -> str:
    """The answer as a reader sees it."""
    return re.sub(r"<[^>]+>|\*", "", claim(answer, {name: section}).data)


def data(**told) -> str:
    told = {"asked": 1.0, "labelled": 43, "objects": 43} | told
    section = {
        "watershed": dict.fromkeys(("adapted_rand", "voi_split", "voi_merge"), ESTIMATE), "blocks": "boxes",
        "objects": 60, "objects_that_count": 50, "unknown": 0.25, "told": told,
    }  # fmt: skip
    return said("data_and_targets", data_answer(section), section)


def test_what_the_network_is_told_has_its_reason():
    assert data().endswith("The network is told 43 of the 43 objects of the training part.")
    assert "intervals are over 27 boxes" in data() and "(lower is better) of 0.30" in data()
    assert "42 of the 43 objects of the training part: what is missing is so thin" in data(labelled=42)
    text = data(labelled=20, asked=0.5)
    assert "a chance of 0.50 per object was asked for" in text and "thin" not in text


def training(**changes) -> str:
    section = {
        "first_arm": "late", "modes": ["automatic", "proofread"], "pairs": 15, "decided": 15, "undecided": 0,
        "conflicts": 2, "why": "", "lowest": {"cosine": -0.2, "first": "a", "second": "b"},
        "update_share": {"semantic": 0.4, "instance": 0.6},
    } | changes  # fmt: skip
    return said("training", training_answer(section), section)


def test_conflicts_are_counted_among_decided_pairs():
    assert "2 of 15 pairs of tasks conflict" in training() and "geometry" not in training()
    text = training(decided=5, undecided=10, why="fewer than three probe batches")
    assert "2 of 5 pairs of tasks conflict" in text and "no verdict on 10 more" in text


def test_nothing_decided_is_no_verdict_and_not_zero_conflicts():
    text = training(decided=0, undecided=15, conflicts=None, why="all noise", lowest=None)
    assert "there is no verdict on any of the 15 pairs of tasks (all noise)" in text
    assert "conflict" not in text


def test_one_mode_and_the_mask_head_are_named():
    assert "Only the automatic mode was trained" in training(modes=["automatic"])
    assert "for the loss of the mask head" in training(update_share={"semantic": 0.4, "target": 0.6})


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
    assert "corrected for all 5 comparisons (Holm): input is better than late (p 0.020);" in text
    assert "embedding is worse than late (p 0.020)" in text
    assert "no difference between multiscale and late is shown (p 0.020)" in text
    assert "no verdict on target_head against late" in text


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


def ablations(n: int, labels: dict | None = None, skipped: str = "") -> str:
    worst = {"name": "without directions", "difference": ESTIMATE} if n else None
    section = {"first_arm": "late", "n": n, "worst": worst, "labels": labels or {}, "skipped": skipped}
    return said("ablations", ablations_answer(section), section)


def test_ablations():
    assert "Of 3 ablations of the arm late, without directions comes out worst" in ablations(3)
    assert "One ablation of the arm late was trained, without directions:" in ablations(1)
    text = ablations(0, skipped="without the geometry head")
    assert "there is nothing to compare, and no verdict" in text
    assert text.endswith(
        "Not trained, because it would change nothing in this run: without the geometry head."
    )


def test_the_realised_share_of_labels_stands_in_the_answer_where_labels_were_taken_away():
    share = {"objects_share": 0.45, "foreground_share": 0.61}
    labels = {"late": share | {"asked": 1.0, "name": "late"}}
    labels |= {"labels_50": share | {"asked": 0.5, "name": "half of the objects labelled"}}
    text = ablations(2, labels)
    assert "half of the objects labelled came to 45% of the objects and 61% of their voxels" in text
    assert "late came" not in text
