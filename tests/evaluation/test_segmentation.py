"""Overlap and distance per case against naive pixel loops, MONAI, and the empty-mask rule."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from mtl.errors import DataError
from mtl.evaluation.segmentation import case_scores, dice, hd95, iou, summarise_cases


def blobs(seed: int, shape: tuple[int, ...] = (20, 24)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    grid = np.indices(shape).astype(float)
    disc = lambda c, r: sum((axis - x) ** 2 for axis, x in zip(grid, c, strict=True)) <= r**2  # noqa: E731
    centre = [rng.uniform(6, n - 6) for n in shape]
    truth = disc(centre, rng.uniform(3, 5))
    return disc([x + rng.uniform(-4, 4) for x in centre], rng.uniform(3, 6)), truth


def naive_surface(mask: np.ndarray) -> list[tuple[int, ...]]:
    found = []
    for point in zip(*np.nonzero(mask), strict=True):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                neighbour = list(point)
                neighbour[axis] += step
                outside = not 0 <= neighbour[axis] < mask.shape[axis]
                if outside or not mask[tuple(neighbour)]:
                    found.append(point)
    return sorted(set(found))


def naive_hd95(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> float:
    first, second = (np.array(naive_surface(mask)) * np.array(spacing) for mask in (a, b))
    distances = np.sqrt(((first[:, None] - second[None]) ** 2).sum(axis=-1))
    return max(np.percentile(distances.min(axis=1), 95), np.percentile(distances.min(axis=0), 95))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0)])
def test_hd95_equals_naive_pairwise_distances(seed: int, spacing: tuple[float, float]) -> None:
    predicted, truth = blobs(seed)
    assert hd95(predicted, truth, spacing) == pytest.approx(naive_hd95(predicted, truth, spacing))


def test_hd95_in_three_dimensions_and_at_the_border() -> None:
    a, b = np.zeros((5, 6, 7), bool), np.zeros((5, 6, 7), bool)
    a[:3, :4, :5], b[2:, 1:, 2:] = True, True
    assert hd95(a, b, (2.0, 1.0, 0.5)) == pytest.approx(naive_hd95(a, b, (2.0, 1.0, 0.5)))


def test_hd95_equals_monai() -> None:
    torch = pytest.importorskip("torch")
    from monai.metrics import compute_hausdorff_distance

    for seed in range(4):
        predicted, truth = blobs(seed)
        tensors = [torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (predicted, truth)]
        theirs = compute_hausdorff_distance(
            *tensors, include_background=True, percentile=95, spacing=(1.5, 0.7)
        )
        assert hd95(predicted, truth, (1.5, 0.7)) == pytest.approx(float(theirs), rel=1e-5)


def test_one_spacing_scales_the_distance() -> None:
    predicted, truth = blobs(1)
    assert hd95(predicted, truth, 2.5) == pytest.approx(2.5 * hd95(predicted, truth))


def test_overlap_by_hand() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[0, :3], b[0, 1:] = True, True
    assert dice(a, b) == pytest.approx(4 / 6) and iou(a, b) == pytest.approx(2 / 4)
    scores = case_scores(a, b)
    assert (scores["mask_pixels"], scores["predicted_pixels"]) == (3, 3)
    assert scores["hd95"] == pytest.approx(naive_hd95(a, b, (1, 1)))


def test_empty_mask_rule() -> None:
    empty, full = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    assert dice(empty, empty) == iou(empty, empty) == 1
    assert dice(empty, full) == iou(full, empty) == 0
    assert all(math.isnan(hd95(*pair)) for pair in ((empty, empty), (empty, full), (full, empty)))


def test_shapes_and_unthresholded_masks_are_refused() -> None:
    with pytest.raises(DataError, match="one shape"):
        dice(np.zeros((3, 3)), np.zeros((3, 4)))
    with pytest.raises(DataError, match="threshold"):
        dice(np.full((3, 3), 0.2), np.zeros((3, 3)))
    with pytest.raises(DataError, match="threshold"):
        iou(np.zeros((3, 3)), np.full((3, 3), 255))


masks = arrays(bool, (6, 7))


@settings(max_examples=60, deadline=None)
@given(masks, masks)
def test_bounds_symmetry_and_the_relation_of_dice_and_iou(a: np.ndarray, b: np.ndarray) -> None:
    assert 0 <= iou(a, b) <= dice(a, b) <= 1
    assert dice(a, b) == dice(b, a) and iou(a, b) == iou(b, a)
    assert dice(a, b) == pytest.approx(2 * iou(a, b) / (1 + iou(a, b)))
    assert (dice(a, b) == 1) == bool((a == b).all())
    assert hd95(a, b) == pytest.approx(hd95(b, a), nan_ok=True)
    if a.any():
        assert hd95(a, a) == 0


def cases() -> pd.DataFrame:
    """Five patients: filled cases with Dice .8 .6 .7 0 (missed) .9; empty: two right, one marked."""
    return pd.DataFrame(
        {
            "patient": ["a", "a", "b", "b", "c", "c", "d", "e"],
            "dice": [0.8, 1.0, 0.6, 1.0, 0.7, 0.0, 0.0, 0.9],
            "iou": [0.7, 1.0, 0.5, 1.0, 0.6, 0.0, 0.0, 0.8],
            "hd95": [2.0, np.nan, 5.0, np.nan, 3.0, np.nan, np.nan, 1.0],
            "mask_pixels": [30, 0, 20, 0, 25, 0, 12, 40],
        }
    )


def test_summary_by_hand() -> None:
    found = summarise_cases(cases(), n_resamples=200)
    values = {name: estimate.value for name, estimate in found.items()}
    assert values == pytest.approx(
        {
            "dice_nonempty": 3.0 / 5,
            "iou_nonempty": 2.6 / 5,
            "hd95": 2.5,
            "hd95_undefined": 1 / 5,
            "empty_falsely_marked": 1 / 3,
            "empty_empty": 2 / 8,
            "dice_all": 5.0 / 8,
        }
    )
    assert {name: estimate.n for name, estimate in found.items()} == {
        "dice_nonempty": 5,
        "iou_nonempty": 5,
        "hd95": 4,
        "hd95_undefined": 5,
        "empty_falsely_marked": 3,
        "empty_empty": 5,
        "dice_all": 5,
    }
    assert all(estimate.unit == "patient" for estimate in found.values())


def test_summary_without_empty_or_without_filled_cases() -> None:
    table = cases()
    filled = summarise_cases(table[table["mask_pixels"] > 0], n_resamples=50)
    assert filled["empty_falsely_marked"].reason == "no case with an empty truth"
    assert filled["empty_empty"].value == 0 and filled["dice_all"].value == filled["dice_nonempty"].value
    empty = summarise_cases(table[table["mask_pixels"] == 0], n_resamples=50)
    assert empty["dice_nonempty"].reason == "no case with a non-empty truth"
    assert empty["hd95"].value is None and empty["hd95"].reason == "no case with both masks filled"


def test_undefined_overlap_is_counted_and_refused() -> None:
    with pytest.raises(DataError, match="dice is undefined for 1 of 8"):
        summarise_cases(cases().assign(dice=[np.nan, 1, 0.6, 1, 0.7, 0, 0, 0.9]))
