"""What pictures show: crops of both kinds, an object in its worst plane, cut to a square."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.studies.em.shown_parts import crops_of_each_kind, cut_square, square_around, worst_plane
from mtl.studies.em.study import EMStudy


def test_crops_of_both_kinds_are_shown_where_both_are_drawn(tmp_path, tiny_parameters):
    partly = {"phantom_unannotated": 0.1, "crops_per_epoch": 40, "crop_side": 16, "crop_planes": 4}
    study = EMStudy(tiny_parameters(tmp_path, **partly))
    modes = [sample["mode"] for sample in study.crops("late")]
    assert set(modes[:4]) == {"interactive"} and "fractionary" in modes
    shown = crops_of_each_kind(study, "late")
    assert len(shown) == 4 and {sample["mode"] for sample in shown} >= {"fractionary", "interactive"}
    whole = EMStudy(tiny_parameters(tmp_path, run="whole", phantom_unannotated=0.0))
    assert {sample["mode"] for sample in crops_of_each_kind(whole, "late")} == {"interactive"}


def test_the_worst_plane_is_one_that_holds_the_object():
    truth, mask = np.zeros((2, 4, 6, 6), bool)
    truth[0, :2], truth[1, :3], truth[2, :3] = True, True, True
    mask[1, :3], mask[2, :2], mask[3] = True, True, True  # plane 3: all too much, but no object
    assert worst_plane(truth, [mask]) == 0  # misses all of it
    mask[0, :2] = True
    assert worst_plane(truth, [mask]) == 2
    assert worst_plane(truth, [truth]) in (1, 2)  # nothing wrong: most of the object


def test_squares_hold_object_and_mask_with_a_margin():
    truth, mask = np.zeros((2, 40, 60), bool)
    truth[0:5, 50:60], mask[0:8, 45:60] = True, True
    row, column, side = square = square_around(truth, truth | mask, margin=4)
    assert row <= -4 and column <= 41 and row + side >= 12 and column + side >= 64
    cut = cut_square(mask, square, 0)
    assert cut.shape == (side, side) and cut.dtype == bool and cut.sum() == mask.sum()
    assert cut[-row : 8 - row, 45 - column : 60 - column].all()
    grey = cut_square(np.ones((40, 60), np.float32), square, np.nan)
    assert np.isnan(grey[: -row]).all() and np.isfinite(grey[-row, 45 - column])  # fmt: skip


def test_a_mask_over_half_the_volume_does_not_make_its_object_tiny():
    truth = np.zeros((300, 300), bool)
    truth[100:110, 200:210] = True
    row, column, side = square_around(truth, np.ones_like(truth), most=64)
    assert side == 64 and row + (side - 1) / 2 == pytest.approx(104.5, abs=0.5)
    assert column + (side - 1) / 2 == pytest.approx(204.5, abs=0.5)
    truth[:200] = True
    assert square_around(truth, truth, margin=4, most=64)[2] == 308  # the object is shown whole
