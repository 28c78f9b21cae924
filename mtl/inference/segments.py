"""Segments of a volume, whoever made them: parted in space, crumbs removed, grown, merged where they touch.

Everywhere ``labels`` (*sp) are integers, 0 background; neighbours are face neighbours (6 in 3-D, 4 in 2-D).
"""

from __future__ import annotations

from collections.abc import Iterable

import cc3d
import fastremap
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer]
Mask = NDArray[np.bool_]
UNSIGNED = (np.uint16, np.uint32, np.uint64)


def connected_parts(labels: Labels, min_size: int = 0) -> NDArray[np.int32]:
    """Connected components of equal labels as 1..K; those below ``min_size`` voxels become background."""
    faces = 6 if labels.ndim == 3 else 4
    highest = labels.max(initial=0)
    narrow = labels.astype(next(kind for kind in UNSIGNED if highest <= np.iinfo(kind).max))
    parts = cc3d.connected_components(np.ascontiguousarray(narrow), connectivity=faces)
    return drop_small(parts, min_size)


def drop_small(labels: Labels, min_size: int) -> NDArray[np.int32]:
    """Segments of at least ``min_size`` voxels as 1..K, the others background. Ids must be dense."""
    kept = np.bincount(labels.ravel()) >= max(min_size, 1)
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]


def grow(labels: Labels, where: Mask) -> Labels:
    """Let segments grow, voxel by voxel from face to face, into background inside ``where`` (*sp).

    What no segment reaches stays background. Of several neighbours the one that comes first (along the first
    axis, from below) wins.
    """
    padded, allowed = (np.ascontiguousarray(np.pad(array, 1)) for array in (labels, where))
    flat = padded.reshape(-1)
    steps = [sign * stride // padded.itemsize for stride in padded.strides for sign in (-1, 1)]
    left = np.flatnonzero((flat == 0) & allowed.reshape(-1))
    while len(left):
        taken = flat[left + steps[0]]
        for step in steps[1:]:
            taken = np.where(taken == 0, flat[left + step], taken)
        reached = taken > 0
        if not reached.any():
            break
        flat[left[reached]] = taken[reached]
        left = left[~reached]
    return padded[(slice(1, -1),) * labels.ndim].copy()


def contacts(labels: Labels) -> NDArray[np.int64]:
    """Pairs of segments (n, 2) that share a voxel face, smaller id first, each once."""
    size = int(labels.max(initial=0)) + 1
    keys = []
    for axis in range(labels.ndim):
        lower = np.moveaxis(labels, axis, 0)[:-1]
        upper = np.moveaxis(labels, axis, 0)[1:]
        touching = (lower != upper) & (lower > 0) & (upper > 0)
        pair = lower[touching].astype(np.int64), upper[touching].astype(np.int64)
        keys.append(np.minimum(*pair) * size + np.maximum(*pair))
    key = np.concatenate(keys)
    return np.stack(np.divmod(fastremap.unique(key) if len(key) else key, size), 1)


def stacked_planes(planes: Iterable[Labels]) -> NDArray[np.int64]:
    """2-D labellings (H, W) as one stack (D, H, W) in which no id occurs in two planes."""
    stack, last = [], 0
    for plane in planes:
        plane = plane.astype(np.int64)
        stack.append(np.where(plane > 0, plane + last, 0))
        last = max(last, int(stack[-1].max(initial=0)))
    return np.stack(stack)
