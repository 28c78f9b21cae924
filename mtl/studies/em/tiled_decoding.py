"""Volumes too large for one decoding: predicted and decoded tile by tile, stitched where tiles overlap.

What the embedding of a network without coordinates says holds within one place only: far apart, two neurites
may share a value, and windows that normalise by themselves need not agree. So a tile is a little volume of
its own, from the image to its instances; instances of neighbours are joined by their voxels, not by their
embeddings (:mod:`mtl.inference.em.stitching`). Memory holds one tile's outputs, whatever the volume's size.
Tiles are best several times as wide as objects: what a method joins falsely in one tile stays joined in all
of them. A watershed, whose seeds depend on what lies around them, needs more overlap than modes do.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
import zarr

from mtl.datasets.em import EMVolume
from mtl.datasets.em.volumes import Box
from mtl.inference.em.stitching import stitched, tile_boxes
from mtl.inference.em.volume_writer import CHUNK, new_folder
from mtl.models.em import EMModel
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.prediction import VolumePrediction, predict

CHUNK_PLANES = 32  # of a labelling on disk


def segment_volume(
    model: EMModel,
    volume: EMVolume,
    parameters: EMParameters,
    decode: Callable[[EMVolume, VolumePrediction], np.ndarray],
    device: torch.device | str = "cpu",
    autocast: Callable[[], AbstractContextManager] = nullcontext,
    directions: bool = False,
    path: Path | None = None,
) -> np.ndarray | zarr.Array:
    """Instances of ``volume``, in the tiles of ``parameters``, with the outputs of one tile in memory.

    Args:
        volume: lazy where it is larger than memory; of its labels nothing is read.
        decode: such as ``partial(by_embedding, threshold=0.5)``, applied to each tile.
        directions: whether ``decode`` reads them.
        path: Zarr folder for the ids; it appears, or replaces an older one, when complete.

    Returns:
        int32 ``(*sp)``: a NumPy array, or with ``path`` a Zarr array opened for reading.
    """

    def of_box(box: Box) -> np.ndarray:
        tile = volume.crop(box)
        return decode(tile, predict(model, tile, parameters, torch.device(device), autocast, directions))

    if path is None:
        return decoded_by_tiles(volume, parameters, of_box)
    chunks = [min(a, b) for a, b in zip((CHUNK_PLANES, CHUNK, CHUNK), volume.shape, strict=True)]
    with new_folder(Path(path)) as folder:
        ids = zarr.create_array(
            store=folder, shape=volume.shape, chunks=tuple(chunks), dtype="int32", overwrite=True
        )
        ids.attrs["resolution"] = list(volume.spacing)
        decoded_by_tiles(volume, parameters, of_box, ids)
    return zarr.open_array(path, mode="r")


def decoded_by_tiles(
    volume: EMVolume,
    parameters: EMParameters,
    decode: Callable[[Box], np.ndarray],
    out: zarr.Array | None = None,
) -> np.ndarray | zarr.Array:
    """``decode(box) -> ids`` over the tiles of ``volume``, stitched: int32 ``(*sp)``, or ``out``."""
    return stitched(decode, volume.shape, *_tile_and_overlap(volume, parameters), out=out)


class PredictedTiles:
    """Outputs of every tile of a volume, made once and read as often as decoding needs them.

    One tile, the whole volume, stays in memory; several go to ``folder``, and come back one at a time.

    Args:
        predict_tile: a piece of ``volume`` to its outputs.
    """

    def __init__(
        self,
        volume: EMVolume,
        parameters: EMParameters,
        predict_tile: Callable[[EMVolume], VolumePrediction],
        folder: Path,
    ) -> None:
        self.volume, self.parameters = volume, parameters
        tile, self._overlap = _tile_and_overlap(volume, parameters)
        self.boxes: list[Box] = tile_boxes(volume.shape, tile, self._overlap)  # type: ignore[assignment]
        self._whole = predict_tile(volume) if len(self.boxes) == 1 else None
        self._folder = folder
        if self._whole is None:
            for box in self.boxes:
                _write(predict_tile(volume.crop(box)), self._place(box))

    def __getitem__(self, box: Box) -> VolumePrediction:
        return _read(self._place(box)) if self._whole is None else self._whole

    def decoded(self, decode: Callable[[VolumePrediction], np.ndarray]) -> np.ndarray:
        """Instances int32 ``(*sp)`` that ``decode`` finds in the tiles, stitched."""
        return decoded_by_tiles(self.volume, self.parameters, lambda box: decode(self[box]))

    def foreground(self, threshold: float = 0.5) -> np.ndarray:
        """Bool ``(*sp)``; of an overlap each tile gives the half that lies deeper in it."""
        found = np.zeros(self.volume.shape, bool)
        for box in self.boxes:
            own = _own_share(box, self._overlap, found.shape)
            inside = tuple(slice(o.start - b.start, o.stop - b.start) for o, b in zip(own, box, strict=True))
            found[own] = self[box].foreground[inside] > threshold
        return found

    def _place(self, box: Box) -> Path:
        return self._folder / "_".join(str(part.start) for part in box)


@contextlib.contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards; what a killed run left in it goes first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tile_and_overlap(volume: EMVolume, parameters: EMParameters) -> tuple[list[int], list[int]]:
    """Sides of a tile and voxels that neighbours share; planes that are samples of their own share none."""
    p = parameters
    wanted = (p.decode_tile_planes, p.decode_tile_side, p.decode_tile_side)
    tile = [min(side, length) if side else length for side, length in zip(wanted, volume.shape, strict=True)]
    shared = [
        0 if side == length else max(1, round(p.decode_tile_overlap * side))
        for side, length in zip(tile, volume.shape, strict=True)
    ]
    return tile, [0 if volume.planar else shared[0], *shared[1:]]


def _own_share(box: Box, overlap: list[int], shape: tuple[int, ...]) -> Box:
    """The box without its half of the overlaps: the shares of all tiles cover the volume."""
    return tuple(
        slice(
            part.start + (shared // 2 if part.start > 0 else 0),
            part.stop - (shared // 2 if part.stop < length else 0),
        )
        for part, shared, length in zip(box, overlap, shape, strict=True)
    )  # type: ignore[return-value]


def _write(found: VolumePrediction, folder: Path) -> None:
    folder.mkdir(parents=True)
    for field in fields(found):
        if (values := getattr(found, field.name)) is not None:
            np.save(folder / f"{field.name}.npy", values)


def _read(folder: Path) -> VolumePrediction:
    # Copy on write: PyTorch takes no read-only arrays, and nothing is read that a decoding does not look at.
    paths = {field.name: folder / f"{field.name}.npy" for field in fields(VolumePrediction)}
    return VolumePrediction(
        **{n: np.load(f, mmap_mode="c") if f.exists() else None for n, f in paths.items()}
    )
