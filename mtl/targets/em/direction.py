"""Unit vectors from every voxel to its instance's centroid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl.targets.instances import Instances

AT_TARGET = 1e-3  # of the finest spacing: nearer than this there is no direction


def to_centroid(instances: Instances) -> NDArray[np.float32]:
    """``(S, *sp)`` unit vectors in nm space to the centroid of the voxel's instance.

    0 at the centroid (nearer than a thousandth of the finest spacing), in background and unknown.
    """
    ids, spacing = instances.ids, instances.spacing
    vectors = np.empty((ids.ndim, *ids.shape), np.float32)
    # Whole and broken part apart: the difference of two float32 positions would lose the last digits.
    whole = np.nan_to_num(np.round(instances.centroids))
    broken = np.nan_to_num(instances.centroids) - whole
    for axis in range(ids.ndim):
        position = np.arange(ids.shape[axis], dtype=np.float32).reshape(
            [-1 if other == axis else 1 for other in range(ids.ndim)]
        )
        np.subtract(whole[:, axis].astype(np.float32)[ids], position, out=vectors[axis])
        vectors[axis] += broken[:, axis].astype(np.float32)[ids]
        vectors[axis] *= spacing[axis]
    return unit_vectors(vectors, ids > 0, AT_TARGET * min(spacing))


def unit_vectors(
    vectors: NDArray[np.float32], keep: NDArray[np.bool_], shortest: float
) -> NDArray[np.float32]:
    """``vectors (S, *sp)`` over their length, in place; 0 where not longer than ``shortest`` or not kept."""
    length = np.sqrt(np.einsum("s...,s...->...", vectors, vectors))
    keep = keep & (length > shortest)
    vectors *= np.divide(keep, length, out=np.zeros_like(length), where=keep)
    return vectors
