"""Volumes written slab by slab: into memory, or into a Zarr folder that appears only when it is complete."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr

#: Voxels along the axes of a plane that one chunk of a Zarr array holds, at most.
CHUNK = 128


class MemoryVolume:
    """Keeps everything; ``array`` is there after the first slab."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.array: np.ndarray | None = None

    def write(self, start: int, slab: np.ndarray, shape: tuple[int, ...]) -> None:
        """Put ``slab`` ``(C, n, ...)`` at plane ``start`` of a volume ``(C, *shape)``."""
        if self.array is None:
            self.array = np.empty((len(slab), *shape), dtype=self.dtype)
        self.array[:, start : start + slab.shape[1]] = slab


class ZarrVolume:
    """Writes to a Zarr array, uncompressed: float predictions hardly shrink, and packing them costs time.

    Args:
        folder: of the array; what is in it is replaced.
        dtype: of the array.
        chunk_planes: planes in a chunk; slabs of as many planes touch every chunk once.
    """

    def __init__(self, folder: Path, dtype: str, chunk_planes: int) -> None:
        self.folder, self.dtype, self.chunk_planes = folder, dtype, chunk_planes
        self.array: zarr.Array | None = None

    def write(self, start: int, slab: np.ndarray, shape: tuple[int, ...]) -> None:
        """Put ``slab`` ``(C, n, ...)`` at plane ``start`` of a volume ``(C, *shape)``."""
        if self.array is None:
            sides = (self.chunk_planes, *(CHUNK,) * (len(shape) - 1))
            chunks = tuple(min(side, size) for side, size in zip(sides, shape, strict=True))
            self.array = zarr.create_array(
                store=self.folder, shape=(len(slab), *shape), chunks=(len(slab), *chunks), dtype=self.dtype,
                compressors=None, overwrite=True,
            )  # fmt: skip
        self.array[:, start : start + slab.shape[1]] = slab.astype(self.dtype, copy=False)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``target``; on success it takes the place of ``target``, old or none.

    After an exception ``target`` is what it was, and the temporary folder is gone. What a killed writer of
    ``target`` left behind is removed, so there must be one writer at a time.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for half in target.parent.glob(f".{target.name}.*.part"):
        shutil.rmtree(half)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
