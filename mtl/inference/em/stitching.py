r"""Instance tiles into one volume: matched where they overlap, each half of an overlap from its own tile.

Tiles come one by one, in any order, each labelled with ids of its own. A new tile is compared with what is
already written, overlap by overlap: instance a of the volume and instance b of the tile are one where

.. math:: \frac{|a \cap b|}{|a \cup b|} > \text{min\_iou} \quad \text{(both counted inside the overlap only)},

and a voxel that both saw is taken from the tile in which it lies deeper, because a network knows least at the
edge of its tile. Matches are gathered by union-find and applied in a second pass over the volume,
block by block, so that only one tile is in memory: ``out`` may be a Zarr array or HDF5 data set on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import fastremap
import numpy as np
from numpy.typing import NDArray

from mtl.errors import DataError, ParameterError

Box = tuple[slice, ...]
Labels = NDArray[np.integer]
BLOCK = 128  # voxels along each axis that are renumbered at a time


def tile_boxes(shape: Sequence[int], tile: Sequence[int], overlap: Sequence[int]) -> list[Box]:
    """Boxes of ``tile`` that cover ``shape``, neighbours sharing at least ``overlap`` voxels along each axis.

    All boxes have the tile's size (the last of an axis is moved inwards), or the volume's if that is smaller.
    Raises ParameterError where the overlap is not smaller than the tile, or lengths differ.
    """
    if not len(shape) == len(tile) == len(overlap):
        raise ParameterError(
            f"shape {tuple(shape)}, tile {tuple(tile)}, overlap {tuple(overlap)}: one entry per axis"
        )
    starts = []
    for length, size, shared in zip(shape, tile, overlap, strict=True):
        if not 0 <= shared < size:
            raise ParameterError(f"overlap {shared} of tiles of {size} voxels: expected 0 to {size - 1}")
        last = max(length - size, 0)
        starts.append(sorted({min(start, last) for start in range(0, last + size - shared, size - shared)}))
    grid = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, len(shape))
    return [
        tuple(slice(int(a), int(min(a + t, n))) for a, t, n in zip(s, tile, shape, strict=True)) for s in grid
    ]


def stitch(
    tiles: Iterable[tuple[Box, Labels]], shape: Sequence[int], *, min_iou: float = 0.5, out: Any = None
) -> Any:
    """The tiles' instances as one labelling of the volume, ids 1..K in order of their tiles, 0 background.

    tiles: (box, labels of that box (integers, 0 background)), for example from `stitched`.
    min_iou: overlap from which two instances are one, 0.5 to 1: then no instance has two partners in a tile.
    out: array-like (*shape), integer, zeroed, that takes and gives boxes; None: a new int32 array.
    Raises DataError where a tile does not fit its box or the volume; ParameterError for another ``min_iou``,
    or where ``out`` cannot hold the ids.
    """
    if not 0.5 <= min_iou < 1:
        raise ParameterError(f"min_iou = {min_iou}: expected 0.5 or more, and less than 1")
    out = np.zeros(tuple(shape), np.int32) if out is None else out
    parent, written = [0], []
    for box, labels in tiles:
        _check_tile(box, labels, shape)
        offset = len(parent) - 1
        tile, ids = _numbered(labels, offset)
        parent.extend(range(offset + 1, offset + 1 + ids))
        before = np.asarray(out[box])
        if offset + ids > np.iinfo(before.dtype).max:
            raise ParameterError(
                f"out is {before.dtype}, which cannot hold {offset + ids} ids: a wider type is expected"
            )
        neighbours = [other for other in written if _intersection(box, other)]
        for other in neighbours:
            view = _within(_intersection(box, other), box)
            # What earlier tiles were found to share counts as one instance here.
            for known, new in _matches(_by_root(before[view], parent), tile[view], min_iou):
                _unite(parent, known, new)
        out[box] = np.where(_belongs_to(box, neighbours, shape), tile, before).astype(before.dtype)
        written.append(box)
    _renumber(out, parent, shape)
    return out


def stitched(
    decode: Callable[[Box], Labels],
    shape: Sequence[int],
    tile: Sequence[int],
    overlap: Sequence[int],
    *,
    min_iou: float = 0.5,
    out: Any = None,
) -> Any:
    """Decode a volume tile by tile: ``decode(box) -> labels`` of that box, then `stitch`."""
    tiles: Iterator[tuple[Box, Labels]] = ((box, decode(box)) for box in tile_boxes(shape, tile, overlap))
    return stitch(tiles, shape, min_iou=min_iou, out=out)


def _renumber(out: Any, parent: list[int], shape: Sequence[int]) -> None:
    """Ids 1..K without gaps: an instance may have been written over whole by a tile that did not see it."""
    roots = np.array([_root(parent, node) for node in range(len(parent))], np.int64)
    counts = [-(-length // BLOCK) for length in shape]
    blocks = [tuple(slice(k * BLOCK, (k + 1) * BLOCK) for k in corner) for corner in np.ndindex(*counts)]
    seen = np.zeros(len(roots), bool)
    for block in blocks:
        seen[roots[fastremap.unique(np.asarray(out[block]))]] = True
    seen[0] = False
    final = np.where(seen, np.cumsum(seen), 0)[roots]
    for block in blocks:
        before = np.asarray(out[block])
        out[block] = final[before].astype(before.dtype)


def _numbered(labels: Labels, offset: int) -> tuple[NDArray[np.int64], int]:
    """Ids offset+1 ... offset+n in place of the tile's own, and n."""
    compact, names = fastremap.renumber(np.asarray(labels).astype(np.int64), preserve_zero=True)
    n = max(names.values(), default=0)
    return np.where(compact > 0, compact.astype(np.int64) + offset, 0), n


def _matches(known: Labels, new: Labels, min_iou: float) -> Iterator[tuple[int, int]]:
    """Pairs (id in the volume, id in the tile) whose IoU in the voxels that both saw exceeds ``min_iou``."""
    sizes = [dict(zip(*fastremap.unique(labels, return_counts=True), strict=True)) for labels in (known, new)]
    both = (known > 0) & (new > 0)
    pairs, counts = fastremap.unique(known[both] << 32 | new[both], return_counts=True)
    for a, b, count in zip(pairs >> 32, pairs & 0xFFFFFFFF, counts, strict=True):
        if count / (sizes[0][a] + sizes[1][b] - count) > min_iou:
            yield int(a), int(b)


def _belongs_to(box: Box, written: Sequence[Box], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Voxels of ``box`` that lie deeper in it than in any tile written before."""
    mine = np.ones([part.stop - part.start for part in box], bool)
    for other in written:
        if shared := _intersection(box, other):
            deeper = _depth(shared, box, shape) > _depth(shared, other, shape)
            mine[_within(shared, box)] &= deeper
    return mine


def _depth(shared: Box, box: Box, shape: Sequence[int]) -> NDArray[np.int64]:
    """Voxels from the nearest face of ``box``, over ``shared``; faces of the volume do not count."""
    depth = np.full((1,) * len(box), np.iinfo(np.int64).max)
    for axis, (part, own, length) in enumerate(zip(shared, box, shape, strict=True)):
        position = np.arange(part.start, part.stop)
        below = position - own.start if own.start > 0 else np.full(len(position), length)
        above = own.stop - 1 - position if own.stop < length else np.full(len(position), length)
        along = np.minimum(below, above).reshape([-1 if a == axis else 1 for a in range(len(box))])
        depth = np.minimum(depth, along)
    return depth


def _within(part: Box, box: Box) -> Box:
    """``part`` in the coordinates of ``box``."""
    return tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True))


def _intersection(one: Box, other: Box) -> Box | None:
    parts = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)]
    return tuple(parts) if all(part.start < part.stop for part in parts) else None


def _root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def _unite(parent: list[int], one: int, other: int) -> None:
    one, other = _root(parent, one), _root(parent, other)
    parent[max(one, other)] = min(one, other)  # the id of the first tile stays


def _by_root(labels: Labels, parent: list[int]) -> NDArray[np.int64]:
    """Labels with every id replaced by its instance's first one."""
    ids, places = fastremap.unique(np.ascontiguousarray(labels), return_inverse=True)
    return np.array([_root(parent, int(i)) for i in ids], np.int64)[places].reshape(labels.shape)


def _check_tile(box: Box, labels: Labels, shape: Sequence[int]) -> None:
    size = tuple(part.stop - part.start for part in box)
    inside = len(box) == len(shape) and all(
        0 <= part.start < part.stop <= length for part, length in zip(box, shape, strict=True)
    )
    if not inside:
        raise DataError(f"tile {_spelled(box)} does not lie in a volume of {tuple(shape)}")
    if labels.shape != size or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise DataError(
            f"tile {_spelled(box)}: labels are {labels.dtype} {labels.shape}; "
            f"expected integers {size}, 0 or more"
        )


def _spelled(box: Box) -> str:
    return "[" + ", ".join(f"{part.start}:{part.stop}" for part in box) + "]"
