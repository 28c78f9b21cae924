"""An EM volume: an image, instance labels and a voxel spacing, read box by box.

Axis order is (z, y, x) everywhere, spacing is in nm in the same order. Labels: 0 background, `UNKNOWN`
(-100) not annotated, else an instance id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from mtl.datasets.em.lazy_arrays import Window
from mtl.datasets.em.volume_checks import check_image, check_labels, check_spacing
from mtl.errors import DataError, ParameterError

UNKNOWN = -100
LEAST_CONTRAST = 0.1  # share of the range of a type of 16 bits or more that grey values should fill
SLAB_VOXELS = 1 << 22  # what walking through a volume holds at a time

Box = tuple[slice, slice, slice]
Spacing = tuple[float, float, float]


class ArrayLike3D(Protocol):
    """What a volume needs of an array: numpy, an HDF5 data set, a Zarr array."""

    shape: tuple[int, ...]
    dtype: Any

    def __getitem__(self, box: Any) -> Any: ...


@dataclass(frozen=True)
class EMVolume:
    """One volume; ``image`` and ``labels`` (z, y, x) may be lazy and are read by `read` only.

    Attributes:
        name: what samples and messages call it.
        image: integers or floats; ``intensity_range`` (low, high) is mapped to [0, 1] and clipped. Without
            one an integer type's whole range is mapped, and floats must lie in [0, 1] already.
        labels: integer instance ids of the image's shape, or ``None``; ids in ``unknown_ids`` read as
            `UNKNOWN`.
        spacing: voxel size in nm.
        planar: every plane is a 2-D sample of its own, with ids that no other plane has.

    Raises `DataError` where image, labels or spacing break these rules.
    """

    name: str
    image: ArrayLike3D
    labels: ArrayLike3D | None
    spacing: Spacing
    planar: bool = False
    unknown_ids: tuple[int, ...] = ()
    intensity_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_image(self.image, f"volume {self.name!r}: image")
        if self.labels is not None:
            check_labels(self.labels, self.image, f"volume {self.name!r}: labels", "its image")
        object.__setattr__(self, "spacing", check_spacing(self.spacing, f"volume {self.name!r}"))
        if self.intensity_range is not None and not self.intensity_range[0] < self.intensity_range[1]:
            raise DataError(
                f"volume {self.name!r}: intensity_range={self.intensity_range} must be (low, high) with low "
                "below high"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) in voxels."""
        return tuple(int(side) for side in self.image.shape)  # type: ignore[return-value]

    @property
    def box(self) -> Box:
        """The box that is the whole volume."""
        return tuple(slice(0, side) for side in self.shape)  # type: ignore[return-value]

    def read(self, box: Box) -> tuple[np.ndarray, np.ndarray | None]:
        """Image float32 in [0, 1] and labels int64 (or ``None``) of a box of plain slices.

        Raises `ParameterError` for a box that is empty or reaches outside, `DataError` for values that
        cannot be scaled and for ids that are negative.
        """
        box = self._checked(box)
        return self._scaled(np.asarray(self.image[box])), self._read_labels(box)

    def read_labels(self, box: Box) -> np.ndarray | None:
        """Labels int64 of a box alone, ``None`` where the volume has none; raises as `read` does."""
        return self._read_labels(self._checked(box))

    def part(self, z: slice, name: str) -> EMVolume:
        """The planes ``z`` as a volume of its own; lazy arrays stay lazy, nothing is copied."""
        planes = slice(*z.indices(self.shape[0]))
        if planes.step != 1 or planes.start >= planes.stop:
            raise ParameterError(f"planes {z} of volume {self.name!r}: expected a non-empty run of planes")
        return self.crop((planes, *self.box[1:]), name)

    def crop(self, box: Box, name: str | None = None) -> EMVolume:
        """A box as a volume of its own; nothing is copied. Raises `ParameterError` as `read` does."""
        box = self._checked(box)
        labels = None if self.labels is None else _cut(self.labels, box)
        return replace(self, name=name or self.name, image=_cut(self.image, box), labels=labels)

    def slabs(self) -> Iterator[Box]:
        """Boxes of whole planes that cover the volume, each small enough to hold in memory."""
        depth = max(1, SLAB_VOXELS // (self.shape[1] * self.shape[2]))
        for start in range(0, self.shape[0], depth):
            yield (slice(start, min(start + depth, self.shape[0])), *self.box[1:])

    def fingerprint(self) -> str:
        """SHA-256 over spacing, planarity and every voxel as it is read; streams through the volume once."""
        head = [self.shape, self.spacing, self.planar, self.labels is not None]
        digest = hashlib.sha256(json.dumps(head).encode())
        for box in self.slabs():
            for array in self.read(box):
                digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _checked(self, box: Box) -> Box:
        if len(box) != len(self.shape):
            raise ParameterError(f"box {box} of volume {self.name!r}: expected a slice for each of z, y, x")
        for part, side in zip(box, self.shape, strict=True):
            stop = side if part.stop is None else part.stop
            if part.step not in (None, 1) or not 0 <= (part.start or 0) < stop <= side:
                raise ParameterError(f"box {box} does not lie in volume {self.name!r} of shape {self.shape}")
        return tuple(box)  # type: ignore[return-value]

    def _scaled(self, image: np.ndarray) -> np.ndarray:
        if self.intensity_range is not None:
            low, high = self.intensity_range
            if np.isnan(image).any():
                raise DataError(f"volume {self.name!r}: image values are NaN; numbers are expected")
            return np.clip((image.astype(np.float32) - low) / (high - low), 0, 1, dtype=np.float32)
        if np.issubdtype(image.dtype, np.integer):
            limits = np.iinfo(image.dtype)
            return ((image.astype(np.float32) - limits.min) / (limits.max - limits.min)).astype(np.float32)
        low, high = float(image.min()), float(image.max())
        if not (0 <= low <= high <= 1):  # also where one is NaN
            raise DataError(
                f"volume {self.name!r}: image values from {low:g} to {high:g}; expected floats in [0, 1], or "
                "intensity_range=(low, high)"
            )
        return image.astype(np.float32)

    def _read_labels(self, box: Box) -> np.ndarray | None:
        if self.labels is None:
            return None
        raw = np.asarray(self.labels[box])
        labels = raw.astype(np.int64)
        if raw.dtype == np.uint64 and (large := raw[raw > np.iinfo(np.int64).max]).size:
            strange = large[~np.isin(large, [known for known in self.unknown_ids if known > 0])]
            if strange.size:
                raise DataError(
                    f"volume {self.name!r}: labels hold the id {strange[0]}; expected ids below 2**63 "
                    "(other ids that mean unknown go into unknown_ids)"
                )
        for unknown in self.unknown_ids:
            labels[raw == unknown] = UNKNOWN
        if labels.min() < 0 and (strange := labels[(labels < 0) & (labels != UNKNOWN)]).size:
            raise DataError(
                f"volume {self.name!r}: labels hold the id {strange[0]}; expected ids from 0, and "
                f"{UNKNOWN} for unknown (other ids that mean unknown go into unknown_ids)"
            )
        return labels


def check_foreground(volume: EMVolume, seed: int = 0) -> None:
    """Raise `DataError` unless the volume has a voxel of a known instance.

    Looks at blocks in a seeded random order and stops at the first that has one, so that a streamed volume
    is hardly read.
    """
    if volume.labels is None:
        raise DataError(f"volume {volume.name!r} has no labels; training and evaluation need instance ids")
    for box in _shuffled_blocks(volume, seed):
        if (volume.read_labels(box) > 0).any():  # type: ignore[operator]
            return
    raise DataError(
        f"volume {volume.name!r}: labels hold no known foreground (only 0 and {UNKNOWN}); expected at least "
        "one instance id above 0"
    )


def check_contrast(volume: EMVolume, seed: int = 0, blocks: int = 8) -> None:
    """Raise `DataError` for grey values of 16 bits or more that fill a small share of their type's range.

    Looks at a few blocks in a seeded random order. Without ``intensity_range`` the type's whole range is
    [0, 1], so that 12 bits in uint16 would leave an image that is nearly black throughout.
    """
    dtype = np.dtype(volume.image.dtype)
    if volume.intensity_range is not None or dtype.kind not in "iu" or dtype.itemsize < 2:
        return
    boxes = list(islice(_shuffled_blocks(volume, seed), blocks))
    ends = [(int(part.min()), int(part.max())) for part in (np.asarray(volume.image[box]) for box in boxes)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    limits = np.iinfo(dtype)
    if high - low < LEAST_CONTRAST * (limits.max - limits.min):
        raise DataError(
            f"volume {volume.name!r}: grey values from {low} to {high} fill little of the range of {dtype}; "
            f"say which of them are 0 and 1: intensity_range={low},{high}"
        )


def _shuffled_blocks(volume: EMVolume, seed: int, side: int = 64) -> Iterator[Box]:
    counts = [-(-length // side) for length in volume.shape]
    for number in np.random.default_rng(seed).permutation(int(np.prod(counts))):
        corner = [int(i) * side for i in np.unravel_index(number, counts)]
        pairs = zip(corner, volume.shape, strict=True)
        yield tuple(slice(start, min(start + side, length)) for start, length in pairs)  # type: ignore[misc]


def _cut(array: ArrayLike3D, box: Box) -> ArrayLike3D:
    return array[box] if isinstance(array, np.ndarray) else Window(array, box)
