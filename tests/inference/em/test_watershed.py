"""Watershed on made membranes, tuned as the study tunes it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mtl.errors import DataError, ParameterError
from mtl.evaluation.em import adapted_rand_error
from mtl.evaluation.em.tuning import tune
from mtl.inference.em.watershed import watershed_grid, watershed_instances
from mtl.studies.em.made_embeddings import cells


def membranes(labels: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
    """Bright cells, dark where an axis' neighbour has another id, blurred and noisy."""
    dark = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        dark |= ndimage.grey_dilation(labels, [3 if a == axis else 1 for a in range(labels.ndim)]) != labels
    image = ndimage.gaussian_filter(np.where(dark, 0.2, 0.8), [0.5] * labels.ndim)
    return (image + noise * np.random.default_rng(seed).normal(size=labels.shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "n", "spacing"), [((80, 80), 12, (4.0, 4.0)), ((12, 48, 48), 8, (20.0, 5.0, 5.0))]
)
def test_tuned_watershed_finds_cells(shape, n: int, spacing) -> None:
    truth = cells(shape, n, spacing, seed=1)
    image = membranes(truth, noise=0.05)
    few, many = watershed_grid(spacing)
    grid = [few | {"sigma": [min(spacing)], "membrane_share": [None, 0.35]}, many | {"wall_share": [0.2]}]
    found = tune(lambda **point: watershed_instances(image, spacing, **point), grid, truth)
    assert len(found.table) == 12 and found.error < 0.25
    assert found.error < found.table["adapted_rand"].max()  # there was something to tune


def test_every_voxel_is_labelled_and_crumbs_are_gone() -> None:
    image = np.random.default_rng(0).uniform(size=(40, 40)).astype(np.float32)
    found = watershed_instances(image, (1.0, 1.0), sigma=1.0, seed_distance=3.0, min_size=30)
    assert found.min() == 1 and np.bincount(found.ravel())[1:].min() >= 30
    assert set(np.unique(found)) == set(range(1, found.max() + 1))


def test_distances_are_in_nanometres() -> None:
    truth = cells((60, 60), 9, (1.0, 1.0), seed=3)
    image = membranes(truth, noise=0.05)
    one = watershed_instances(image, (1.0, 1.0), sigma=1.5, seed_distance=8.0)
    ten = watershed_instances(image, (10.0, 10.0), sigma=15.0, seed_distance=80.0)
    assert adapted_rand_error(one, ten) == 0


def test_clear_errors() -> None:
    image = np.zeros((8, 8), np.float32)
    with pytest.raises(DataError, match="2 dimensions"):
        watershed_instances(image, (1.0, 1.0, 1.0), sigma=1.0, seed_distance=2.0)
    with pytest.raises(DataError, match="spacing None for a map of 2 dimensions"):
        watershed_instances(image, None, sigma=1.0, seed_distance=2.0)
    with pytest.raises(DataError, match="the map holds NaN"):
        watershed_instances(image * np.nan, (1.0, 1.0), sigma=1.0, seed_distance=2.0)
    with pytest.raises(ParameterError, match="seed_distance = 0"):
        watershed_instances(image, (1.0, 1.0), sigma=1.0, seed_distance=0)
    with pytest.raises(ParameterError, match="membrane_share = 1.5"):
        watershed_instances(image, (1.0, 1.0), sigma=1.0, seed_distance=2.0, membrane_share=1.5)
    with pytest.raises(ParameterError, match="wall_share = 0"):
        watershed_instances(image, (1.0, 1.0), sigma=1.0, seed_distance=2.0, wall_share=0)


def test_weak_walls_join_what_too_many_seeds_part() -> None:
    truth = cells((90, 90), 6, (1.0, 1.0), seed=5)
    image = membranes(truth, noise=0.02)
    settings = {"sigma": 1.0, "seed_distance": 3.0, "min_size": 1}
    parted = watershed_instances(image, (1.0, 1.0), **settings)
    joined = watershed_instances(image, (1.0, 1.0), wall_share=0.2, **settings)
    assert truth.max() <= joined.max() < parted.max() / 5
    assert adapted_rand_error(joined, truth) < 0.5 * adapted_rand_error(parted, truth)
