"""Annotations of a set of tiles, saved after every action: what a widget or a simulated annotator fills."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtl.errors import ParameterError
from mtl.inference.journal import Journal, Runs, mask_of, runs_of

ACTIONS = ("accept", "reject", "add")
JOURNAL = "journal.jsonl"
Action = Literal["accept", "reject", "add"]


@dataclass(frozen=True)
class Entry:
    """One action: ``accept`` or ``reject`` a proposal, ``add`` an outline; pixels as (start, length) runs."""

    action: Action
    tile: str
    runs: Runs
    note: Mapping[str, Any]


class AnnotationSession:
    """Outlines and rejections of some tiles.

    Args:
        folder: where the journal lies; one that is there already is continued.
        shapes: id of every tile to its height and width.

    Raises:
        DataError: the journal is damaged, or of other tiles.
    """

    def __init__(self, folder: str | Path, shapes: Mapping[str, Sequence[int]]) -> None:
        self.journal = Journal(Path(folder) / JOURNAL, of="an action of these tiles")
        self.shapes = {tile: (int(h), int(w)) for tile, (h, w) in shapes.items()}
        self.entries: list[Entry] = []
        self.journal.read(self._take)

    def accept(self, tile: str, mask: NDArray[np.bool_], **note: Any) -> Entry:
        """Take a proposal as a nucleus. Raises `ParameterError` as `add` does."""
        return self._record("accept", tile, mask, note)

    def add(self, tile: str, mask: NDArray[np.bool_], **note: Any) -> Entry:
        """Outline a nucleus; pixels that another one has already stay with it.

        Raises `ParameterError`: unknown tile, a mask of another size, or nothing left of it.
        """
        return self._record("add", tile, mask, note)

    def reject(self, tile: str, mask: NDArray[np.bool_], **note: Any) -> Entry:
        """Say that a proposal is no nucleus. Raises `ParameterError`."""
        return self._record("reject", tile, mask, note)

    def undo(self) -> Entry | None:
        """Take the last action back; None where there is none."""
        if not self.entries:
            return None
        self.journal.append({"undo": True})
        return self.entries.pop()

    def instances(self, tile: str, where: Callable[[Entry], bool] = lambda _: True) -> NDArray[np.int32]:
        """Outlined nuclei 1..n of a tile ``(H, W)``, in the order in which they came; 0: no label.

        where: only entries that it holds for.
        """
        labels = np.zeros(self._shape(tile), np.int32)
        outlined = (e for e in self.entries if e.tile == tile and e.action != "reject" and where(e))
        for number, entry in enumerate(outlined, start=1):
            mask = self.mask(entry)
            labels[mask & (labels == 0)] = number
        return labels

    def rejected(self, tile: str) -> NDArray[np.bool_]:
        """Pixels of a tile that were rejected."""
        masks = [self.mask(e) for e in self.entries if e.tile == tile and e.action == "reject"]
        return np.any(masks, axis=0) if masks else np.zeros(self._shape(tile), bool)

    def mask(self, entry: Entry) -> NDArray[np.bool_]:
        """The pixels of an action ``(H, W)``."""
        return mask_of(entry.runs, self._shape(entry.tile))

    def counts(self) -> dict[str, int]:
        """How often each action was taken, and ``outlined``: nuclei by either way."""
        found = {name: sum(e.action == name for e in self.entries) for name in ACTIONS}
        return found | {"outlined": found["accept"] + found["add"]}

    def _record(self, action: Action, tile: str, mask: NDArray[np.bool_], note: Mapping[str, Any]) -> Entry:
        mask = np.asarray(mask, bool)
        if mask.shape != self._shape(tile):
            raise ParameterError(f"mask has shape {mask.shape}; tile {tile!r} has {self._shape(tile)}")
        free = mask if action == "reject" else mask & (self.instances(tile) == 0)
        if not free.any():
            what = "is empty" if not mask.any() else "lies in nuclei that are outlined already"
            raise ParameterError(f"the mask to {action} in tile {tile!r} {what}")
        entry = Entry(action, tile, runs_of(free), dict(note))
        self.journal.append({"action": action, "tile": tile, "runs": entry.runs, "note": entry.note})
        self.entries.append(entry)
        return entry

    def _take(self, record: dict[str, Any]) -> None:
        if record.get("undo"):
            self.entries.pop()
            return
        height, width = self._shape(record["tile"])
        runs = tuple((int(start), int(length)) for start, length in record["runs"])
        if record["action"] not in ACTIONS or not isinstance(record["note"], dict):
            raise ValueError(f"{', '.join(ACTIONS)} with a note is expected")
        if not all(0 <= start < start + length <= height * width for start, length in runs):
            raise ValueError(f"runs within {height} x {width} pixels are expected")
        self.entries.append(Entry(record["action"], record["tile"], runs, record["note"]))

    def _shape(self, tile: str) -> tuple[int, int]:
        if tile not in self.shapes:
            raise ParameterError(f"unknown tile {tile!r}: this session has {', '.join(self.shapes)}")
        return self.shapes[tile]
