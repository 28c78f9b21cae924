"""A tile: one RGB image and the ids of its nuclei, whatever files it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from mtl.errors import DataError

GREY_16_BIT = 257  # 65535 / 255


@dataclass(frozen=True)
class NucleiTile:
    """One image with its nuclei.

    Attributes:
        id: ``<source>/<name>``, unique in a data set.
        image: uint8 ``(H, W, 3)``.
        instances: int32 ``(H, W)``: 0 background, else the id of a nucleus (any positive number).
        source: the data set, e.g. ``dsb2018``.
        group: tiles of one group are tested together or not at all (a slide, a cluster of colours).
        appearance: kind of picture, for scores of its own, e.g. ``fluo``, ``20x``.
    """

    id: str
    image: np.ndarray
    instances: np.ndarray
    source: str
    group: str
    appearance: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.instances.shape[0], self.instances.shape[1]

    @cached_property
    def nucleus_ids(self) -> np.ndarray:
        """Ids of the nuclei, rising: int32 ``(n,)``."""
        ids = np.unique(self.instances)
        return ids[ids > 0]


def check_tiles(tiles: Sequence[NucleiTile], where: str) -> list[NucleiTile]:
    """The tiles as a list. Raises `DataError` if there is none, an id is there twice, or no nucleus."""
    if not tiles:
        raise DataError(f"{where}: no image with nuclei was found")
    seen: set[str] = set()
    for tile in tiles:
        if tile.id in seen:
            raise DataError(f"{where}: two images are called {tile.id!r}")
        seen.add(tile.id)
    if not any(tile.instances.any() for tile in tiles):
        raise DataError(
            f"{where}: none of the {len(tiles)} label images holds a nucleus (all are 0); ids from 1 on are "
            "expected"
        )
    return list(tiles)


def check_same_size(
    image: np.ndarray, instances: np.ndarray, image_name: object, labels_name: object
) -> None:
    """Raise `DataError`, naming both files, unless image and labels have one height and width."""
    if image.shape[:2] != instances.shape:
        (h, w), (mask_h, mask_w) = image.shape[:2], instances.shape
        hint = "; width and height look exchanged" if (h, w) == (mask_w, mask_h) else ""
        raise DataError(f"{labels_name}: {mask_w} x {mask_h} pixels, but {image_name} has {w} x {h}{hint}")


def rgb_of(picture: Image.Image, name: object) -> np.ndarray:
    """Colours of a decoded picture: uint8 ``(H, W, 3)``.

    Alpha is dropped, not laid over a colour: where exports carry it, it is opaque. Grey becomes three equal
    channels, 16-bit grey is scaled from 0..65535, palettes are expanded.

    Raises `DataError` for a picture of floats, whose range nothing says.
    """
    if picture.mode == "F":
        raise DataError(f"{name}: a picture of floats; 8-bit colour or grey, or 16-bit grey is expected")
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        grey = np.asarray(picture).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise DataError(f"{name}: grey values {grey.min()} to {grey.max()}; 0 to 65535 are expected")
        return np.repeat((grey // GREY_16_BIT).astype(np.uint8)[..., None], 3, axis=2)
    if picture.mode in ("RGB", "RGBA"):
        return np.ascontiguousarray(np.asarray(picture)[..., :3])
    return np.asarray(picture.convert("RGB"))
