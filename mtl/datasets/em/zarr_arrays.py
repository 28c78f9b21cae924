"""Zarr arrays that stay in their store, and the errors of damaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError

DAMAGED = "expected readable Zarr metadata, but it is damaged"


class ZarrArray:
    """The last three axes (z, y, x) of a Zarr array; only the chunks that a box touches are read.

    ``leading``: one index for each axis before those (time, channel). Raises `DataError` naming store and
    key for chunks that cannot be decoded.
    """

    def __init__(self, array: Any, where: str, leading: tuple[int, ...] = ()) -> None:
        self.array, self.where, self.leading = array, where, leading
        self.shape = tuple(array.shape[len(leading) :])
        self.dtype = array.dtype

    def __str__(self) -> str:
        return self.where

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        with damage_named(f"{self.where}: expected readable chunks, but box {box} cannot be decoded"):
            return np.asarray(self.array[(*self.leading, *box)])


def open_node(store: Any, key: str = "") -> Any:
    """The Zarr group or array (format 2 or 3) at ``key``; raises `DataError` naming store and key."""
    import zarr

    where = describe(store, key)
    if isinstance(store, (str, Path)) and not Path(store).exists():
        raise DataError(f"{store}: no such folder; expected a Zarr group or array")
    with damage_named(f"{where}: {DAMAGED}"):
        try:
            return zarr.open(store if not isinstance(store, Path) else str(store), path=key or None, mode="r")
        except FileNotFoundError as error:
            raise DataError(
                f"{where}: no Zarr group or array there (no .zgroup, .zarray or zarr.json)"
            ) from error


def child(group: Any, key: str, where: str) -> Any:
    """The array or group ``key`` of a group, ``None`` where it is not there.

    Raises `DataError` naming it where its metadata are damaged.
    """
    with damage_named(f"{where}/{key}: {DAMAGED}"):
        return group.get(key)


def describe(store: Any, key: str) -> str:
    """Store and key as messages name them."""
    return f"{store}: {key!r}" if key else str(store)


def is_array(node: Any) -> bool:
    """Whether a node is an array, not a group."""
    return hasattr(node, "shape")
