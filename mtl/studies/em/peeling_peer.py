"""The skeleton of `mtl.targets.em` as its definition reads: one instance, one voxel after the other.

Every decision looks at a 3 x 3 x 3 neighbourhood with ``scipy.ndimage.label``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mtl.studies.em.target_peers import instance_distance, instance_ids

Mask = NDArray[np.bool_]
Place = tuple[int, ...]
_STEPS = list(product((-1, 0, 1), repeat=3))
_ANY = np.ones((3, 3, 3))
_CROSS = ndimage.generate_binary_structure(3, 1)
_NEAR = ndimage.generate_binary_structure(3, 2)  # 18-neighbourhood


def peeled_skeletons(labels: NDArray[np.int64], spacing: Sequence[float]) -> Mask:
    """``(*sp)``: skeleton voxels of all instances."""
    result = np.zeros(labels.shape, bool)
    for number in instance_ids(labels):
        mask = labels == number
        layers = np.ceil(instance_distance(mask, spacing) / min(spacing) - 1e-3).astype(int)
        lifted = (1,) * (3 - labels.ndim) + labels.shape
        result |= _peeled(mask.reshape(lifted), layers.reshape(lifted)).reshape(labels.shape)
    return result


def _peeled(mask: Mask, layers: NDArray[np.int64]) -> Mask:
    mask, since, final, turn, changed = mask.copy(), np.zeros(mask.shape, int), np.zeros_like(mask), 0, True
    while turn < layers[mask].max() or changed:
        turn += 1
        around = _mirrored(mask)
        open_places = [tuple(p) for p in np.argwhere(mask & ~final & (layers <= turn))]
        free = {p for p in open_places if _simple(_block(around, p))}
        curve = {p for p in open_places if p not in free and _parts(_block(around, p), {(0, 0, 0)}) > 1}
        staying: set[Place] = set()
        for n_axes in (1, 2, 3):
            removable = np.zeros_like(mask)
            for place in free - staying:
                removable[place] = True
            nearby = _mirrored(removable)
            found = {p: _clique(_block(around, p), _block(nearby, p), n_axes) for p in free - staying}
            staying |= {p for p, (critical, _) in found.items() if critical}
            curve |= {p for p, (_, bends) in found.items() if bends}
        for place in free - staying:
            mask[place] = False
        for place in open_places:
            if place not in curve:
                since[place] = 0
            elif since[place] == 0:
                since[place] = turn
            final[place] = place in curve and turn - since[place] >= 2 + 0.5 * since[place]
        changed = len(free) > len(staying) or bool(curve)
    return mask


def _mirrored(mask: Mask) -> Mask:
    """One voxel more on every side; a single plane has nothing above or below."""
    flat = [(1, 1) if length == 1 else (0, 0) for length in mask.shape]
    deep = [(0, 0) if length == 1 else (1, 1) for length in mask.shape]
    return np.pad(np.pad(mask, deep, mode="symmetric"), flat)


def _block(padded: Mask, place: Place) -> Mask:
    return padded[tuple(slice(at, at + 3) for at in place)]


def _parts(block: Mask, without: set[Place]) -> int:
    """26-components of a neighbourhood without some of its voxels."""
    block = block.copy()
    for step in without:
        block[tuple(at + 1 for at in step)] = False
    return ndimage.label(block, _ANY)[1]


def _simple(block: Mask) -> bool:
    if block[_CROSS].all():  # not at the border
        return False
    if _parts(block, {(0, 0, 0)}) != 1:
        return False
    background, _ = ndimage.label(~block & _NEAR)
    faces = {background[1 + z, 1 + y, 1 + x] for z, y, x in _STEPS if abs(z) + abs(y) + abs(x) == 1}
    return len(faces - {0}) == 1


def _clique(block: Mask, removable: Mask, n_axes: int) -> tuple[bool, bool]:
    """Whether the centre is in a critical clique all of which is removable, and whether on a curve by it."""
    critical = bends = False
    for direction in _STEPS:
        spanned = [axis for axis in range(3) if direction[axis]]
        if len(spanned) != n_axes:
            continue
        held = [s for s in _STEPS if all(a in (0, d) for a, d in zip(s, direction, strict=True))]
        clique = {s for s in held if block[s[0] + 1, s[1] + 1, s[2] + 1]}
        meets = all(any(s[axis] for s in clique) for axis in spanned)
        if (
            meets
            and all(removable[z + 1, y + 1, x + 1] for z, y, x in clique)
            and _critical(block, direction)
        ):
            critical = True
            bends |= _parts(block, clique) > 1
    return critical, bends


def _critical(block: Mask, direction: Place) -> bool:
    """Whether what touches the shared face, edge or corner is not contractible."""
    for axis in range(3):  # lay over each other what touches the same part of it
        if direction[axis]:
            block = block.take([1, 1 + direction[axis]], axis=axis).any(axis=axis, keepdims=True)
    touching = block.reshape([n for n in block.shape if n > 1] or [1])
    if touching.ndim == 2:
        touching = touching.copy()
        touching[1, 1] = False
        sides = touching[0, 1] and touching[2, 1] and touching[1, 0] and touching[1, 2]
        return bool(sides) or ndimage.label(touching, np.ones((3, 3)))[1] != 1
    return touching.size == 1 or touching[0] == touching[2]
