"""A journal of what a person did: one line per action, on the disk before it counts.

A process that is killed loses nothing that was written; a line that the kill cut short was never confirmed
and is dropped when the journal is opened again.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtl.errors import DataError

Runs = tuple[tuple[int, int], ...]


class Journal:
    """Records (JSON objects) in a file, one per line; the folder is made.

    Args:
        of: what a record is, for messages: "an action of these tiles".
    """

    def __init__(self, path: str | Path, of: str = "a record") -> None:
        self.path, self.of = Path(path), of
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._size = 0

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record; it is on the disk when this returns.

        Raises:
            DataError: somebody else has written since this journal was read, or the disk takes no more.
                Nothing is written then.
        """
        with self.path.open("ab", buffering=0) as file:
            if file.seek(0, os.SEEK_END) != self._size:
                raise DataError(
                    f"{self.path} was changed by somebody else (the same notebook opened twice?): "
                    "open it again to go on from there"
                )
            self._write(file, json.dumps(record).encode() + b"\n")
            self._size = file.tell()

    def _write(self, file: io.FileIO, line: bytes) -> None:
        """All of a line, or nothing of it."""
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, "no space is left")
            os.fsync(file.fileno())
        except OSError as error:
            file.truncate(self._size)
            raise DataError(f"{self.path} cannot be written ({error}): the action was not taken") from error

    def read(self, take: Callable[[dict[str, Any]], None]) -> None:
        """Hand every record to ``take``, oldest first.

        Args:
            take: for what it cannot read it raises ValueError (errors of mtl are of this kind), KeyError,
                TypeError or IndexError.

        Raises:
            DataError: a line is damaged; the file and line are named.
        """
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        self._size = content.rfind(b"\n") + 1
        if self._size < len(content):
            os.truncate(self.path, self._size)
        for number, line in enumerate(content[: self._size].splitlines(), start=1):
            try:
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError("a JSON object is expected")
                take(record)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise DataError(f"{self.path}, line {number}: not {self.of} ({error})") from error


def runs_of(mask: NDArray[np.bool_]) -> Runs:
    """(start, length) of every run of true values of the flattened mask."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel().astype(np.int8), [0]])))
    return tuple((int(a), int(b - a)) for a, b in edges.reshape(-1, 2))


def mask_of(runs: Runs, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask that ``runs_of`` made them from."""
    flat = np.zeros(int(np.prod(shape)), bool)
    for start, length in runs:
        flat[start : start + length] = True
    return flat.reshape(shape)
