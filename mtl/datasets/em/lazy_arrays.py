"""Arrays that stay in their file: opened once per process, read by box, with the file's name in errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError

DAMAGED = "expected a readable HDF5 file, but it is damaged"


class Window:
    """A box of a lazy array (z, y, x), itself a lazy array; nothing is read before it is indexed."""

    def __init__(self, array: Any, box: tuple[slice, ...]) -> None:
        if isinstance(array, Window):
            box = tuple(
                slice(outer.start + inner.start, outer.start + inner.stop)
                for outer, inner in zip(array.box, box, strict=True)
            )
            array = array.array
        self.array, self.box = array, box
        self.shape = tuple(part.stop - part.start for part in box)
        self.dtype = array.dtype

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        ranges = [part.indices(side) for part, side in zip(index, self.shape, strict=True)]
        box = tuple(
            slice(whole.start + start, whole.start + stop)
            for whole, (start, stop, _) in zip(self.box, ranges, strict=True)
        )
        return self.array[box]


class Hdf5Array:
    """A data set of an HDF5 file; every process opens the file for itself (handles do not survive a fork).

    Raises `DataError` naming file and key: no such file, not HDF5 or damaged, no such key (those that there
    are get listed), a group instead of a data set, blocks that cannot be decompressed.
    """

    def __init__(self, path: str | Path, key: str) -> None:
        self.path, self.key = Path(path), key
        self._owner, self._dataset = -1, None
        with damage_named(f"{self}: {DAMAGED}"):
            dataset = self._opened()
            self.shape, self.dtype = tuple(dataset.shape), dataset.dtype
            self.attributes = dict(dataset.attrs)

    def __str__(self) -> str:
        return f"{self.path}: data set {self.key!r}"

    def __getitem__(self, box: Any) -> np.ndarray:
        with damage_named(f"{self}: expected readable blocks, but the file is damaged"):
            return np.asarray(self._opened()[box])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_owner": -1, "_dataset": None}

    def _opened(self) -> Any:
        if self._owner != os.getpid():
            self._dataset, self._owner = _dataset(self.path, self.key), os.getpid()
        return self._dataset


def open_hdf5(path: Path) -> Any:
    """An open `h5py.File`; raises `DataError` where there is none or it cannot be opened."""
    import h5py

    if not path.is_file():
        raise DataError(f"{path}: no such file; expected an HDF5 file")
    with damage_named(f"{path}: expected an HDF5 file, but it cannot be opened"):
        return h5py.File(path, "r")


def has_key(path: Path, key: str) -> bool:
    """Whether an HDF5 file holds a group or data set of that name; raises `DataError` as `open_hdf5` does."""
    with damage_named(f"{path}: {DAMAGED}"), open_hdf5(path) as file:
        return key in file


def _dataset(path: Path, key: str) -> Any:
    import h5py

    file = open_hdf5(path)
    found = file.get(key)
    if not isinstance(found, h5py.Dataset):
        names: list[str] = []
        file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        file.close()
        what = "is a group" if found is not None else "is not there"
        raise DataError(
            f"{path}: expected a data set {key!r}, which {what}; found {', '.join(names) or 'none'}"
        )
    return found
