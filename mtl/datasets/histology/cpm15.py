"""CPM-15, the segmentation challenge of MICCAI 2015: ``imageNN.png`` and ``imageNN_mask.txt``.

The source has ``imageNN_poly.png`` beside them, the image with outlines: left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mtl.datasets.histology.tiles import NucleiTile, check_same_size, check_tiles, rgb_of
from mtl.datasets.pictures import open_picture
from mtl.errors import DataError

SOURCE = "cpm15"
LAST_OF_20X = 7  # images 01 to 07 are 20x, 08 to 15 are 40x
#: Images that look like parts of one slide; the set itself says nothing of patients.
SAME_SLIDE = {"07": "06", "15": "14"}


def read_cpm15(folder: str | Path) -> list[NucleiTile]:
    """All tiles of a folder, sorted by number; the ids are those of the files (some have two pieces).

    ``appearance`` is the magnification, 20x or 40x: nuclei differ about twofold in size.

    Raises `DataError` naming the file: no tile, no image for a mask or no mask for an image, a mask of
    another size than its image (in one copy of the set image04 and image05 have each other's masks), text
    that is no list of ids.
    """
    folder = Path(folder)
    masks = sorted(folder.glob("image*_mask.txt")) if folder.is_dir() else []
    for picture in sorted(folder.glob("image*.png")):
        if picture.stem.endswith("_poly"):  # as distributed: the image with its outlines drawn
            continue
        if not picture.with_name(f"{picture.stem}_mask.txt").is_file():
            raise DataError(f"{picture}: its mask {picture.stem}_mask.txt is missing")
    return check_tiles([_read_tile(path) for path in masks], str(folder))


def _read_tile(mask: Path) -> NucleiTile:
    name = mask.name.removesuffix("_mask.txt")
    picture = mask.with_name(f"{name}.png")
    if not picture.is_file():
        raise DataError(f"{mask}: its image {picture.name} is missing")
    image, instances = rgb_of(open_picture(picture), picture), read_text_mask(mask)
    check_same_size(image, instances, picture.name, mask)
    number = re.fullmatch(r"image(\d+)", name)
    magnification = "" if number is None else "20x" if int(number[1]) <= LAST_OF_20X else "40x"
    slide = SAME_SLIDE.get(number[1], number[1]) if number else name
    return NucleiTile(f"{SOURCE}/{name}", image, instances, SOURCE, f"{SOURCE}/{slide}", magnification)


def read_text_mask(path: str | Path) -> np.ndarray:
    """Instance ids int32 ``(H, W)`` of a text file: first line width and height, then an id per line.

    Rows follow one another. Raises `DataError`: see `read_cpm15`.
    """
    path = Path(path)
    try:
        first, _, rest = path.read_text(encoding="ascii").partition("\n")
        width, height = (int(word) for word in first.split())
        ids = np.array(rest.split(), dtype=np.int32)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: a first line 'width height' and then one whole number per line are expected ({error})"
        ) from error
    if len(ids) != width * height or min(width, height) < 1:
        raise DataError(f"{path}: {width} x {height} pixels are announced, but there are {len(ids)} ids")
    if ids.min() < 0:
        raise DataError(f"{path}: holds the id {ids.min()}; 0 (background) or more is expected")
    return ids.reshape(height, width)
