"""Curve skeletons of all instances, peeled together layer by layer.

In turn t, all voxels of distance up to t steps that are simple in their instance go at once, except that of
each critical clique something stays: a neurite of even width keeps a line two voxels wide. So nothing depends
on the order in which voxels are visited: every instance keeps its components, holes and tunnels, and a
rotation by 90 degrees rotates the skeleton. Voxels whose removal would cut their surroundings in two are a
piece of a curve; if they are so for long enough (a branch much shorter than the instance is thick is not)
they stay for good.

The crop goes on beyond its faces as its own mirror image: skeletons run into the faces, they do not end
before them. Where nothing but that image bounds an instance it has no curve: a plate that crosses the crop
keeps its middle plane, an instance that fills the crop all its voxels.

Source: G. Bertrand and M. Couprie, Journal of Mathematical Imaging and Vision 48 (2014) 134-148: symmetric
parallel thinning with persistent isthmuses; here the distance decides what is peeled first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl.targets.em.neighbourhood import (
    CENTRE,
    FACES,
    FULL,
    HELD_BY,
    OFFSETS,
    connected,
    in_critical_clique,
    simple,
)
from mtl.targets.instances import Instances

PERSISTENCE = (2, 0.5)  # turns that a curve must last: so many, and so many for each layer peeled so far
_MARGIN = 2  # one voxel of mirror image, one that its neighbourhoods may reach


def curve_skeleton(instances: Instances) -> NDArray[np.bool_]:
    """``(*sp)``: voxels of the skeletons; each component of an instance has at least one."""
    ids = instances.ids
    inner = ids.reshape((1,) * (3 - ids.ndim) + ids.shape)
    field = _Peeling(inner)
    layers = _layers(instances)
    places, bounds = field.places[np.argsort(layers, kind="stable")], np.cumsum(np.bincount(layers))
    pending, turn, active = places[:0], 0, False
    while turn + 1 < len(bounds) or active:
        turn += 1
        if turn < len(bounds):
            pending = np.concatenate([pending, places[bounds[turn - 1] : bounds[turn]]])
        before = len(pending)
        pending = field.peel(pending, turn)
        # A curve that stays for good is not removable any more: that may set its neighbours free.
        active = len(pending) < before or bool(field.since[pending].any())
    result = np.zeros(inner.size, bool)
    result[inner.reshape(-1) > 0] = field.codes[field.places] != 0
    return result.reshape(ids.shape)


def _layers(instances: Instances) -> NDArray[np.uint16]:
    """Layer of each instance voxel, the outermost 1; one step (the finest spacing) of distance deep."""
    steps = instances.distance[instances.ids > 0] / np.float32(min(instances.spacing))
    # The tolerance puts distances of whole steps into one layer whichever way they were summed up.
    return np.ceil(steps - 1e-3).astype(np.uint16)


class _Peeling:
    """Neighbourhoods in a label volume and its mirror images, kept up to date while voxels are removed."""

    def __init__(self, volume: NDArray[np.unsignedinteger]) -> None:
        mirrored = np.zeros([length + 2 * _MARGIN for length in volume.shape], volume.dtype)
        width = [(int(length > 1),) * 2 for length in volume.shape]  # a single plane has no mirror image
        around = tuple(
            slice(_MARGIN - w, n + _MARGIN + w) for (w, _), n in zip(width, volume.shape, strict=True)
        )
        mirrored[around] = np.pad(volume, width, mode="symmetric")
        self.axis_steps = np.array(mirrored.strides) // mirrored.itemsize
        self.steps = OFFSETS @ self.axis_steps
        self.codes = _same_id_codes(mirrored.reshape(-1), self.steps)
        self.removable = np.zeros(mirrored.size, bool)
        self.since = np.zeros(mirrored.size, np.uint16)  # turn in which a voxel became part of a curve
        self.images = _images(mirrored.shape, volume.shape)
        inside = np.zeros(mirrored.shape, bool)
        inside[(slice(_MARGIN, -_MARGIN),) * 3] = volume > 0
        self.places = np.flatnonzero(inside)

    def peel(self, places: NDArray[np.intp], turn: int) -> NDArray[np.intp]:
        """Remove what can go of ``places`` at once; returns those that may still go later."""
        codes = self.codes[places]
        border = np.flatnonzero(codes & FACES != FACES)
        places_there, codes = places[border], codes[border]
        can_go = simple(codes)
        curve = ~can_go & (codes != CENTRE)
        curve[curve] = ~connected(codes[curve])
        kept, curve_kept = self._kept(places_there[can_go], codes[can_go])
        gone = can_go.copy()
        gone[can_go] = ~kept
        curve[can_go] = curve_kept
        stays = np.ones(len(places), bool)
        stays[border] = ~gone
        self.since[places_there[~curve]] = 0
        stays[border[curve]] = ~self._lasted(places_there[curve], turn)
        self._remove(places_there[gone])
        return places[stays]

    def _kept(
        self, places: NDArray[np.intp], codes: NDArray[np.int32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which voxels, all simple, stay this time; and which of those belong to a curve."""
        kept, on_curve = np.zeros((2, len(places)), bool)
        free = np.arange(len(places))
        self.removable[self._with_images(places)] = True
        for n_axes in (1, 2, 3):  # what stays for the sake of a face may save an edge, too
            removable = self._removable_codes(places[free], HELD_BY[n_axes])
            critical, curve = in_critical_clique(codes[free], removable, n_axes)
            kept[free], on_curve[free] = critical, curve
            self.removable[self._with_images(places[free[critical]])] = False
            free = free[~critical]
        self.removable[self._with_images(places[free])] = False
        return kept, on_curve

    def _removable_codes(self, places: NDArray[np.intp], bits: list[int]) -> NDArray[np.int32]:
        codes = np.zeros(len(places), np.int32)
        for bit in bits:
            codes |= self.removable.take(places + self.steps[bit]).astype(np.int32) << bit
        return codes

    def _lasted(self, places: NDArray[np.intp], turn: int) -> NDArray[np.bool_]:
        """Which voxels of curves have been so for long enough to stay for good."""
        since = self.since[places]
        since[since == 0] = turn
        self.since[places] = since
        return turn - since >= PERSISTENCE[0] + PERSISTENCE[1] * since

    def _remove(self, places: NDArray[np.intp]) -> None:
        places = self._with_images(places)
        for bit, step in enumerate(self.steps.tolist()):
            near = places - step
            self.codes[near] = self.codes.take(near) & np.int32(FULL & ~(1 << bit))
        self.codes[places] = 0

    def _with_images(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """Places and their mirror images beyond the faces, edges and corners of the crop."""
        images = places[self.images[places] != 0]
        at_faces = len(images)
        for axis, step in enumerate(self.axis_steps.tolist()):
            sides = self.images[images]
            first, last = images[sides & (1 << 2 * axis) != 0], images[sides & (2 << 2 * axis) != 0]
            images = np.concatenate([images, first - step, last + step])
        return np.concatenate([places, images[at_faces:]])


def _images(mirrored: tuple[int, ...], volume: tuple[int, ...]) -> NDArray[np.uint8]:
    """Per place two bits an axis: in the first plane, in the last plane; none where there is no mirror."""
    sides = np.zeros(mirrored, np.uint8)
    for axis, length in enumerate(volume):
        if length > 1:
            along = np.moveaxis(sides, axis, 0)
            along[_MARGIN] |= 1 << 2 * axis
            along[-_MARGIN - 1] |= 2 << 2 * axis
    return sides.reshape(-1)


def _same_id_codes(flat: NDArray[np.unsignedinteger], steps: NDArray[np.intp]) -> NDArray[np.int32]:
    """Per voxel the neighbours of its own id; 0 outside the instances."""
    codes = np.where(flat > 0, np.int32(CENTRE), np.int32(0))
    for bit, step in enumerate(steps.tolist()[14:], start=14):
        same = ((flat[:-step] == flat[step:]) & (flat[step:] > 0)).astype(np.int32)
        codes[:-step] |= same << bit
        codes[step:] |= same << (26 - bit)
    return codes
