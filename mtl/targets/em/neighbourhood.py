r"""3 x 3 x 3 neighbourhoods as 27-bit numbers, many at a time: components, simple voxels, critical cliques.

Bit :math:`9 (z + 1) + 3 (y + 1) + (x + 1)` says whether the voxel at offset :math:`(z, y, x)` is set.
Objects are 26-connected, their background 6-connected. A single plane is a volume of one: there the notions
become those of 8- and 4-connected pixels.

Sources: G. Bertrand and G. Malandain, Pattern Recognition Letters 15 (1994) 169-175 (simple voxels);
G. Bertrand and M. Couprie, Journal of Mathematical Imaging and Vision 48 (2014) 134-148 (critical cliques).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
OFFSETS = np.array(list(product((-1, 0, 1), repeat=3)))
CENTRE = 1 << 13
FULL = (1 << 27) - 1


def _bits(chosen: NDArray[np.bool_]) -> int:
    return int(sum(1 << int(bit) for bit in np.flatnonzero(chosen)))


_STEPS = abs(OFFSETS).sum(axis=1)
FACES = _bits(_STEPS == 1)
_WITHIN_18 = _bits((_STEPS == 1) | (_STEPS == 2))
_NOT_LAST = [FULL & ~_bits(OFFSETS[:, axis] == 1) for axis in range(3)]
_NOT_FIRST = [FULL & ~_bits(OFFSETS[:, axis] == -1) for axis in range(3)]
_SHIFT = (9, 3, 1)


def connected(codes: Codes) -> NDArray[np.bool_]:
    """Whether the set bits (centre left out) are one 26-component; an empty set is none."""
    codes = codes & ~CENTRE
    return (codes != 0) & (_filled(codes & -codes, codes, _dilated_26) == codes)


def simple(codes: Codes) -> NDArray[np.bool_]:
    """Whether taking the centre away changes no component, hole or tunnel of the object.

    That is so where the object's other voxels are one 26-component, and the background's 18-neighbours
    that touch the centre's faces are one 6-component.
    """
    background = ~codes & _WITHIN_18
    faces = background & FACES
    seen = _filled(faces & -faces, background, _dilated_6)
    result = (faces != 0) & (faces & ~seen == 0)
    result[result] = connected(codes[result])
    return result


def _dilated_26(codes: Codes) -> Codes:
    for shift, not_last, not_first in zip(_SHIFT, _NOT_LAST, _NOT_FIRST, strict=True):
        codes = codes | (codes & not_last) << shift | (codes & not_first) >> shift
    return codes


def _dilated_6(codes: Codes) -> Codes:
    result = codes
    for shift, not_last, not_first in zip(_SHIFT, _NOT_LAST, _NOT_FIRST, strict=True):
        result = result | (codes & not_last) << shift | (codes & not_first) >> shift
    return result


def _filled(seed: Codes, room: Codes, dilated) -> Codes:
    """What is reached from ``seed`` inside ``room``."""
    while True:
        grown = dilated(seed) & room
        if np.array_equal(grown, seed):
            return seed
        seed = grown


def _ring_is_critical() -> NDArray[np.bool_]:
    """``(512,)`` over 3 x 3 bits seen along a face: what touches the face's rim is not contractible.

    Nothing touches it, or separate parts do, or all four sides do (a full circle).
    """
    plane = [bit for bit in range(27) if OFFSETS[bit, 0] == 0]  # bits 9 to 17
    codes = (np.arange(512, dtype=np.int32) << plane[0]) & ~CENTRE
    sides = FACES & _bits(OFFSETS[:, 0] == 0)
    return ~connected(codes) | (codes & sides == sides)


_RING_IS_CRITICAL = _ring_is_critical()
_PLANE = [_bits(OFFSETS[:, axis] == 0) for axis in range(3)]


def _seen_along(codes: Codes, axis: int, side: int) -> Codes:
    """9 bits: the plane through the centre and the next one towards ``side``, laid over each other."""
    shift = _SHIFT[axis]
    layers = (codes | (codes >> shift if side > 0 else codes << shift)) & _PLANE[axis]
    if axis == 0:
        return layers >> 9
    if axis == 1:  # bits 3-5, 12-14, 21-23
        return (layers >> 3 | layers >> 9 | layers >> 15) & 511
    layers = layers >> 1  # bits 0, 3, ..., 24: three of them into each nine
    layers = (layers | layers >> 2 | layers >> 4) & (7 | 7 << 9 | 7 << 18)
    return (layers | layers >> 6 | layers >> 12) & 511


def in_critical_clique(
    codes: Codes, removable: Codes, n_axes: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether removing all removable voxels at once, each of them simple, would break the centre's clique.

    A clique is the set of an object's voxels that share a face (``n_axes`` 1), an edge (2) or a corner (3),
    and nothing larger. It is critical if what touches that face, edge or corner from outside the clique is
    not contractible; then one of its voxels at least must stay.

    Args:
        codes: neighbourhoods in the object, centre set.
        removable: the same, for the voxels that would be removed; of the neighbours, those of `HELD_BY` are
            looked at.

    Returns:
        Whether the centre is in a critical clique all of which is removable; and whether without such a
        clique the rest of the neighbourhood would be in several parts: the clique is a piece of a curve.
    """
    stays = codes & ~(removable | CENTRE)
    places, rests = [], []
    for clique, spans, contact in _CLIQUES[n_axes]:
        found = np.flatnonzero((stays & clique == 0) & _all_met(codes, spans))
        found = found[contact(codes[found])]
        places.append(found)
        rests.append(codes[found] & ~(clique | CENTRE))
    place, rest = np.concatenate(places), np.concatenate(rests)
    critical, on_curve = np.zeros((2, len(codes)), bool)
    critical[place] = True
    on_curve[place[(rest != 0) & ~connected(rest)]] = True
    return critical, on_curve


def _all_met(codes: Codes, spans: list[int]) -> NDArray[np.bool_]:
    result = np.ones(len(codes), bool)
    for span in spans:
        result &= codes & span != 0
    return result


def _full_or_empty(codes: Codes, axis: int, side: int) -> NDArray[np.bool_]:
    return _RING_IS_CRITICAL[_seen_along(codes, axis, side)]


def _ends_alike(codes: Codes, one: int, other: int) -> NDArray[np.bool_]:
    """Both ends of an edge are touched, or none."""
    return (codes & one != 0) == (codes & other != 0)


def _always(codes: Codes) -> NDArray[np.bool_]:
    """Nothing touches a corner but what holds it."""
    return np.ones(len(codes), bool)


def _cliques(n_axes: int) -> list[tuple[int, list[int], Callable[[Codes], NDArray[np.bool_]]]]:
    """Per face, edge or corner of a voxel: the voxels that hold it; those on the far side of each axis, one
    of which must be there; and whether what touches it makes the clique critical."""
    found = []
    for direction in OFFSETS[n_axes == _STEPS]:
        spanned = direction != 0
        towards = ((OFFSETS == 0) | (direction == OFFSETS)).all(axis=1, where=spanned)
        holds = towards & (OFFSETS[:, ~spanned] == 0).all(axis=1)
        spans = [_bits(holds & (OFFSETS[:, axis] != 0)) for axis in np.flatnonzero(spanned)]
        contact: Callable[[Codes], NDArray[np.bool_]] = _always
        if n_axes == 1:
            axis = int(np.argmax(spanned))
            contact = partial(_full_or_empty, axis=axis, side=int(direction[axis]))
        if n_axes == 2:
            ends = [_bits(towards & (OFFSETS[:, ~spanned] == end).all(axis=1)) for end in (-1, 1)]
            contact = partial(_ends_alike, one=ends[0], other=ends[1])
        found.append((_bits(holds), spans, contact))
    return found


HELD_BY = {n_axes: [bit for bit in range(27) if 0 < _STEPS[bit] <= n_axes] for n_axes in (1, 2, 3)}
_CLIQUES = {n_axes: _cliques(n_axes) for n_axes in (1, 2, 3)}
