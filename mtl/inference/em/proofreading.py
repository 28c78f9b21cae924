"""A segmentation put right by a person: objects accepted, split, merged and removed, each saved at once.

What the person did lies in ``journal.jsonl``, one line per action, beside ``start.npz``, the segmentation
that it began with: together they give the labels of any moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError, ParameterError
from mtl.files import atomic_path
from mtl.inference.em.label_edits import (
    EDITS,
    Box,
    Record,
    apply_edit,
    checked_record,
    packed,
    parted_by_seeds,
    parts_of,
)
from mtl.inference.journal import Journal

JOURNAL, START = "journal.jsonl", "start.npz"


@dataclass(frozen=True)
class Deed:
    """One action: ``name`` is accept, split, merge or remove; ``object`` the id that it is about.

    ``others``: ids that were merged into it, or that were split off. ``note``: what the caller wrote beside.
    """

    name: str
    object: int
    others: tuple[int, ...]
    note: Mapping[str, Any]


class Proofreading:
    """Labels of one volume under correction.

    Args:
        folder: where the work lies; what is there already is continued, with the segmentation that it began
            with, whatever is given now.
        segmentation: ``(Z,Y,X)`` or ``(Y,X)`` whole numbers, 0 is nothing.
        spacing: nm along each axis; for splitting.

    Attributes:
        labels: int32 as the segmentation; to be read, not written.
        accepted: ids that the person has taken; no other object gets their voxels.
        began_elsewhere: whether the work in the folder began with another segmentation than the given one.

    Raises:
        DataError: float labels, negative ids, a spacing that is none, a damaged folder, or one of another
            shape.
    """

    def __init__(
        self, folder: str | Path, segmentation: ArrayLike, spacing: Sequence[float] | None = None
    ) -> None:
        self.folder = Path(folder)
        given = _checked_labels(segmentation)
        self.spacing = tuple(map(float, (1.0,) * given.ndim if spacing is None else spacing))
        if len(self.spacing) != given.ndim or not all(0 < side < np.inf for side in self.spacing):
            raise DataError(
                f"spacing {self.spacing}: one length per axis of {given.shape}, above 0 nm, is expected"
            )
        self._start = self._kept_start(given)
        self.began_elsewhere = not np.array_equal(self._start, given)
        self._records: list[Record] = []
        self.journal = Journal(self.folder / JOURNAL, of="an action on this segmentation")
        self.journal.read(self._take)
        self._rebuild()

    @property
    def history(self) -> tuple[Deed, ...]:
        """What was done and not undone, oldest first."""
        return tuple(map(_deed, self._records))

    def object_at(self, place: Sequence[int]) -> int:
        """Id at a voxel; 0: none. Raises `ParameterError` outside of the volume."""
        return int(self.labels[self._checked(place)])

    def accept(self, mask: ArrayLike, box: Box | None = None, replaces: int = 0, **note: Any) -> int:
        """Take a mask as an object; returns its id.

        Args:
            mask: bool, in the volume's shape or that of ``box``.
            box: part of the volume that the mask is about, default all of it.
            replaces: an object that this is a better version of: its id is kept, and what of it is not in the
                mask becomes 0 (in ``box`` and outside).

        Voxels of other accepted objects stay with them; other segments lose theirs.

        Raises:
            ParameterError: the mask has another shape, or nothing is left of it; ``replaces`` is no object.
        """
        sides = (slice(None),) * self.labels.ndim if box is None else box
        box = tuple(slice(*b.indices(n)[:2]) for b, n in zip(sides, self.labels.shape, strict=True))
        mask = np.asarray(mask, bool)
        if mask.shape != self.labels[box].shape:
            raise ParameterError(f"the mask has shape {mask.shape}; {self.labels[box].shape} is expected")
        self._require([replaces] if replaces else [])
        free = mask & ~np.isin(self.labels[box], list(self.accepted - {replaces}))
        if not free.any():
            why = "lies in objects that are accepted already" if mask.any() else "is empty"
            raise ParameterError(f"the mask {why}: there is nothing to accept")
        number = replaces or self._next
        return self._do("accept", number, note, parts=[{"object": number, **packed(free, box)}])

    def split(self, seeds: Sequence[Sequence[Sequence[int]]], **note: Any) -> tuple[int, ...]:
        """Cut one object along its narrowest places between seeds; see `parted_by_seeds`.

        Args:
            seeds: for each part its voxels ``[(z, y, x), ...]``; the first part keeps the id.

        Returns:
            The ids of the parts. They are accepted if the object was.

        Raises:
            ParameterError: fewer than two parts, a part without a seed, a voxel that is a seed of two parts,
                or seeds that do not lie in one object.
        """
        groups = [[self._checked(place) for place in group] for group in seeds]
        if len(groups) < 2 or not all(groups):
            raise ParameterError("to split an object, seeds in two or more parts of it are expected")
        if len({place for group in groups for place in group}) < sum(len(set(group)) for group in groups):
            raise ParameterError(
                "to split an object, seeds of different parts are expected at different voxels"
            )
        found = sorted({self.object_at(place) for group in groups for place in group})
        if len(found) > 1 or found == [0]:
            raise ParameterError(
                f"the seeds lie in the objects {found}; they are expected in one, which is not 0"
            )
        [number] = found
        [box] = ndimage.find_objects((self.labels == number).astype(np.uint8))
        shifted = [
            [tuple(p - b.start for p, b in zip(place, box, strict=True)) for place in g] for g in groups
        ]
        parts = parted_by_seeds(self.labels[box] == number, shifted, self.spacing)
        ids = (number, *range(self._next, self._next + len(groups) - 1))
        off = [{"object": ids[k], **packed(parts == k + 1, box)} for k in range(1, len(groups))]
        self._do("split", number, note, parts=off)
        return ids

    def merge(self, objects: Sequence[int], **note: Any) -> int:
        """Make one object of several; it has the id of the first and is accepted. Returns that id.

        Raises:
            ParameterError: fewer than two objects, or one that does not exist.
        """
        wanted = list(dict.fromkeys(map(int, objects)))
        if len(wanted) < 2:
            raise ParameterError(f"objects to merge: {wanted}; two or more are expected")
        self._require(wanted)
        return self._do("merge", wanted[0], note, others=wanted[1:])

    def remove(self, number: int, **note: Any) -> int:
        """Say that an object is none: its voxels become 0. Raises `ParameterError` for an unknown id."""
        self._require([number])
        return self._do("remove", int(number), note)

    def undo(self) -> Deed | None:
        """Take the last action back; None where there is none."""
        if not self._records:
            return None
        self.journal.append({"undo": True})
        undone = self._records.pop()
        self._rebuild()
        return _deed(undone)

    def after(self, n: int) -> tuple[NDArray[np.int32], set[int]]:
        """``labels`` and ``accepted`` when the first ``n`` actions of ``history`` had been done, to be read.

        Raises:
            ParameterError: there are not so many.
        """
        if not 0 <= n <= len(self._records):
            raise ParameterError(f"n = {n}: 0 to {len(self._records)} (actions so far) is expected")
        return (self.labels, self.accepted) if n == len(self._records) else self._after(n)

    def counts(self) -> dict[str, int]:
        """Objects that are there, ``accepted`` ones among them, and how often each action was done."""
        there = set(np.unique(self.labels).tolist()) - {0}
        done = {name: sum(record["do"] == name for record in self._records) for name in EDITS}
        return {"objects": len(there), "accepted": len(there & self.accepted)} | {
            f"done_{name}": number for name, number in done.items()
        }

    # ------------------------------------------------------------------ the work on the disk
    def _kept_start(self, given: NDArray[np.int32]) -> NDArray[np.int32]:
        path = self.folder / START
        if not path.exists():
            if (self.folder / JOURNAL).exists():
                raise DataError(f"{path} is missing: the actions in {JOURNAL} cannot be read without it")
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as half, open(half, "wb") as file:
                np.savez_compressed(file, labels=given)
            return given
        with damage_named(f"{path}: not a segmentation to go on from"), np.load(path) as stored:
            kept = stored["labels"]
            if kept.dtype.kind not in "iu":
                raise ValueError(f"its labels are {kept.dtype}")
        start = _checked_labels(kept)
        if start.shape != given.shape:
            raise DataError(
                f"{path} has shape {start.shape}; the volume has {given.shape}: another folder is expected"
            )
        return start

    def _do(self, name: str, number: int, note: Mapping[str, Any], **what: Any) -> int:
        record = {"do": name, "object": number, **what, "note": dict(note)}
        self.journal.append(record)
        self._records.append(record)
        self._show(record)
        return number

    def _take(self, record: dict[str, Any]) -> None:
        if record.get("undo"):
            self._records.pop()
        else:
            self._records.append(checked_record(record, self._start.shape))

    # ------------------------------------------------------------------ the labels
    def _after(self, n: int) -> tuple[NDArray[np.int32], set[int]]:
        labels, accepted = self._start.copy(), set()
        for record in self._records[:n]:
            apply_edit(record, labels, accepted)
        return labels, accepted

    def _rebuild(self) -> None:
        self.labels, self.accepted = self._after(len(self._records))
        ids = [part["object"] for record in self._records for part in parts_of(record)]
        self._next = 1 + max(int(self._start.max(initial=0)), *ids, 0)

    def _show(self, record: Record) -> None:
        apply_edit(record, self.labels, self.accepted)
        self._next = 1 + max([self._next - 1, *(part["object"] for part in parts_of(record))])

    def _require(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if number == 0 or not (self.labels == number).any():
                raise ParameterError(f"object {number} does not exist")

    def _checked(self, place: Sequence[int]) -> tuple[int, ...]:
        place = tuple(int(p) for p in place)
        shape = self.labels.shape
        if len(place) != len(shape) or not all(0 <= p < side for p, side in zip(place, shape, strict=True)):
            raise ParameterError(f"voxel {place} is outside of the volume of shape {shape}")
        return place


def _deed(record: Record) -> Deed:
    others = record.get("others") or [
        p["object"] for p in parts_of(record) if p["object"] != record["object"]
    ]
    return Deed(record["do"], int(record["object"]), tuple(map(int, others)), record["note"])


def _checked_labels(segmentation: ArrayLike) -> NDArray[np.int32]:
    labels = np.asarray(segmentation)
    if labels.dtype.kind not in "biu" or labels.ndim not in (2, 3):
        raise DataError(
            f"a segmentation of type {labels.dtype} and shape {labels.shape}: whole numbers of 2 or 3 axes "
            "are expected"
        )
    if labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.int32).max // 2):
        raise DataError(
            f"a segmentation with ids from {labels.min()} to {labels.max()}: 0 to 2^30 is expected"
        )
    return labels.astype(np.int32)
