r"""Gaussians along one axis as small dense matrices: a block of rows and columns filters a box exactly.

:math:`\phi(j) = \exp(-j^2 / 2\sigma^2)`, cut off at :math:`4\sigma`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

TRUNCATE = 4.0


def reach(sigma: float) -> int:
    """How many voxels to either side a Gaussian of ``sigma`` voxels takes in."""
    return int(TRUNCATE * sigma + 0.5)


@lru_cache(maxsize=64)
def window_matrix(length: int, sigma: float) -> NDArray[np.float32]:
    """``(length, length)`` of :math:`\\phi(i - j)`, not normalised; nothing lies beyond the crop."""
    offsets = np.subtract.outer(np.arange(length), np.arange(length))
    return np.where(abs(offsets) <= reach(sigma), _phi(offsets, sigma), 0).astype(np.float32)


@lru_cache(maxsize=64)
def smoothing_matrix(length: int, sigma: float) -> NDArray[np.float32]:
    """``(length, length)`` Gaussian of sum 1; the crop is mirrored at its faces."""
    offsets = np.arange(-reach(sigma), reach(sigma) + 1)
    return _mirrored(length, offsets, _phi(offsets, sigma) / _phi(offsets, sigma).sum())


@lru_cache(maxsize=64)
def slope_matrix(length: int, sigma: float) -> NDArray[np.float32]:
    r"""``(length, length)`` Gaussian derivative :math:`j\phi(j) / \sum_j j^2\phi(j)`, mirrored at the faces.

    The slope of a ramp is exact at every sigma: sampled at a sigma below one voxel (thick sections), the
    plain derivative of a Gaussian is up to five times too small, and anisotropy would turn into direction.
    """
    radius = max(1, reach(sigma))
    offsets = np.arange(-radius, radius + 1)
    kernel = offsets * np.exp(-(offsets**2 - 1) / (2 * sigma**2))  # relative to j = 1: no underflow
    return _mirrored(length, offsets, kernel / (kernel * offsets).sum())


def _phi(offsets: NDArray, sigma: float) -> NDArray:
    return np.exp(-(offsets**2) / (2 * sigma**2))


def _mirrored(length: int, offsets: NDArray, kernel: NDArray) -> NDArray[np.float32]:
    radius = int(offsets[-1])
    source = np.pad(np.arange(length), radius, mode="symmetric")
    rows = np.arange(length)[:, None]
    matrix = np.zeros((length, length))
    np.add.at(
        matrix, (np.broadcast_to(rows, (length, len(offsets))), source[rows + offsets + radius]), kernel
    )
    return matrix.astype(np.float32)
