"""Clips from a table of one's own: a row per video, with its report, study and patient."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import pandas as pd

from mtl.datasets.angiography.clips import SEGMENTS, Clip
from mtl.datasets.damaged_files import damage_named
from mtl.errors import DataError

COLUMNS = ("video", "report", "study", "patient")
VIEW = "view"
TABLE_SUFFIXES = (".csv", ".parquet")


def read_table(path: str | Path) -> list[Clip]:
    """Clips of a CSV or parquet file with columns video, report, study, patient and optionally view.

    Paths of videos are relative to the table's folder. ``view`` is left, right, or empty. Every cell is taken
    as text. Stenoses are not known (`Clip.stenoses_known` is False): a report says them in its own words.

    Raises `DataError` naming the file and the row (the first below the heading is row 1): table or video
    missing, not a table, a row with more fields than the heading (a comma within a report needs quotes
    around it), missing column, column given twice, no row, empty cell, unknown view, row given twice, video
    given twice (however its path is spelt), study of two patients.
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
    if suffix not in TABLE_SUFFIXES:
        raise DataError(f"{path}: suffix {suffix!r}; a table ending in .csv or .parquet is expected")
    with damage_named(f"{path}: not a readable {suffix[1:]} table"):  # empty, not UTF-8, not parquet
        if suffix == ".parquet":
            return pd.read_parquet(path).reset_index(drop=True)
        options = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # rows that end in a comma
            table = pd.read_csv(path, index_col=False, **options)
        _check_fields(path)
        return table


def _check_fields(path: Path) -> None:
    """That no comma parts a report in two: pandas leaves a row's surplus fields out and says nothing."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        heading, *rows = [row for row in csv.reader(file) if row]
    for number, row in enumerate(rows, start=1):
        if any(field.strip() for field in row[len(heading) :]):
            raise DataError(
                f"{path}: row {number} has {len(row)} fields where the heading has {len(heading)}: a comma "
                "within a report needs quotes around the report"
            )
    named = [name.strip() for name in heading]
    if again := [name for name in (*COLUMNS, VIEW) if named.count(name) > 1]:
        raise DataError(f"{path}: the column {again[0]!r} is given twice")


def _check(table: pd.DataFrame, path: Path) -> None:
    for name in ("report", "video", "study", "patient"):
        empty = table.index[table[name] == ""]
        if len(empty):
            raise DataError(
                f"{path}: row {empty[0] + 1}: the {name} is empty ({len(empty)} such rows in all)"
            )
    films = pd.DataFrame({"video": [str((path.parent / video).resolve()) for video in table["video"]]})
    for told, what in ((table, "the same as row"), (films, "has the video of row")):
        again = told.duplicated()
        if again.any():
            row = int(again.to_numpy().argmax())
            first = int((told == told.loc[row]).all(axis=1).to_numpy().argmax())
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
