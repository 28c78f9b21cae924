"""Boxes around instances in which separable filters run; long and slanted instances in several tiles.

A compact instance fills half of its bounding box. A neurite that crosses the crop aslant fills a few per
cent: there the box is halved, again and again, as long as that saves multiplications.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtl.targets.instances import Instances

Box = tuple[slice, ...]
CELL = 4  # voxels: an instance's place is known in cells of this side
COMPACT = 0.3  # share of its box that an instance must leave empty before halving is tried
SMALL = 1e7  # multiplications: less is not worth another round of calls
SAVING = 0.85  # the halves must cost less than this share of the whole


class Tile(NamedTuple):
    """Results are wanted in ``outer``; the instance has voxels within reach of them in ``inner``."""

    outer: Box
    inner: Box


def tiles_of(instances: Instances, reach: Sequence[int], channels: int) -> Iterator[tuple[int, Tile]]:
    """Number and tiles of every instance; the ``outer`` boxes hold each of its voxels once.

    Args:
        reach: of the filter along each axis, in voxels.
        channels: fields that are filtered together.
    """
    for number, box in instances.boxes:
        whole = Tile(box, box)
        filled = instances.counts[number] / prod(side.stop - side.start for side in box)
        if filled > COMPACT or multiplications(whole, channels) <= SMALL:
            yield number, whole
        else:
            cells = _occupied_cells(instances.ids[box] == number)
            for tile in _halved(cells, _tight_tile(cells, cells, reach), cells, reach, channels):
                yield number, Tile(*(_shifted(part, box) for part in tile))


def multiplications(tile: Tile, channels: int) -> int:
    """Of the separable filter from ``inner`` to ``outer``, last axis first."""
    inner = [side.stop - side.start for side in tile.inner]
    outer = [side.stop - side.start for side in tile.outer]
    return channels * sum(prod(inner[: axis + 1]) * prod(outer[axis:]) for axis in range(len(inner)))


def _occupied_cells(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """``(n, S)`` cells that hold a voxel of the mask."""
    for axis, length in enumerate(mask.shape):
        mask = np.logical_or.reduceat(mask, np.arange(0, length, CELL), axis=axis)
    return np.argwhere(mask)


def _halved(
    part: NDArray[np.int64],
    tile: Tile,
    cells: NDArray[np.int64],
    reach: Sequence[int],
    channels: int,
) -> Iterator[Tile]:
    """Tiles that cover the cells of ``part``, in voxels from the corner of the instance's box."""
    cost = multiplications(tile, channels)
    halves = _longest_halved(part, tile) if cost > SMALL else []
    tiles = [_tight_tile(half, cells, reach) for half in halves]
    if not halves or sum(multiplications(half, channels) for half in tiles) > SAVING * cost:
        yield tile
        return
    for half, inside in zip(halves, tiles, strict=True):
        yield from _halved(half, inside, cells, reach, channels)


def _longest_halved(part: NDArray[np.int64], tile: Tile) -> list[NDArray[np.int64]]:
    lengths = [side.stop - side.start for side in tile.outer]
    axis = int(np.argmax(lengths))
    first = part[:, axis] * (2 * CELL) < tile.outer[axis].start + tile.outer[axis].stop
    return [half for half in (part[first], part[~first]) if 0 < len(half) < len(part)]


def _tight_tile(part: NDArray[np.int64], cells: NDArray[np.int64], reach: Sequence[int]) -> Tile:
    """Box of the cells in ``part``; around it what the filter reaches and holds cells of the instance."""
    start, stop = part.min(axis=0) * CELL, (part.max(axis=0) + 1) * CELL
    first, last = start - reach, stop + reach
    near = cells[((cells + 1) * CELL > first).all(axis=1) & (cells * CELL < last).all(axis=1)]
    first = np.maximum(first, near.min(axis=0) * CELL)
    last = np.minimum(last, (near.max(axis=0) + 1) * CELL)
    return Tile(_slices(start, stop), _slices(first, last))


def _slices(start: NDArray[np.int64], stop: NDArray[np.int64]) -> Box:
    return tuple(slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True))


def _shifted(part: Box, within: Box) -> Box:
    """``part`` from the corner of ``within``, in the crop's own voxels and cut to ``within``."""
    return tuple(
        slice(side.start + whole.start, min(side.stop + whole.start, whole.stop))
        for side, whole in zip(part, within, strict=True)
    )
