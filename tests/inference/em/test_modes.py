"""Modes of an embedding: their number and place, and each voxel's nearest, against a naive search."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtl.inference.em.modes import find_modes
from mtl.studies.em.made_embeddings import cells, made_embeddings


def naive_nearest(embedding: np.ndarray, centres: np.ndarray) -> np.ndarray:
    points = embedding.reshape(len(embedding), -1).T
    return np.linalg.norm(points[:, None] - centres[None], axis=-1).argmin(1)


@pytest.mark.parametrize("n", [1, 7, 20])
def test_one_mode_per_instance_near_its_mean_and_every_voxel_at_its_nearest(n: int) -> None:
    labels = cells((64, 64), n, (1.0, 1.0))
    embedding = made_embeddings(labels, (1.0, 1.0), noise=0.1, smear=1.0, drift=0)
    foreground = torch.ones(64, 64, dtype=bool)
    modes = find_modes(torch.from_numpy(embedding), foreground, 1.5, min_size=30)
    assert len(modes.centres) == n
    means = np.stack([np.median(embedding[:, labels == i], axis=1) for i in range(1, n + 1)])
    distance = np.linalg.norm(modes.centres.numpy()[:, None] - means[None], axis=-1)
    assert distance.min(0).max() < 0.75  # half of the bandwidth, with cells a few pixels wide
    expected = naive_nearest(embedding, modes.centres.numpy())
    assert (modes.nearest.numpy() == expected).mean() > 0.9999  # ties may be rounded apart


def test_modes_found_in_later_rounds_take_their_voxels_over() -> None:
    """Two instances of 200 pixels in 160,000, not both of which the first draw can meet often enough."""
    labels = cells((400, 400), 3, (1.0, 1.0))
    labels[10:20, 10:30], labels[300:310, 300:320] = 4, 5
    embedding = made_embeddings(labels, (1.0, 1.0), noise=0.1, smear=0, drift=0)
    modes = find_modes(torch.from_numpy(embedding), torch.ones(400, 400, dtype=bool), 1.5, min_size=20)
    assert len(modes.centres) == 5
    assert (modes.nearest.numpy() == naive_nearest(embedding, modes.centres.numpy())).all()


def test_background_makes_no_modes() -> None:
    labels = cells((64, 64), 6, (1.0, 1.0))
    embedding = made_embeddings(labels, (1.0, 1.0), noise=0.1, smear=0, drift=0)
    some = torch.from_numpy(labels <= 2)
    assert len(find_modes(torch.from_numpy(embedding), some, 1.5).centres) == 2
    assert len(find_modes(torch.from_numpy(embedding), some & False, 1.5).centres) == 0
