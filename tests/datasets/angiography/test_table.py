"""The table of one's own videos, and everything that can be wrong with it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mtl.datasets.angiography import read_table
from mtl.errors import DataError

from .conftest import ramp, write_movie

ROWS = pd.DataFrame(
    {
        "video": ["a.avi", "sub/b.avi", "c.avi"],
        "report": ["mLAD 70%, NA.", "No significant stenosis.", "pRCA 50%."],
        "study": ["001", "001", "002"],
        "patient": ["7", "7", "NA"],
        "view": ["left", "Right", ""],
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ROWS["video"]:
        write_movie(tmp_path / name, ramp(4, (16, 16)))
    return tmp_path


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_become_clips(folder: Path, suffix: str) -> None:
    path = folder / f"table.{suffix}"
    getattr(ROWS, f"to_{suffix}")(path, index=False)
    clips = read_table(path)
    assert [clip.id for clip in clips] == ["a.avi", "sub/b.avi", "c.avi"]
    assert [clip.study for clip in clips] == ["001", "001", "002"], "cells are text"
    assert [clip.patient for clip in clips] == ["7", "7", "NA"]
    assert [clip.view for clip in clips] == ["left", "right", None]
    assert clips[0].report == "mLAD 70%, NA." and not clips[0].stenoses_known
    assert clips[1].read(2, 16).frames.shape == (2, 16, 16, 3)


def test_the_view_need_not_be_given(folder: Path) -> None:
    ROWS.drop(columns="view").to_csv(folder / "t.csv", index=False)
    assert [clip.view for clip in read_table(folder / "t.csv")] == [None] * 3


def changed(row: int, column: str, value: str) -> pd.DataFrame:
    rows = ROWS.copy()
    rows.loc[row, column] = value
    return rows


def test_a_comma_without_quotes_is_found_whichever_row_has_it(folder: Path) -> None:
    heading = "video,report,study,patient\n"
    commas = ["a.avi,Stenosis of the mLAD, 70%.,s1,p1\n", "sub/b.avi,pRCA 50%.,s2,p2\n"]
    for number, rows in ((1, commas), (2, commas[::-1])):
        (folder / "t.csv").write_text(heading + "".join(rows))
        message = rf"t\.csv: (row {number} has 5 fields where the heading has 4|not a readable csv table)"
        with pytest.raises(DataError, match=message):
            read_table(folder / "t.csv")
    (folder / "t.csv").write_text(heading + 'a.avi,"Stenosis of the mLAD, 70%.",s1,p1,\n\n' + commas[1])
    assert read_table(folder / "t.csv")[0].report == "Stenosis of the mLAD, 70%.", (
        "a comma at the end is none"
    )


@pytest.mark.parametrize("spelt", ["./a.avi", "sub/../a.avi", "{folder}/a.avi"])
def test_one_film_spelt_twice_is_one_film(folder: Path, spelt: str) -> None:
    changed(2, "video", spelt.format(folder=folder)).to_csv(folder / "t.csv", index=False)
    with pytest.raises(DataError, match="row 3 is given twice: has the video of row 1"):
        read_table(folder / "t.csv")


def test_a_column_given_twice_is_refused(folder: Path) -> None:
    (folder / "t.csv").write_text("video,report,study,patient,report\na.avi,x,s1,p1,y\n")
    with pytest.raises(DataError, match=r"t\.csv: the column 'report' is given twice"):
        read_table(folder / "t.csv")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS.drop(columns="report"), "column 'report' is missing; expected video, .*found video, study"),
        (ROWS.iloc[:0], "the table has no row"),
        (changed(1, "report", "  "), r"row 2: the report is empty \(1 such"),
        (changed(2, "patient", ""), "row 3: the patient is empty"),
        (changed(1, "patient", "8"), r"study '001' has two patients \(7, 8\)"),
        (changed(2, "view", "front"), "row 3: view 'front'"),
        (changed(2, "video", "gone.avi"), r"row 3: no such video: .*gone\.avi"),
        (pd.concat([ROWS, ROWS.iloc[[1]]], ignore_index=True), "row 4 is given twice: the same as row 2"),
        (changed(2, "video", "a.avi"), "row 3 is given twice: has the video of row 1"),
    ],
)
def test_a_wrong_table_is_refused(folder: Path, rows: pd.DataFrame, message: str) -> None:
    rows.to_csv(folder / "t.csv", index=False)
    with pytest.raises(DataError, match=rf"t\.csv: {message}"):
        read_table(folder / "t.csv")


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("no parquet")
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.csv").write_bytes(b"video,report\n\xff\xfe,x\n")
    (tmp_path / "a.xlsx").write_text("x")
    for name, message in (
        ("a.parquet", "not a readable parquet table"),
        ("a.csv", "not a readable csv table"),
        ("b.csv", "not a readable csv table"),
        ("a.xlsx", r"suffix '\.xlsx'"),
        ("gone.csv", "no such file"),
    ):
        with pytest.raises(DataError, match=f"{name}: {message}"):
            read_table(tmp_path / name)


def test_rows_that_end_in_a_comma_keep_their_columns(folder: Path) -> None:
    lines = ROWS.to_csv(index=False).splitlines()
    (folder / "t.csv").write_text("\n".join([lines[0], *(line + "," for line in lines[1:])]))
    assert [clip.id for clip in read_table(folder / "t.csv")] == ["a.avi", "sub/b.avi", "c.avi"]


def test_rows_are_counted_in_a_part_of_a_table_too(folder: Path) -> None:
    changed(2, "report", "").iloc[1:].to_parquet(folder / "t.parquet")
    with pytest.raises(DataError, match="row 2: the report is empty"):
        read_table(folder / "t.parquet")
