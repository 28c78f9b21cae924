"""``mtl data check``: layouts are recognised, and every planted problem is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtl.datasets.brain_mri.folder_check import FolderReport, check_folder
from mtl.datasets.brain_mri.layouts import find_layouts, open_sources
from mtl.errors import DataError


def said(report: FolderReport, severity: str, where: str, what: str) -> bool:
    return any(
        finding.severity == severity and where in finding.where and what in finding.message
        for finding in report.findings
    )


def test_several_data_sets_below_one_root(tmp_path: Path, kaggle_folder: Path, lgg_folder: Path) -> None:
    (tmp_path / "slices").mkdir()
    image = np.random.default_rng(0).uniform(0, 1, (20, 20))
    np.savez(tmp_path / "slices" / "a_1.npz", image=image, mask=np.zeros((20, 20)))
    assert [(layout.kind, layout.name) for layout in find_layouts(tmp_path)] == [
        ("kaggle", "kaggle"), ("lgg", "lgg"), ("npz", "npz"),
    ]  # fmt: skip
    assert [len(source.slices) for source in open_sources(tmp_path)] == [5, 5, 1]
    report = check_folder(tmp_path)
    assert report.ok
    text = report.to_text()
    assert "5 (3 with tumour, 2 without)" in text and "2 of 3; unknown for 1" in text
    assert "1 CS, 1 HT" in text and "1 of 20x20" in text
    assert text.endswith("0 errors, 1 warning, 2 notes")


def test_two_of_a_kind_get_names_of_their_own(tmp_path: Path, lgg_folder: Path) -> None:
    import shutil

    shutil.copytree(lgg_folder, tmp_path / "second")
    names = [source.name for source in open_sources(tmp_path)]
    assert names == ["lgg_1", "lgg_2"]


def test_problems_of_a_kaggle_folder(kaggle_folder: Path, make_head) -> None:
    pictures = kaggle_folder / "brain_tumor_dataset"
    Image.fromarray(make_head(seed=8)).save(pictures / "yes" / "Y5.jpg", format="PNG")
    (pictures / "no" / "copy.jpeg").write_bytes((pictures / "no" / "No2.jpeg").read_bytes())
    report = check_folder(kaggle_folder)
    assert report.ok
    assert said(report, "warning", "Y5.jpg", "is PNG")
    assert said(report, "warning", "Y92.jpg", "Y92.jpg, Y92.png")
    assert said(report, "note", "No2.jpeg", "exact copies") or said(
        report, "note", "copy.jpeg", "exact copies"
    )
    assert said(report, "note", "", "groups were computed")
    (pictures / "yes" / "both.jpg").write_bytes((pictures / "no" / "1 no.JPG").read_bytes())
    assert said(check_folder(kaggle_folder), "error", "1 no.JPG", "both classes")


def test_damage_is_an_error_with_the_files_name(kaggle_folder: Path) -> None:
    path = kaggle_folder / "brain_tumor_dataset" / "yes" / "Y1.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    report = check_folder(kaggle_folder)
    assert not report.ok
    assert said(report, "error", "Y1.jpg", "cannot be decoded")
    assert "error    yes/Y1.jpg" in report.to_text()


def test_a_blank_picture_and_an_empty_class(kaggle_folder: Path) -> None:
    no = kaggle_folder / "brain_tumor_dataset" / "no"
    Image.fromarray(np.full((50, 50), 9, np.uint8)).save(no / "1 no.JPG")
    assert said(check_folder(kaggle_folder), "error", "1 no.JPG", "no brain")
    for path in no.iterdir():
        path.unlink()
    assert said(check_folder(kaggle_folder), "error", "brain_tumor_dataset", "holds no picture")


def test_a_tiny_mask_on_a_yes_picture(kaggle_folder: Path, make_spot) -> None:
    Image.fromarray(make_spot(size=0)).save(kaggle_folder / "masks" / "Y92.png")
    assert said(check_folder(kaggle_folder), "error", "Y92.png", "labelled 1, its mask has 0 pixels")


def test_problems_of_lgg(lgg_folder: Path) -> None:
    case = lgg_folder / "kaggle_3m" / "TCGA_HT_0002_20000101"
    for path in case.glob("*_[0-9].tif"):
        channels = np.asarray(Image.open(path))
        Image.fromarray(np.ascontiguousarray(channels[..., [1, 1, 2]])).save(path)
    report = check_folder(lgg_folder)
    assert said(report, "warning", case.name, "pre-contrast missing")
    assert said(report, "note", "kaggle_3m", "not contiguous in 2 of 2")
    next(case.glob("*_3_mask.tif")).unlink()
    assert said(check_folder(lgg_folder), "error", "lgg", "_3_mask.tif: no such file")


def test_problems_of_npz_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "a_1.npz", image=np.full((9, 9), np.nan), cls=1)
    np.savez(tmp_path / "a_2.npz", image=np.zeros((2, 9, 9)), cls=1)
    report = check_folder(tmp_path)
    assert said(report, "error", "a_1.npz", "NaN") and said(report, "error", "a_2.npz", "(2, 9, 9)")


def test_nothing_known_lists_what_would_be(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"(?s)no known layout.*kaggle:.*lgg:.*brats:.*npz:"):
        check_folder(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        check_folder(tmp_path / "gone")


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_folders(data_root: Path) -> None:
    report = check_folder(data_root)
    assert report.ok
    assert {part.layout.kind for part in report.parts} >= {"kaggle", "lgg"}
    assert said(report, "warning", "Y163.jpg", "unknown")
    assert said(report, "warning", "TCGA_HT_8105", "pre-contrast and post-contrast missing")
    assert said(report, "warning", "No17.jpg", "is PNG")
    assert "185 (113 with tumour, 72 without)" in report.to_text()
