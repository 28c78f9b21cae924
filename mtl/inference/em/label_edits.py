"""Edits of a label volume, as records that can be written down and done again: accept, split, merge, remove.

A record is a mapping of JSON: ``do`` is the edit's name, ``object`` the id that it is about; voxels are a
``box`` (first and last + 1 along every axis) and the ``runs`` of the mask in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from mtl.inference.journal import mask_of, runs_of

Box = tuple[slice, ...]
Record = Mapping[str, Any]


def packed(mask: NDArray[np.bool_], box: Box) -> dict[str, Any]:
    """The true voxels of a mask that fills ``box``, ready for JSON."""
    return {"box": [[int(side.start), int(side.stop)] for side in box], "runs": runs_of(mask)}


def voxels_of(part: Record) -> tuple[Box, NDArray[np.bool_]]:
    """What ``packed`` made the part from."""
    box = tuple(slice(int(start), int(stop)) for start, stop in part["box"])
    return box, mask_of(part["runs"], tuple(side.stop - side.start for side in box))


def checked_record(record: Record, shape: tuple[int, ...]) -> Record:
    """The record, if it is an edit of labels of this shape; else ValueError, KeyError or TypeError."""
    if record["do"] not in EDITS:
        raise ValueError(f"unknown action {record['do']!r}")
    if not isinstance(record["note"], Mapping):
        raise ValueError(f"the note {record['note']!r} is no mapping")
    others = record.get("others", [])
    if not isinstance(others, list) or (record["do"] == "merge" and not others):
        raise ValueError(f"others {others!r}: ids are expected")
    for number in (record["object"], *others, *(part["object"] for part in parts_of(record))):
        if not (isinstance(number, int) and 0 < number <= np.iinfo(np.int32).max):
            raise ValueError(f"object {number!r}: a whole number above 0 is expected")
    for part in parts_of(record):
        _check_part(part, shape)
    return record


def _check_part(part: Record, shape: tuple[int, ...]) -> None:
    """Before any memory is asked for."""
    box = part["box"]
    inside = len(box) == len(shape) and all(
        0 <= start < stop <= length for (start, stop), length in zip(box, shape, strict=True)
    )
    if not inside:
        raise ValueError(f"a part at {box} in a volume of shape {shape}")
    size, end = math.prod(stop - start for start, stop in box), 0
    for start, length in part["runs"]:
        if not (end <= start and length > 0 and start + length <= size):
            raise ValueError(f"a run {[start, length]} in a box of {size} voxels")
        end = start + length
    if not part["runs"]:
        raise ValueError(f"an empty part at {box}")


def parts_of(record: Record) -> list[Record]:
    """The voxels that a record brings along; each with its ``object``."""
    return list(record.get("parts", ()))


def apply_edit(record: Record, labels: NDArray[np.int32], accepted: set[int]) -> None:
    """Do an edit on ``labels`` ``(*sp)`` and on the set of accepted ids, in place."""
    EDITS[record["do"]](record, labels, accepted)


def _accept(record: Record, labels: NDArray[np.int32], accepted: set[int]) -> None:
    labels[labels == record["object"]] = 0  # an older version of the object
    _put_parts(record, labels)
    accepted.add(record["object"])


def _split(record: Record, labels: NDArray[np.int32], accepted: set[int]) -> None:
    _put_parts(record, labels)
    if record["object"] in accepted:
        accepted.update(part["object"] for part in parts_of(record))


def _merge(record: Record, labels: NDArray[np.int32], accepted: set[int]) -> None:
    labels[np.isin(labels, record["others"])] = record["object"]
    accepted.difference_update(record["others"])
    accepted.add(record["object"])


def _remove(record: Record, labels: NDArray[np.int32], accepted: set[int]) -> None:
    labels[labels == record["object"]] = 0
    accepted.discard(record["object"])


def _put_parts(record: Record, labels: NDArray[np.int32]) -> None:
    for part in parts_of(record):
        box, mask = voxels_of(part)
        labels[box][mask] = part["object"]


EDITS: dict[str, Callable[[Record, NDArray[np.int32], set[int]], None]] = {
    "accept": _accept,
    "split": _split,
    "merge": _merge,
    "remove": _remove,
}


def parted_by_seeds(
    inside: NDArray[np.bool_], seeds: Sequence[Sequence[tuple[int, ...]]], spacing: Sequence[float]
) -> NDArray[np.int32]:
    """An object cut along its narrowest places between seeds: ``(*sp)`` 1..n inside, 0 outside.

    A watershed (Beucher and Lantuejoul 1979) of the distance to the object's border, in nm, flooded from the
    seeds. A piece of the object without a seed goes to the part that is nearest to it.

    Args:
        inside: ``(*sp)`` bool. seeds: for each part its voxels. spacing: nm along each axis.
    """
    markers = np.zeros(inside.shape, np.int32)
    for number, places in enumerate(seeds, start=1):
        markers[tuple(np.transpose(places))] = number
    depth = edt.edt(np.ascontiguousarray(inside), anisotropy=tuple(spacing), black_border=True)
    parts = watershed(-depth, markers, mask=inside)
    left = inside & (parts == 0)
    if left.any():
        pieces, n = ndimage.label(left)
        nearest = ndimage.distance_transform_edt(
            parts == 0, spacing, return_distances=False, return_indices=True
        )
        away = ndimage.distance_transform_edt(parts == 0, spacing)
        for piece in range(1, n + 1):
            places = np.argwhere(pieces == piece)
            first = tuple(places[away[tuple(places.T)].argmin()])
            parts[pieces == piece] = parts[tuple(nearest[(slice(None), *first)])]
    return parts.astype(np.int32)
