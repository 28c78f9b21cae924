"""One door for all layouts: a folder says by what lies in it how it is to be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mtl.datasets.histology.cpm15 import read_cpm15
from mtl.datasets.histology.dsb2018 import STAGE, read_dsb2018
from mtl.datasets.histology.label_images import IMAGES, read_label_images
from mtl.datasets.histology.tiles import NucleiTile
from mtl.errors import DataError


def open_tiles(folder: str | Path) -> list[NucleiTile]:
    """Read a folder laid out as DSB 2018, as CPM-15, or as ``images/`` with ``labels/``.

    Raises `DataError` where it is none of them, and what the readers raise.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    reader = tile_reader(folder)
    if reader is None:
        raise DataError(
            f"{folder}: expected {STAGE}/<id>/images and masks (DSB 2018), imageNN.png with imageNN_mask.txt "
            "(CPM-15), or the folders images/ and labels/"
        )
    return reader(folder)


def tile_reader(folder: Path) -> Callable[[Path], list[NucleiTile]] | None:
    """What reads a folder, by what lies in it; None: nothing here does."""
    if (folder / STAGE).is_dir() or any(folder.glob("*/images")):
        return read_dsb2018
    if any(folder.glob("image*_mask.txt")):
        return read_cpm15
    if any(path.is_dir() and path.name.lower() in IMAGES for path in folder.iterdir()):
        return read_label_images
    return None
