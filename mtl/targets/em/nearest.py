"""Unit vectors from every voxel to the nearest voxel of its instance's skeleton."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtl.targets.em.direction import AT_TARGET, unit_vectors
from mtl.targets.instances import Instances

CELL = 16  # voxels: of a large instance, so much at a time looks for its nearest skeleton voxels
PAIRS = 2**17  # pairs of voxels that are compared at once without looking closer

Points = NDArray[np.float32]


def to_skeleton(instances: Instances, skeleton: NDArray[np.bool_]) -> NDArray[np.float32]:
    """``(S, *sp)`` unit vectors in nm space to the nearest ``skeleton`` voxel of the voxel's own instance.

    0 on the skeleton, in background and unknown. Of skeleton voxels at equal distance either may be meant.
    """
    ids, spacing = instances.ids, np.array(instances.spacing, np.float32)
    voxels = _by_instance(np.flatnonzero(ids), instances)
    bones = _by_instance(np.flatnonzero(skeleton), instances)
    start, goals = voxels.positions(ids.shape, spacing), bones.positions(ids.shape, spacing)
    offsets = np.empty_like(start)
    for number, _ in instances.boxes:
        own, candidates = voxels.part(number), goals[:, bones.part(number)]
        _fill(offsets[:, own], start[:, own], candidates, CELL * min(instances.spacing))
    vectors = np.zeros((ids.ndim, ids.size), np.float32)
    for vector, offset in zip(vectors, offsets, strict=True):
        vector[voxels.places] = offset
    return unit_vectors(vectors.reshape(ids.ndim, *ids.shape), ids > 0, AT_TARGET * min(instances.spacing))


class _Sorted(NamedTuple):
    """Places in the flat volume, instance after instance, and where each instance's places end."""

    places: NDArray[np.intp]
    ends: NDArray[np.intp]

    def part(self, number: int) -> slice:
        return slice(int(self.ends[number - 1]), int(self.ends[number]))

    def positions(self, shape: tuple[int, ...], spacing: Points) -> Points:
        """``(S, n)`` in nm."""
        return np.stack(np.unravel_index(self.places, shape)).astype(np.float32) * spacing[:, None]


def _by_instance(places: NDArray[np.intp], instances: Instances) -> _Sorted:
    numbers = instances.ids.reshape(-1)[places]
    order = np.argsort(numbers, kind="stable")
    return _Sorted(places[order], np.cumsum(np.bincount(numbers, minlength=len(instances.counts))))


def _fill(offsets: Points, start: Points, bones: Points, side: float) -> None:
    """Write into ``offsets (S, n)`` the way from ``start (S, n)`` to the nearest of ``bones (S, m)``."""
    for part, candidates in _parts(start, bones, side):
        here, goals = start[:, part], bones[:, candidates]
        origin = goals[:, :1]  # small numbers: squares of float32 stay exact
        a, b = here - origin, goals - origin
        nearest = np.argmin(np.einsum("sj,sj->j", b, b) - 2 * (a.T @ b), axis=1)
        offsets[:, part] = goals[:, nearest] - here


def _parts(
    start: Points, bones: Points, side: float
) -> Iterator[tuple[NDArray[np.intp] | slice, NDArray[np.intp] | slice]]:
    """Parts of ``start`` (all of it, or cell by cell), and which of ``bones`` may be nearest to them."""
    if start.shape[1] * bones.shape[1] <= PAIRS:
        yield slice(None), slice(None)
        return
    cells = ((start - start.min(axis=1, keepdims=True)) / np.float32(side)).astype(np.int64)
    number = np.ravel_multi_index(tuple(cells), tuple(cells.max(axis=1) + 1))
    order = np.argsort(number.astype(np.uint16) if number.max() < 2**16 else number, kind="stable")
    for part in np.split(order, np.cumsum(np.bincount(number))[:-1]):
        if len(part) == 0:
            continue
        here = start[:, part]
        low, high = here.min(axis=1, keepdims=True), here.max(axis=1, keepdims=True)
        closest = np.maximum(np.maximum(low - bones, bones - high), 0)
        farthest = np.maximum(abs(low - bones), abs(high - bones))
        bound = np.einsum("sj,sj->j", farthest, farthest).min()
        yield part, np.flatnonzero(np.einsum("sj,sj->j", closest, closest) <= bound * 1.0001)
