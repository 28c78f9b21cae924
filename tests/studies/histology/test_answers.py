"""Answers of the histology reports: what is said of the largest weight, and of alarms."""

from __future__ import annotations

from mtl.studies.histology.answers import alarms_said, training_answer

SECTION = {
    "shown": {"seg": "segmentation", "edge": "edge"},
    "alphas": {"seg": 2.0, "edge": 10.0},
    "share_at_ten": {"seg": 0.97, "edge": 0.2},
    "precision": None,
}


def test_a_large_weight_that_moves_little_is_named() -> None:
    said = training_answer(SECTION | {"update_share": {"seg": 0.8, "edge": 0.2}})
    assert "moved most by the loss *segmentation*" in said
    assert "*edge*, whose weight of {training.alphas.edge:g} is the largest" in said
    assert "{training.share_at_ten.seg:.0%} of the update for *segmentation*" in said
    assert "{training.share_at_ten.edge:.0%} for *edge*" in said


def test_the_loss_that_weighs_and_moves_most_is_named_once() -> None:
    said = training_answer(SECTION | {"update_share": {"seg": 0.2, "edge": 0.8}})
    assert said.split("A weight of ten")[0].count("*edge*") == 1 and "the largest as well" in said


def test_alarms_of_every_method_are_said_once() -> None:
    few, blob = "6 images, fewer than 30", "in 2 of 6 images ten nuclei and more become one"
    rung = [{"part": "test", "method": name, "alarm": few} for name in ("Otsu", "network")]
    rung.append({"part": "outside", "method": "network", "alarm": blob})
    assert alarms_said(rung, 2) == f"test, every method: {few}; outside, network: {blob}"
    assert alarms_said([], 2) == "none"
