"""How settings read, and how planes are chosen and cut to what they are to show."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.inference.em.watershed import watershed_grid
from mtl.studies.em.segmentation_scores import (
    cut_square,
    decoding_name,
    described,
    square_around,
    worst_plane,
)

GRID = {"threshold": [0.8, 0.9, 0.95], "merge_distance": [0.0, 1.5, 3.0], "bandwidth": [1.0, 1.5]}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"threshold": 0.95, "merge_distance": 1.5}, "threshold 0.95 (edge), merge distance 1.5"),
        ({"threshold": 0.8, "merge_distance": 3.0}, "threshold 0.8 (edge), merge distance 3 (edge)"),
        ({"merge_distance": 0.0, "bandwidth": 1.0}, "merge distance 0, bandwidth 1"),
    ],
)  # fmt: skip
def test_values_at_the_edge_of_their_grid_are_marked(settings, said):
    assert described(settings, GRID) == said


def test_lengths_have_their_unit_over_all_grids_of_a_method():
    grid = watershed_grid((40, 8, 8))
    chosen = {"sigma": 16, "seed_distance": 40, "wall_share": 0.4}
    assert described(chosen, grid) == "sigma 16 nm, seed distance 40 nm (edge), wall share 0.4 (edge)"
    assert described({"sigma": 8, "membrane_share": None}, grid) == "sigma 8 nm (edge), membrane share none"


def test_decodings_are_not_called_what_an_arm_is_called():
    names = ["embedding", "direction", "boundary watershed"]
    assert [decoding_name(name) for name in names] == ["by embedding", "by direction", "boundary watershed"]


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
