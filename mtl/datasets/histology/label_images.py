"""Any set of images with a label image each: ``images/`` and ``labels/``, paired by name.

MoNuSeg, PanNuke and CoNSeP are exported that way by most tools: PNG or TIFF, one instance id per pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from scipy import ndimage

from mtl.datasets.damaged_files import damage_named
from mtl.datasets.histology.tiles import NucleiTile, check_same_size, check_tiles, rgb_of
from mtl.datasets.pictures import open_picture, picture_files
from mtl.errors import DataError

IMAGES = ("images", "image", "imgs")
LABELS = ("labels", "instances", "masks", "label")
TABLE = "groups.csv"


def read_label_images(folder: str | Path, source: str | None = None) -> list[NucleiTile]:
    """Every image of ``images/`` with the label image of the same name (any suffix) in ``labels/``.

    Folders may also be called ``instances`` or ``masks``. A table ``groups.csv`` (columns ``name``,
    ``group``, and ``appearance`` if known) says which images belong together, a patient or slide; without
    it each is a group of its own.

    Raises `DataError` naming the file: missing partner, other size, labels of floats, of three channels, or
    of two values (a mask of all nuclei together has no instances), an image that the table lacks.
    """
    folder = Path(folder)
    images, labels = (_subfolder(folder, names) for names in (IMAGES, LABELS))
    partners = _by_stem(labels)
    pictures = _by_stem(images)
    if extra := sorted(set(partners) - set(pictures)):
        raise DataError(f"{partners[extra[0]]}: no image of this name in {images}")
    table = _table(folder / TABLE)
    name = source or folder.resolve().name
    tiles = []
    for stem, picture in pictures.items():
        if stem not in partners:
            raise DataError(f"{picture}: no label image of this name in {labels}")
        group, appearance = _group(table, stem, name, folder)
        image, instances = rgb_of(open_picture(picture), picture), read_label_image(partners[stem])
        check_same_size(image, instances, picture.name, partners[stem])
        tiles.append(NucleiTile(f"{name}/{stem}", image, instances, name, group, appearance))
    return check_tiles(tiles, str(folder))


def read_label_image(path: str | Path) -> np.ndarray:
    """Instance ids int32 ``(H, W)`` of a PNG or TIFF. Raises `DataError`: see `read_label_images`."""
    path = Path(path)
    with damage_named(f"{path}: expected a whole label image, but it cannot be read"):
        values = tifffile.imread(path) if path.suffix.lower() in (".tif", ".tiff") else _png(path)
    values = np.squeeze(values)
    if values.ndim != 2:
        raise DataError(f"{path}: shape {values.shape}; one channel of instance ids (H, W) is expected")
    if values.dtype.kind == "f":
        raise DataError(f"{path}: {values.dtype} labels; whole numbers, an id per nucleus, are expected")
    if values.min() < 0 or values.max() > np.iinfo(np.int32).max:
        raise DataError(f"{path}: ids {values.min()} to {values.max()}; 0 or more is expected")
    if values.dtype == bool or _is_mask(values):
        raise DataError(
            f"{path}: two values, a mask of all nuclei together; an id for each nucleus is expected"
        )
    return values.astype(np.int32)


def _is_mask(values: np.ndarray) -> bool:
    """Whether 0 and one other number are all there is, and that number is 255 or lies in several pieces."""
    ids = np.unique(values)
    return len(ids) == 2 and ids[0] == 0 and (ids[1] == 255 or ndimage.label(values, np.ones((3, 3)))[1] > 1)


def _png(path: Path) -> np.ndarray:
    picture = open_picture(path)
    return np.asarray(picture)  # a palette's indices are the ids


def _subfolder(folder: Path, names: tuple[str, ...]) -> Path:
    found = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {}
    for name in names:
        if name in found:
            return found[name]
    raise DataError(f"{folder}: a folder {names[0]!r} is expected in it")


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in picture_files(folder):
        if path.stem in found:
            raise DataError(f"{path}: {found[path.stem].name} has the same name; one file each is expected")
        found[path.stem] = path
    return found


def _table(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    with damage_named(f"{path}: expected a table"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := {"name", "group"} - set(table.columns):
        raise DataError(f"{path}: column {min(missing)!r} is missing")
    if table["name"].duplicated().any():
        raise DataError(
            f"{path}: {table.loc[table['name'].duplicated(), 'name'].iloc[0]!r} stands there twice"
        )
    return table.set_index("name")


def _group(table: pd.DataFrame | None, stem: str, source: str, folder: Path) -> tuple[str, str]:
    if table is None:
        return f"{source}/{stem}", ""
    if stem not in table.index:
        raise DataError(f"{folder / TABLE}: no row for the image {stem!r}")
    row = table.loc[stem]
    return f"{source}/{row['group']}", str(row.get("appearance", ""))
