"""Alarms of segmentations and clicks ring where they should and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mtl.evaluation.em import alarms, evaluate_instances
from mtl.evaluation.em.alarms import (
    WORDS,
    alarm_table,
    block_alarms,
    click_alarms,
    mostly_merged_alarms,
    object_alarms,
    segmentation_alarms,
    tiny_mask_alarms,
)
from mtl.evaluation.protocol import Alarm
from mtl.evaluation.statistics import Estimate


def estimate(value: float, low: float | None = None, high: float | None = None, n: int = 40) -> Estimate:
    return Estimate(value, low, high, n, "object")


@pytest.fixture
def truth() -> np.ndarray:
    """Sixty-four cubes."""
    cells = np.arange(1, 65).reshape(4, 4, 4)
    return cells.repeat(4, 0).repeat(4, 1).repeat(4, 2)


def codes(found: list[Alarm]) -> set[str]:
    return {alarm.code for alarm in found}


def test_a_perfect_segmentation_is_silent(truth):
    scores = evaluate_instances(truth, truth, n_resamples=100)
    assert segmentation_alarms(scores, 0.0, estimate(-0.3, -0.4, -0.2)) == []


def test_everything_mostly_merged(truth):
    scores = evaluate_instances(np.ones_like(truth), truth, n_resamples=100)
    assert codes(segmentation_alarms(scores)) == {"mostly_merged"}
    few = np.where(truth <= 16, (truth + 1) // 2, truth)  # sixteen of them joined in pairs
    assert segmentation_alarms(evaluate_instances(few, truth, n_resamples=100)) == []


@pytest.mark.parametrize(
    ("difference", "code", "said"),
    [
        (estimate(0.1, 0.05, 0.2), "worse_than_baseline", "the interval lies above zero"),
        (estimate(0.1, -0.05, 0.2), "not_better_than_baseline", "the interval includes zero"),
        (estimate(-0.01, -0.1, 0.2), "not_better_than_baseline", "the interval includes zero"),
        (estimate(-0.1, -0.2, -0.05), None, ""),
    ],
)
def test_not_better_than_the_watershed(truth, difference, code, said):
    found = segmentation_alarms(evaluate_instances(truth, truth, n_resamples=100), None, difference)
    assert codes(found) == ({code} if code else set())
    assert all(said in alarm.message for alarm in found)


@pytest.mark.parametrize(("validation", "side"), [(0.1, "worse"), (0.5, "better"), (0.3, None)])
def test_a_validation_part_unlike_the_test_part(truth, validation, side):
    scores = evaluate_instances(truth, truth, n_resamples=100) | {"adapted_rand": estimate(0.3, 0.2, 0.4)}
    found = segmentation_alarms(scores, validation)
    assert (side is None and not found) or (codes(found) == {"validation_apart"} and side in found[0].message)


def test_few_objects():
    assert codes(object_alarms(29)) == {"few_objects"} and object_alarms(30) == []


def test_few_blocks(truth):
    few = evaluate_instances(truth, truth, parts=(3, 3, 3), n_resamples=100)
    (alarm,) = block_alarms(few)
    assert alarm.code == "few_blocks" and "only 27 blocks" in alarm.message
    assert block_alarms(evaluate_instances(truth, truth, parts=(4, 4, 4), n_resamples=100)) == []


def test_what_has_no_value_is_named(truth):
    scores = evaluate_instances(truth, truth, min_size=100, n_resamples=100)  # all are crumbs
    (alarm,) = segmentation_alarms(scores)
    assert alarm.code == "undefined" and "ap50 (no object to count" in alarm.message


def clicks(gain: Estimate, failed: float, first: Estimate | None = None) -> dict[str, Estimate]:
    return {"gain@1": first or estimate(0.1, 0.0, 0.2), "gain@3": gain, "failed@85": estimate(failed)}


def test_clicks():
    assert click_alarms(clicks(estimate(0.2, 0.1, 0.3), 0.2), 3) == []
    assert codes(click_alarms(clicks(estimate(-0.1, -0.2, 0.0), 0.9), 3)) == {
        "clicks_do_not_help",
        "mostly_failed",
    }
    assert codes(click_alarms(clicks(estimate(0.1, -0.1, 0.3), 0.2), 3)) == {"clicks_do_not_help"}


def test_clicks_that_make_it_worse():
    (alarm,) = click_alarms(clicks(estimate(-0.2, -0.3, -0.1), 0.2), 3)
    assert alarm.code == "clicks_harm" and "-0.200 after 3 clicks;" in alarm.message
    (alarm,) = click_alarms(clicks(estimate(0.3, 0.2, 0.4), 0.2, first=estimate(-0.1, -0.2, -0.05)), 3)
    assert alarm.code == "clicks_harm" and "-0.100 after 1 click;" in alarm.message


def test_masks_that_end_at_the_click():
    (alarm,) = tiny_mask_alarms([1, 100, 125, 4000], 125)
    assert alarm.code == "tiny_masks" and "75% of the masks hold at most 125 voxels" in alarm.message
    assert tiny_mask_alarms([400, 500], 125) == [] and tiny_mask_alarms([], 125) == []
    assert tiny_mask_alarms([1, 2], 0) == []  # the arm's clicks change nothing, or everything


def test_decodings_that_were_not_chosen_ring_for_joined_objects_alone(truth):
    joined = evaluate_instances(np.ones_like(truth), truth, n_resamples=100)
    assert codes(mostly_merged_alarms(joined)) == {"mostly_merged"}
    assert mostly_merged_alarms(evaluate_instances(truth, truth, n_resamples=100)) == []


def test_the_table_says_what_rang():
    rows = alarm_table({"late": [Alarm("few_objects", "only 3")], "input": []})
    assert rows.values.tolist() == [["late", "few objects", "only 3"]]
    assert alarm_table({"late": []}).empty


def test_every_code_has_words_for_readers():
    source = Path(alarms.__file__).read_text(encoding="utf-8")
    raised = set(re.findall(r'Alarm\(\s*"(\w+)"', source))
    assert raised == set(WORDS) and not any("_" in words for words in WORDS.values())
