r"""Embeddings of known instances, as a trained network would give them, for gates and tests.

Centres at least :math:`2\delta_d = 3` apart (what the push term asks for); on top of them what networks do:
smearing across boundaries (a receptive field has no sharp edge), a slow drift through space within an
instance, and noise. Drawn from a seed, so that every figure can be had again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

APART = 3.0  # 2 delta_d


def cells(shape: Sequence[int], n: int, spacing: Sequence[float], seed: int = 0) -> NDArray[np.int64]:
    """``n`` Voronoi cells (*shape), ids 1..n, their distances in nm."""
    sites = np.random.default_rng(seed).uniform(size=(n, len(shape))) * shape * np.asarray(spacing)
    voxels = np.indices(tuple(shape)).reshape(len(shape), -1).T * np.asarray(spacing)
    return cKDTree(sites).query(voxels)[1].reshape(tuple(shape)).astype(np.int64) + 1


def made_embeddings(
    labels: NDArray[np.integer],
    spacing: Sequence[float],
    *,
    channels: int = 16,
    noise: float = 0.15,
    smear: float = 1.0,
    drift: float = 0.5,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Embeddings (channels, *sp) float32 of instances 0..K.

    noise: standard deviation per channel and voxel. smear: sigma of the blur, in voxels of the finest axis.
    drift: root mean square length of the wander, which changes over about a sixth of each axis.
    """
    rng = np.random.default_rng(seed)
    centres = _centres(int(labels.max()) + 1, channels, rng)
    embedding = np.moveaxis(centres[labels], -1, 0)
    if smear > 0:
        sigma = [smear * min(spacing) / s for s in spacing]
        embedding = ndimage.gaussian_filter(embedding, (0, *sigma))
    if drift > 0:
        coarse = rng.normal(size=(channels, *[min(6, n) for n in labels.shape])).astype(np.float32)
        zoom = [n / m for n, m in zip(labels.shape, coarse.shape[1:], strict=True)]
        wander = ndimage.zoom(coarse, (1, *zoom), order=1)
        embedding = embedding + drift * wander / np.sqrt(np.square(wander).sum(0).mean())
    return (embedding + noise * rng.normal(size=embedding.shape)).astype(np.float32)


def _centres(n: int, channels: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Random centres, those too near pushed apart."""
    centres = rng.normal(size=(n, channels))
    for _ in range(1000):
        between = centres[:, None] - centres[None]
        distance = np.linalg.norm(between, axis=-1)
        np.fill_diagonal(distance, np.inf)
        if distance.min() >= APART:
            break
        push = np.clip(1.01 * APART - distance, 0, None) / np.maximum(distance, 1e-6)
        centres += 0.25 * (push[..., None] * between).sum(1)
    return centres.astype(np.float32)
