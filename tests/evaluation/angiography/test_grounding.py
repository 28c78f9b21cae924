"""Grounding: constant maps get chance, planted maps get full marks; boxes against masks of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import DataError
from mtl.evaluation.angiography import box_scores, grounding_scores, summarise_grounding
from mtl.evaluation.angiography.grounding import cells_inside, coverage, iou

BOX = [0.25, 0.5, 0.5, 0.75]
sides = st.lists(st.integers(0, 20), min_size=2, max_size=2, unique=True).map(sorted)
boxes = st.tuples(sides, sides).map(lambda yx: (yx[0][0], yx[1][0], yx[0][1], yx[1][1]))


@settings(max_examples=25, deadline=None)
@given(boxes, boxes)
def test_iou_equals_that_of_masks(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    masks = np.zeros((2, 20, 20), bool)
    for mask, (y0, x0, y1, x1) in zip(masks, (one, other), strict=True):
        mask[y0:y1, x0:x1] = True
    expected = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    assert iou(np.array([one]) / 20, np.array([other]) / 20)[0] == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(boxes)
def test_coverage_and_inside_equal_those_of_fine_pixels(box: tuple[int, ...]) -> None:
    y0, x0, y1, x1 = box
    mask = np.zeros((20, 20))
    mask[y0:y1, x0:x1] = 1
    expected = mask.reshape(5, 4, 4, 5).mean(axis=(1, 3))
    np.testing.assert_allclose(coverage(np.array(box) / 20, 5, 4), expected, atol=1e-12)
    inside = cells_inside(np.array(box) / 20, 5, 4)
    for row in range(5):
        for column in range(4):
            y, x = 4 * row + 2, 5 * column + 2.5
            centre = y0 <= y <= y1 and x0 <= x <= x1
            holds = row == (y0 + y1) // 2 // 4 and column == int((x0 + x1) / 2 // 5)
            assert inside[row, column] == (centre or holds)


def test_a_constant_map_gets_chance() -> None:
    scores = grounding_scores([np.full((4, 7, 9), 0.3)], [BOX], [5], ["s"], n_frames=8).iloc[0]
    assert scores["pointing"] == pytest.approx(scores["pointing_chance"])
    assert scores["mass"] == pytest.approx(scores["area"]) == 1 / 16 and scores["mass_gain"] == pytest.approx(
        1
    )
    # steps of two frames have their middles at 0.5, 2.5, 4.5, 6.5
    assert scores["frame_error"] == scores["frame_error_chance"] == pytest.approx((4.5 + 2.5 + 0.5 + 1.5) / 4)


def test_a_map_on_the_box_and_one_beside_it() -> None:
    on, beside = np.zeros((2, 4, 8, 8))
    on[2, 2:4, 4:6] = [[1, 1], [1, 2]]
    beside[0, 7, 0] = 1
    scores = grounding_scores([on, beside], [BOX] * 2, [5, 5], ["s", "t"], n_frames=8)
    assert scores["pointing"].tolist() == [1, 0] and scores["mass"].tolist() == [1, 0]
    assert scores["mass_gain"].iloc[0] == pytest.approx(16)
    assert scores["frame_error"].tolist() == [0.5, 4.5]
    assert scores["pointing_chance"].tolist() == [4 / 64] * 2
    summary = summarise_grounding(scores, n_resamples=50)
    assert summary["pointing"].value == 0.5 and summary["pointing"].n == 2 and "iou" not in summary


def test_the_scale_of_a_map_does_not_matter() -> None:
    maps = np.random.default_rng(0).random((4, 6, 6))
    one, other = (grounding_scores([s * maps], [BOX], [0], ["s"], n_frames=8) for s in (1, 250))
    np.testing.assert_allclose(
        one.drop(columns="study").astype(float), other.drop(columns="study").astype(float)
    )


def test_one_frame_clips_have_no_frame_error() -> None:
    assert grounding_scores([np.ones((1, 4, 4))], [BOX], [0], ["s"], n_frames=1)["frame_error"].item() == 0


def test_named_boxes() -> None:
    truth = [BOX] * 4
    named = [BOX, [0.25, 0.5, 0.5, 1.0], [0.5, 0.75, 0.25, 0.5], [np.nan] * 4]
    table = box_scores(named, truth, list("abcd"), predicted_frames=[1, 2, 3, np.nan], frames=[1, 1, 1, 1])
    assert table["iou"].tolist() == [1, 0.5, 0, 0], "corners amiss have no area"
    assert table["hit"].tolist() == [1, 1, 0, 0] and table["missing"].tolist() == [0, 0, 0, 1]
    assert table["centre_error"].tolist()[:3] == pytest.approx([0, 0.125, 0])
    summary = summarise_grounding(table, n_resamples=50)
    assert summary["iou"].value == pytest.approx(1.5 / 4) and summary["frame_error"].value == pytest.approx(1)
    assert summary["centre_error"].n == 3 and summary["missing"].value == 0.25
    assert "frame_error" not in box_scores(named, truth, list("abcd"))


def test_errors() -> None:
    good = {"maps": [np.ones((1, 2, 2))], "boxes": [BOX], "frames": [0], "studies": ["s"], "n_frames": 4}
    for change, message in (
        ({"maps": [np.ones((2, 2))]}, r"expected \(t, h, w\)"),
        ({"maps": [-np.ones((1, 2, 2))]}, "finite weights of at least 0"),
        ({"maps": [np.zeros((1, 2, 2))]}, "not all 0"),
        ({"maps": [np.full((1, 2, 2), np.nan)]}, "finite weights"),
        ({"boxes": [[0.5, 0.5, 0.4, 0.6]]}, "box 0 is .* expected 0 <= y0 < y1 <= 1"),
        ({"boxes": [[0.5, 0.5, 20, 30]]}, "box 0 is"),
        ({"boxes": [[0.5, 0.5, 0.6]]}, r"expected \(N, 4\)"),
        ({"frames": [4]}, "planted frame 4: expected 0 to 3"),
        ({"studies": ["s", "t"]}, "columns of different lengths"),
    ):
        with pytest.raises(DataError, match=message):
            grounding_scores(**good | change)
    with pytest.raises(DataError, match="expected one shape"):
        box_scores(np.ones((2, 4)), [BOX], ["s"])
