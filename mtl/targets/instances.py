"""Instance labels of one crop, checked and numbered densely: what every target starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cc3d
import fastremap
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtl.errors import DataError, ParameterError
from mtl.targets.euclidean import distance_to_other_ids

UNKNOWN = -100


@dataclass(frozen=True)
class Instances:
    """Labels with one number per instance; what several targets share is computed once.

    Background and unknown voxels are both 0 here: no target has a value in either, and to an instance
    both are "another id".

    Args:
        ids: ``(*sp)`` uint16 or uint32, 0 where there is no instance; numbers may be missing.
        spacing: of a voxel along each axis, in nm.
    """

    ids: NDArray[np.unsignedinteger]
    spacing: tuple[float, ...]

    @cached_property
    def _statistics(self) -> dict:
        return cc3d.statistics(self.ids, no_slice_conversion=True)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """``(K + 1,)``: voxels of each number, those of 0 first."""
        return self._statistics["voxel_counts"].astype(np.int64)

    @property
    def centroids(self) -> NDArray[np.float64]:
        """``(K + 1, S)`` mean position in voxels; NaN for a missing number."""
        return self._statistics["centroids"]

    @cached_property
    def boxes(self) -> list[tuple[int, tuple[slice, ...]]]:
        """Number and bounding box of every instance that is there."""
        bounds = self._statistics["bounding_boxes"].astype(np.int64).reshape(len(self.counts), -1, 2)
        return [
            (number, tuple(slice(int(first), int(last) + 1) for first, last in bounds[number]))
            for number in np.flatnonzero(self.counts).tolist()
            if number > 0
        ]

    @cached_property
    def distance(self) -> NDArray[np.float32]:
        """``(*sp)`` nm to the nearest voxel of another id, see `distance_to_other_ids`."""
        return distance_to_other_ids(self.ids, self.spacing)

    @cached_property
    def relative_distance(self) -> NDArray[np.float32]:
        """``(*sp)`` distance over the largest one of the same instance, in [0, 1]; 0 outside."""
        flat, ids = self.distance.reshape(-1), self.ids.reshape(-1)
        largest = np.zeros(len(self.counts), np.float32)
        np.maximum.at(largest, ids, flat)
        largest[largest == 0] = 1
        return self.distance / largest[self.ids]


def instances_of(labels: ArrayLike, spacing: Sequence[float], ignore_index: int = UNKNOWN) -> Instances:
    """Check labels and number their instances.

    Args:
        labels: ``(*sp)`` integers, two or three axes: 0 background, ``ignore_index`` unknown, else an
            instance's id (positive; need not be dense).
        spacing: nm per voxel, one positive number per axis.

    Raises:
        DataError: labels that are not integers, have other than 2 or 3 axes, are empty, or hold a negative
            id that is not ``ignore_index``.
        ParameterError: spacing of the wrong length, or not positive and finite.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise DataError(f"labels: {labels.dtype} is not an integer type; instance ids are whole numbers")
    if labels.ndim not in (2, 3) or labels.size == 0:
        raise DataError(f"labels: shape {labels.shape}, but (y, x) or (z, y, x) without an empty axis needed")
    labels = labels.astype(labels.dtype.newbyteorder("="), copy=False)  # as fastremap needs it
    return Instances(_dense(labels, ignore_index), _checked_spacing(spacing, labels.ndim))


def _checked_spacing(spacing: Sequence[float], ndim: int) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in spacing)
    except (TypeError, ValueError):  # None, one number, or words
        values = ()
    if len(values) != ndim or not all(0 < value < np.inf for value in values):
        raise ParameterError(f"spacing = {spacing}: {ndim} positive numbers needed, nm along each axis")
    return values


def _dense(labels: NDArray[np.integer], ignore_index: int) -> NDArray[np.unsignedinteger]:
    """Numbers below both the voxel count (cc3d's limit) and 2^16 stay; others are renumbered."""
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or lowest <= ignore_index <= highest:
        labels = np.where(labels == ignore_index, 0, labels)
        lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0:
        raise DataError(f"labels: negative id {lowest}, but only {ignore_index} (unknown) may be negative")
    if highest >= min(labels.size, 2**16):
        labels, mapping = fastremap.renumber(labels, preserve_zero=True)
        highest = max(mapping.values())
    return np.ascontiguousarray(labels, dtype=np.uint16 if highest < 2**16 else np.uint32)
