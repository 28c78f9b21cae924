"""Directions towards true centroids give the instances back, in 2-D, 3-D and with thick sections."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.errors import DataError
from mtl.evaluation.em import adapted_rand_error, evaluate_instances
from mtl.inference.em.directions import decode_directions
from mtl.studies.em.made_embeddings import cells


def towards_centroids(labels: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Unit vectors (S, *sp) in nm, instance by instance."""
    grid = np.stack([axis * s for axis, s in zip(np.indices(labels.shape), spacing, strict=True)]).astype(
        float
    )
    found = np.zeros_like(grid)
    for instance in np.unique(labels[labels > 0]):
        inside = labels == instance
        away = grid[:, inside].mean(1)[:, None] - grid[:, inside]
        found[:, inside] = away / np.maximum(np.linalg.norm(away, axis=0), 1e-9)
    return found


@pytest.mark.parametrize(
    ("shape", "n", "spacing"),
    [((96, 96), 14, (4.0, 4.0)), ((24, 32, 32), 8, (8.0, 8.0, 8.0)), ((12, 64, 64), 10, (30.0, 6.0, 6.0))],
)
@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_instances_come_back(shape, n: int, spacing, noise: float) -> None:
    labels = cells(shape, n, spacing, seed=2)
    direction = towards_centroids(labels, spacing)
    direction += noise * np.random.default_rng(0).normal(size=direction.shape)
    found = decode_directions(direction, labels > 0, spacing, min_size=20)
    scores = evaluate_instances(found, labels, min_size=50, n_resamples=2)
    assert scores["adapted_rand"].value < 0.05 and scores["ap50"].value > 0.9


def test_paths_do_not_cross_background() -> None:
    labels = np.ones((10, 21), np.int64)
    labels[:, 10] = 0
    labels[:, 11:] = 2
    right = np.zeros((2, 10, 21))
    right[1] = 1.0  # all point to the right
    found = decode_directions(right, labels > 0, (1.0, 1.0), reach=20.0, min_size=5)
    assert adapted_rand_error(found, labels) == 0 and (found[:, 10] == 0).all()
    assert (decode_directions(right, labels > 0, (1.0, 1.0), reach=20.0, min_size=5, fill=True) > 0).all()


def test_nothing_predicted_and_clear_errors() -> None:
    nothing = np.zeros((8, 8), bool)
    assert not decode_directions(np.zeros((2, 8, 8)), nothing, (1.0, 1.0)).any()
    with pytest.raises(DataError, match=r"direction \(3, 8, 8\)"):
        decode_directions(np.zeros((3, 8, 8)), nothing, (1.0, 1.0))
    with pytest.raises(DataError, match="direction holds NaN in the foreground"):
        decode_directions(np.full((2, 8, 8), np.nan), ~nothing, (1.0, 1.0))
    with pytest.raises(DataError, match="spacing of 3"):
        decode_directions(np.zeros((2, 8, 8)), nothing, (1.0, 1.0, 1.0))
