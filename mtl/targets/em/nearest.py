"""Unit vectors from every voxel to the nearest voxel of its instance's skeleton."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mtl.targets.em.direction import AT_TARGET, unit_vectors
from mtl.targets.em.instances import Instances

CELL = 16  # voxels: of a large instance, so much at a time looks for its nearest skeleton voxels
PAIRS = 2**17  # pairs of voxels that are compared at once without looking closer

Points = NDArray[np.float32]


def to_skeleton(instances: Instances, skeleton: NDArray[np.bool_]) -> NDArray[np.float32]:
    """``(S, *sp)`` unit vectors in nm space to the nearest ``skeleton`` voxel of the voxel's own instance.

    0 on the skeleton, in background and unknown. Of skeleton voxels at equal distance either may be meant.
    """
    ids = instances.ids
    places = np.flatnonzero(ids)
    places = places[np.argsort(ids.reshape(-1)[places], kind="stable")]
    bones = np.flatnonzero(skeleton)
    bones = bones[np.argsort(ids.reshape(-1)[bones], kind="stable")]
    vectors = np.zeros((ids.ndim, ids.size), np.float32)
    ends = np.cumsum(instances.counts[1:])
    bone_ends = np.cumsum(np.bincount(ids.reshape(-1)[bones], minlength=len(instances.counts))[1:])
    for number, _ in instances.boxes:
        own = places[ends[number - 1] - instances.counts[number] : ends[number - 1]]
        targets = bones[bone_ends[number - 2] if number > 1 else 0 : bone_ends[number - 1]]
        _fill(vectors, own, targets, instances)
    keep = ids > 0
    return unit_vectors(vectors.reshape(ids.ndim, *ids.shape), keep, AT_TARGET * min(instances.spacing))


def _fill(vectors: Points, places: NDArray[np.intp], targets: NDArray[np.intp], instances: Instances) -> None:
    positions = _positions(places, instances)
    bones = _positions(targets, instances)
    for part, candidates in _parts(positions, bones, CELL * min(instances.spacing)):
        start, goals = positions[part], bones[candidates]
        origin = goals[0]  # small numbers: squares of float32 stay exact
        a, b = start - origin, goals - origin
        nearest = np.argmin(np.einsum("ij,ij->i", b, b) - 2 * (a @ b.T), axis=1)
        vectors[:, places[part]] = (goals[nearest] - start).T


def _positions(places: NDArray[np.intp], instances: Instances) -> Points:
    coordinates = np.unravel_index(places, instances.ids.shape)
    return np.stack(coordinates, axis=1).astype(np.float32) * np.array(instances.spacing, np.float32)


def _parts(
    positions: Points, bones: Points, side: float
) -> Iterator[tuple[NDArray[np.intp] | slice, NDArray[np.intp] | slice]]:
    """Parts of ``positions`` (whole, or cell by cell), and which of ``bones`` may be nearest to them."""
    if len(positions) * len(bones) <= PAIRS:
        yield slice(None), slice(None)
        return
    cells = ((positions - positions.min(axis=0)) / np.float32(side)).astype(np.int64)
    number = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0) + 1))
    order = np.argsort(number.astype(np.uint16) if number.max() < 2**16 else number, kind="stable")
    for part in np.split(order, np.cumsum(np.bincount(number))[:-1]):
        if len(part) == 0:
            continue
        low, high = positions[part].min(axis=0), positions[part].max(axis=0)
        closest = np.maximum(np.maximum(low - bones, bones - high), 0)
        farthest = np.maximum(abs(low - bones), abs(high - bones))
        bound = np.einsum("ij,ij->i", farthest, farthest).min()
        yield part, np.flatnonzero(np.einsum("ij,ij->i", closest, closest) <= bound * 1.0001)
