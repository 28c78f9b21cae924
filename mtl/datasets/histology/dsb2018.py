"""2018 Data Science Bowl: a folder per image, a file per nucleus (Caicedo et al., Nature Methods 2019)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mtl.datasets.damaged_files import damage_named
from mtl.datasets.histology.tiles import NucleiTile, check_same_size, check_tiles, rgb_of
from mtl.datasets.pictures import MASK_THRESHOLD, open_picture, picture_files
from mtl.errors import DataError

SOURCE = "dsb2018"
STAGE = "stage1_train"
NO_GROUP = "none"


def read_dsb2018(root: str | Path, appearances: Sequence[str] = ()) -> list[NucleiTile]:
    """All images of ``stage1_train``, sorted by id; nuclei are numbered in the order of their files' names.

    ``images.csv`` beside it (columns ``id``, ``appearance``, ``colour_group``), where it is there, gives
    appearance and group. Without it, or where it has no group, an image is a group of its own: the set says
    nothing of slides. ``appearances``: only images of these; they must occur in the table.

    Raises `DataError` naming the file: no image or two, no mask, a mask of another size, masks that overlap,
    an empty or damaged mask, a row that lacks an image.
    """
    root = Path(root)
    stage = root / STAGE if (root / STAGE).is_dir() else root
    entries = sorted(path for path in stage.iterdir() if path.is_dir()) if stage.is_dir() else []
    folders = [path for path in entries if (path / "images").is_dir()]
    if not folders:
        raise DataError(f"{root}: no folders {STAGE}/<id>/images were found")
    table = _table(stage.parent / "images.csv")
    _check_complete(entries, folders, table, stage)
    if appearances:
        folders = _of_appearance(folders, table, appearances, root)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        tiles = list(pool.map(partial(_read_tile, table=table), folders))
    return check_tiles(tiles, str(root))


def _table(path: Path) -> pd.DataFrame:
    """Appearance and group by id; empty where there is no such file."""
    if not path.is_file():
        return pd.DataFrame(columns=["appearance", "colour_group"])
    with damage_named(f"{path}: expected a table"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := {"id", "appearance", "colour_group"} - set(table.columns):
        raise DataError(f"{path}: column {min(missing)!r} is missing")
    if table["id"].duplicated().any():
        raise DataError(f"{path}: {table.loc[table['id'].duplicated(), 'id'].iloc[0]!r} stands there twice")
    return table.set_index("id")


def _check_complete(
    entries: Sequence[Path], folders: Sequence[Path], table: pd.DataFrame, stage: Path
) -> None:
    """Raise `DataError` for a folder without a picture, and for a row of the table without a folder."""
    for folder in entries:
        if folder not in folders and (folder / "masks").is_dir():
            raise DataError(f"{folder}: no folder 'images'; one image is expected in it")
    if lost := sorted(set(table.index) - {folder.name for folder in folders}):
        raise DataError(
            f"{stage.parent / 'images.csv'}: {lost[0]!r} has no folder in {stage.name} ({len(lost)} such)"
        )


def _of_appearance(
    folders: Sequence[Path], table: pd.DataFrame, wanted: Sequence[str], root: Path
) -> list[Path]:
    known = sorted(set(table["appearance"]))
    if unknown := [name for name in wanted if name not in known]:
        raise DataError(
            f"{root}: no image of appearance {unknown[0]!r}; images.csv has {', '.join(known) or 'none'}"
        )
    return [path for path in folders if path.name in table.index and table["appearance"][path.name] in wanted]


def _read_tile(folder: Path, table: pd.DataFrame) -> NucleiTile:
    pictures = picture_files(folder / "images")
    if len(pictures) != 1:
        raise DataError(f"{folder / 'images'}: one image is expected, {len(pictures)} were found")
    image = rgb_of(open_picture(pictures[0]), pictures[0])
    masks = picture_files(folder / "masks") if (folder / "masks").is_dir() else []
    if not masks:
        raise DataError(f"{folder}: no masks; one file per nucleus is expected in its folder 'masks'")
    instances = np.zeros(image.shape[:2], np.int32)
    for number, path in enumerate(masks, start=1):
        _draw(instances, number, path, masks, image, pictures[0])
    row = table.loc[folder.name] if folder.name in table.index else {"appearance": "", "colour_group": ""}
    group = row["colour_group"] or f"{NO_GROUP}/{folder.name}"
    return NucleiTile(f"{SOURCE}/{folder.name}", image, instances, SOURCE, group, row["appearance"])


def _draw(
    instances: np.ndarray, number: int, path: Path, masks: Sequence[Path], image: np.ndarray, picture: Path
) -> None:
    """Write nucleus ``number`` into ``instances``."""
    values = np.asarray(open_picture(path).convert("L"))
    check_same_size(image, values, picture, path)
    rows, columns = np.nonzero(values > MASK_THRESHOLD)
    if len(rows) == 0:
        raise DataError(f"{path}: an empty mask; a nucleus in white (above {MASK_THRESHOLD}) is expected")
    taken = instances[rows, columns]
    if taken.any():
        other = masks[int(taken[taken > 0][0]) - 1]
        raise DataError(
            f"{path}: {np.count_nonzero(taken)} pixels lie in {other.name} too; masks must not overlap"
        )
    instances[rows, columns] = number
