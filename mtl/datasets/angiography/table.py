"""Clips from a table of one's own: a row per video, with its report, study and patient."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd

from mtl.datasets.angiography.clips import SEGMENTS, Clip
from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError

COLUMNS = ("video", "report", "study", "patient")
VIEW = "view"


def read_table(path: str | Path) -> list[Clip]:
    """Clips of a CSV or parquet file with columns video, report, study, patient and optionally view.

    Paths of videos are relative to the table's folder. ``view`` is left, right, or empty. Every cell is taken
    as text. Stenoses are not known (`Clip.stenoses_known` is False): a report says them in its own words.

    Raises `DataError` naming the file and the row (the first below the heading is row 1): table or video
    missing, not a table, missing column, no row, empty cell, unknown view, row given twice, video given
    twice, study of two patients.
    """
    path = Path(path)
    table = _opened(path)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: column {missing[0]!r} is missing; expected {', '.join(COLUMNS)} (optionally {VIEW}), "
            f"found {', '.join(map(str, table.columns)) or 'none'}"
        )
    if table.empty:
        raise DataError(f"{path}: the table has no row")
    table = table[[name for name in (*COLUMNS, VIEW) if name in table.columns]]
    table = table.astype("string").fillna("").apply(lambda column: column.str.strip())
    _check(table, path)
    return [_clip(row, number, path) for number, row in enumerate(table.to_dict("records"), start=1)]


def _opened(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{path}: no such file; a table (.csv or .parquet) is expected")
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise DataError(f"{path}: suffix {suffix!r}; a table ending in .csv or .parquet is expected")
    with damage_named(f"{path}: not a readable {suffix[1:]} table"):  # empty, not UTF-8, not parquet
        if suffix == ".parquet":
            return pd.read_parquet(path).reset_index(drop=True)
        options = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # rows that end in a comma
            return pd.read_csv(path, index_col=False, **options)


def _check(table: pd.DataFrame, path: Path) -> None:
    for name in ("report", "video", "study", "patient"):
        empty = table.index[table[name] == ""]
        if len(empty):
            raise DataError(
                f"{path}: row {empty[0] + 1}: the {name} is empty ({len(empty)} such rows in all)"
            )
    for names, what in ((list(table.columns), "the same as row"), (["video"], "has the video of row")):
        again = table.duplicated(names)
        if again.any():
            row = int(again.to_numpy().argmax())
            first = int((table[names] == table.loc[row, names]).all(axis=1).to_numpy().argmax())
            raise DataError(f"{path}: row {row + 1} is given twice: {what} {first + 1}")
    patients = table.groupby("study")["patient"].unique()
    for study, found in patients.items():
        if len(found) > 1:
            raise DataError(
                f"{path}: study {study!r} has two patients ({', '.join(sorted(found)[:2])}); "
                "a study is one patient's"
            )


def _clip(row: dict[str, str], number: int, path: Path) -> Clip:
    video = path.parent / row["video"]
    if not video.is_file():
        raise DataError(f"{path}: row {number}: no such video: {video}")
    view = row.get(VIEW, "").lower() or None
    if view not in (*SEGMENTS, None):
        raise DataError(f"{path}: row {number}: view {row[VIEW]!r}; left, right or nothing is expected")
    return Clip(
        row["video"], row["study"], row["patient"], view, row["report"], (), video, stenoses_known=False
    )
