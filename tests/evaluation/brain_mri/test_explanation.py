"""Figures of maps against examples worked out by hand, and against naive loops and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mtl.errors import DataError, ParameterError
from mtl.evaluation.brain_mri.explanation import (
    centre_prior,
    energy_inside,
    hit_by_chance,
    map_figures,
    map_iou,
    near,
    pointing_hit,
    points_somewhere,
    rank_similarity,
)

#: Energy 10; the maximum 4 at (1, 2); at half of it there are (1, 1), (1, 2) and (2, 2).
CAM = np.array([[0, 0, 0, 0], [0, 2, 4, 1], [0, 0, 2, 0], [1, 0, 0, 0]], dtype=np.float32)
FIGURES = ("pointing_hit", "pointing_hit_near", "iou", "energy_inside", "energy_outside_head")


def mask_of(*pixels: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((4, 4), np.uint8)
    mask[tuple(zip(*pixels, strict=True))] = 1
    return mask


def test_the_maximum_hits_the_mask_or_not():
    assert pointing_hit(CAM, mask_of((1, 2))) == 1
    assert pointing_hit(CAM, mask_of((1, 1), (2, 2))) == 0


def test_a_tolerance_widens_the_mask_by_so_many_pixels():
    assert pointing_hit(CAM, mask_of((2, 3)), tolerance=1) == 0  # diagonal: 1.41 pixels away
    assert pointing_hit(CAM, mask_of((2, 3)), tolerance=1.5) == 1
    expected = [[math.hypot(r - 2, c - 3) <= 1.5 for c in range(4)] for r in range(4)]
    np.testing.assert_array_equal(near(mask_of((2, 3)), 1.5), expected)


def test_tied_maxima_count_by_share():
    cam = np.zeros((4, 4))
    cam[0, :4] = 3.0
    assert pointing_hit(cam, mask_of((0, 0), (3, 3))) == 0.25


def test_chance_is_the_share_of_the_head_that_the_mask_covers():
    head = np.zeros((4, 4), bool)
    head[1:, :] = True
    assert hit_by_chance(mask_of((0, 0), (1, 1), (2, 2), (3, 0)), head) == 3 / 12
    assert hit_by_chance(mask_of((0, 0)), head, tolerance=1) == 1 / 12
    assert math.isnan(hit_by_chance(np.zeros((4, 4)), head))


def test_iou_takes_what_reaches_the_stated_share_of_the_maximum():
    mask = mask_of((1, 2), (1, 3))
    assert map_iou(CAM, mask) == 1 / 4
    assert map_iou(CAM, mask, share=0.25) == 2 / 5
    assert map_iou(CAM, mask, share=1) == 1 / 2


def test_energy_is_a_share_of_the_sum():
    assert energy_inside(CAM, mask_of((1, 1), (3, 0), (0, 0))) == pytest.approx(3 / 10)
    figures = map_figures(CAM, mask_of((1, 2)), CAM != 1, tolerance=1)
    assert figures["energy_inside"] == pytest.approx(4 / 10)
    assert figures["energy_outside_head"] == pytest.approx(2 / 10)
    assert figures["undefined"] == 0


@pytest.mark.parametrize("level", [0.0, 0.1, 7.0])
def test_a_map_that_is_the_same_everywhere_is_undefined_in_every_figure(level):
    flat = np.full((4, 4), level, np.float32)
    flat[0, 0] *= 1 + 1e-7  # as interpolation leaves it
    figures = map_figures(flat, mask_of((1, 2)), np.ones((4, 4), bool), tolerance=1)
    assert figures["undefined"] == 1 and not points_somewhere(flat)
    assert all(math.isnan(figures[name]) for name in FIGURES)


@pytest.mark.parametrize("mask", [None, np.zeros((4, 4), np.uint8)])
def test_without_a_filled_mask_only_the_head_is_asked_about(mask):
    figures = map_figures(CAM, mask, CAM > 0, tolerance=1)
    assert [name for name in FIGURES if math.isnan(figures[name])] == list(FIGURES[:4])
    assert figures["energy_outside_head"] == pytest.approx(0)


def test_what_is_no_map_or_no_setting_is_refused():
    with pytest.raises(DataError, match="without negative values"):
        points_somewhere(-CAM)
    with pytest.raises(DataError, match="one shape"):
        pointing_hit(CAM, np.zeros((3, 3)))
    with pytest.raises(ParameterError, match="share = 0"):
        map_iou(CAM, mask_of((1, 1)), share=0)
    with pytest.raises(ParameterError, match="tolerance = -1"):
        pointing_hit(CAM, mask_of((1, 1)), tolerance=-1)


def test_the_centre_prior_is_a_gaussian_with_the_moments_of_the_head():
    head = np.zeros((9, 11), bool)
    head[2:7, 3:10] = True
    prior = centre_prior(head)
    assert np.unravel_index(prior.argmax(), prior.shape) == (4, 6) and prior.max() == pytest.approx(1)
    rows, columns = np.nonzero(head)
    expected = math.exp(-0.5 * (2**2 / rows.var(ddof=1) + 1**2 / columns.var(ddof=1)))
    assert prior[6, 7] == pytest.approx(expected)
    with pytest.raises(DataError, match="no extent"):
        centre_prior(np.eye(1, 9, 3, dtype=bool))


def test_rank_similarity_is_spearmans_of_every_case_and_undefined_for_a_flat_map():
    rng = np.random.default_rng(0)
    first, second = rng.random((4, 3, 5)).round(1), rng.random((4, 3, 5)).round(1)  # rounded: ties
    second[3] = 0
    found = rank_similarity(first, second)
    expected = [
        stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first[:3], second[:3], strict=True)
    ]
    np.testing.assert_allclose(found[:3], expected)
    assert math.isnan(found[3])
