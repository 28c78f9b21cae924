"""What is done to the instance labels of a crop: borders between neighbours, less annotation, new ids.

All functions take int64 labels ``(*sp)`` in 2-D or 3-D (0 background, -100 unknown, else an id) and return a
new array.
"""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np
from scipy.ndimage import maximum_filter

from mtl.datasets.em.volumes import UNKNOWN

Unit = Literal["instances", "blocks"]
NEAR = 2  # voxels: background this near to an annotated instance is annotated with it


def relabel(labels: np.ndarray) -> np.ndarray:
    """Instances as 1..K by first appearance; 0 and unknown stay."""
    import fastremap

    renumbered, _ = fastremap.renumber(np.where(labels > 0, labels, 0), preserve_zero=True)
    return np.where(labels < 0, UNKNOWN, renumbered.astype(np.int64))


def split_components(labels: np.ndarray) -> np.ndarray:
    """Instances 1..K, one for each connected part of an instance (26 neighbours in 3-D, 8 in 2-D)."""
    import cc3d

    connectivity = 26 if labels.ndim == 3 else 8
    known = np.ascontiguousarray(np.where(labels > 0, labels, 0))
    parts = cc3d.connected_components(known, connectivity=connectivity).astype(np.int64)
    return np.where(labels < 0, UNKNOWN, parts)


def contact_membrane(labels: np.ndarray, width: int) -> np.ndarray:
    """Set voxels within ``width`` faces of another instance to background, on both sides of a contact.

    Gives touching neighbours the border that other data sets annotate. Contacts with unknown are left alone.
    """
    if width <= 0:
        return labels.copy()
    contact = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        one, other = _ahead(labels, axis), _behind(labels, axis)
        touching = (one != other) & (one > 0) & (other > 0)
        _ahead(contact, axis)[...] |= touching
        _behind(contact, axis)[...] |= touching
    for _ in range(width - 1):
        contact = _grown(contact)
    return np.where(contact & (labels > 0), 0, labels)


def keep_instances(labels: np.ndarray, fraction: float, key: str) -> np.ndarray:
    """Keep about ``fraction`` of the instances, and the background near them; the rest becomes unknown.

    Whether an id is kept depends on it and on ``key`` alone: every crop of a volume agrees.
    """
    import fastremap

    ids = fastremap.unique(labels)
    kept = np.isin(labels, ids[(ids > 0) & (_uniform(ids, key) < fraction)])
    near = maximum_filter(kept, size=2 * NEAR + 1)
    return np.where(kept | (near & (labels == 0)), labels, UNKNOWN)


def keep_blocks(
    labels: np.ndarray, fraction: float, key: str, start: tuple[int, ...], block: tuple[int, ...]
) -> np.ndarray:
    """Keep about ``fraction`` of the blocks of a grid over the volume; voxels in the others become unknown.

    ``start``: where the labels' first voxel lies in the volume. Crops of a volume agree, as above.
    """
    lines = [
        (first + np.arange(side)) // length
        for first, side, length in zip(start, labels.shape, block, strict=True)
    ]
    number = np.zeros((1,) * labels.ndim, np.int64)
    for axis, line in enumerate(lines):
        there = np.arange(line[0], line[-1] + 1)
        number = number * 1_000_003 + there.reshape([-1 if i == axis else 1 for i in range(labels.ndim)])
    kept = _uniform(number, key) < fraction
    return np.where(kept[np.ix_(*(line - line[0] for line in lines))], labels, UNKNOWN)


def _uniform(numbers: np.ndarray, key: str) -> np.ndarray:
    """A number in [0, 1) for each of ``numbers``, a hash of it and ``key`` (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = numbers.astype(np.uint64) + np.uint64(zlib.crc32(key.encode())) * np.uint64(
            0x9E3779B97F4A7C15
        )
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2**53


def _ahead(array: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(array, axis, 0)[1:]


def _behind(array: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(array, axis, 0)[:-1]


def _grown(mask: np.ndarray) -> np.ndarray:
    """A mask and its face neighbours."""
    grown = mask.copy()
    for axis in range(mask.ndim):
        _ahead(grown, axis)[...] |= _behind(mask, axis)
        _behind(grown, axis)[...] |= _ahead(mask, axis)
    return grown
