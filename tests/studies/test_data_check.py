"""``mtl data check`` of tiles and films: counts, and faults by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mtl.errors import DataError
from mtl.studies.data_check import check_data


def tiles(folder: Path) -> Path:
    """Two tiles: three nuclei, and none."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    for name, n in (("a", 3), ("b", 0)):
        labels = np.zeros((40, 48), np.uint16)
        for number in range(n):
            labels[4:12, 14 * number : 14 * number + 8] = number + 1
        Image.fromarray(noise).save(folder / "images" / f"{name}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{name}.png")
    return folder


def films(folder: Path) -> Path:
    """Two films of one frame."""
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.full((20, 20), 90, np.uint8)).save(folder / f"{name}.png")
    rows = {"video": ["a.png", "b.png"], "report": ["mLAD 70%, calcified.", "No stenosis."]}
    pd.DataFrame(rows | {"study": ["1", "2"], "patient": ["1", "2"]}).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def test_tiles_are_counted_and_bare_ones_named(tmp_path: Path) -> None:
    report = check_data(tiles(tmp_path / "nuclei"))
    assert report.ok
    facts = dict(report.parts[0].facts)
    assert facts["tiles"] == "2" and facts["nuclei"] == "3" and facts["sides"] == "40 to 48 pixels"
    [note] = report.findings
    assert (
        note.severity == "note"
        and "1 of the tiles without a nucleus" in note.message
        and "/b" in note.message
    )


def test_tiles_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    folder = tiles(tmp_path / "nuclei")
    Image.fromarray(np.zeros((10, 10), np.uint16)).save(folder / "labels" / "b.png")
    report = check_data(folder)
    assert not report.ok and "b.png" in report.findings[0].message


def test_films_are_counted_and_read(tmp_path: Path) -> None:
    table = films(tmp_path / "data")
    report = check_data(table)
    assert report.ok and dict(report.parts[0].facts)["films"] == "2"
    film = tmp_path / "data" / "b.png"
    film.write_bytes(film.read_bytes()[:45])
    [finding] = check_data(table).findings
    assert finding.severity == "error" and "b.png" in finding.message
    table.write_text(table.read_text().replace("report", "text"))
    [finding] = check_data(table).findings
    assert finding.severity == "error" and "column 'report' is missing" in finding.message


def test_what_is_nothing_of_all_is_refused_with_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"(?s)no known layout.*npz:.*tiles: DSB 2018.*films: a table"):
        check_data(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        check_data(tmp_path / "gone")


@pytest.mark.real_data
def test_the_real_sets_are_recognised(data_root: Path) -> None:
    nuclei = dict(check_data(data_root / "dsb2018_stage1_subset").parts[0].facts)
    assert nuclei["tiles"] == "112" and nuclei["nuclei"] == "4,068", "as its README has it"
    assert dict(check_data(data_root / "arcade_angiography").parts[0].facts)["films"] == "19"
