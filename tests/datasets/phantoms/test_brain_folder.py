"""Made folders are read back as what they were made from, and their planted faults are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtl.datasets.brain_mri import check_folder, open_sources
from mtl.datasets.phantoms.brain_folder import write_example_folder, write_kaggle_folder, write_npz_folder
from mtl.datasets.phantoms.brain_mri import SCANNERS, BrainPhantom


@pytest.fixture(scope="module")
def phantom() -> BrainPhantom:
    return BrainPhantom(12, 2, size=48, seed=1, masked_sources=tuple(SCANNERS))


def test_arrays_hold_the_very_pixels_and_patients(phantom, tmp_path: Path) -> None:
    (source,) = open_sources(write_npz_folder(tmp_path, phantom, "scanner_a"))
    drawn = [item for item in phantom.slices if item.source == "scanner_a"]
    assert len(source.slices) == len(drawn) and {item.strong for item in source.slices} == {True}
    assert len({item.patient for item in source.slices}) == len({item.patient for item in drawn})
    for read, item in zip(source.slices, drawn, strict=True):
        assert (read.cls, read.slice) == (item.cls, item.slice)
        for found, expected in zip(source.read(read), phantom.read(item), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("masks", [True, False])
def test_pictures_hold_classes_and_masks(phantom, tmp_path: Path, masks: bool) -> None:
    (source,) = open_sources(write_kaggle_folder(tmp_path, phantom, masks=masks))
    drawn = {f"{'Y' if item.cls else 'N'}{n:03d}.png": item for n, item in enumerate(phantom.slices)}
    assert len(source.slices) == len(drawn)
    for read in source.slices:
        item = drawn[read.id.split("/")[-1]]
        image, mask = source.read(read)
        assert read.cls == item.cls and np.corrcoef(image.ravel(), phantom.read(item)[0].ravel())[0, 1] > 0.99
        if masks:
            np.testing.assert_array_equal(mask, phantom.true_mask(item))
        else:
            assert (mask is None) == bool(read.cls)


def test_planted_faults_are_found_one_after_the_other(phantom, tmp_path: Path) -> None:
    planted = write_example_folder(tmp_path / "made", phantom)
    report = check_folder(tmp_path / "made")
    found = report.findings_table()
    assert not report.ok and found["severity"].tolist() == ["error"]  # named once, by its file
    assert (
        found.loc[0, "where"].endswith(planted.truncated.name) and "cannot be decoded" in found.loc[0, "what"]
    )
    planted.truncated.unlink()
    report = check_folder(tmp_path / "made")
    found = report.findings_table().set_index("severity")
    assert report.ok and "note" in found.index
    assert found.loc["warning", "where"] == f"masks/{planted.misfit.name}"
    assert "48x24" in found.loc["warning", "what"] and "counts as unknown" in found.loc["warning", "what"]
    assert not found["where"].str.contains(str(tmp_path)).any()
    facts = report.facts_table()
    assert facts[facts["what"] == "slices"]["data set"].tolist() == ["kaggle", "npz"]


def test_an_older_folder_of_that_name_goes(phantom, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "left.npz").write_bytes(b"from before")
    write_example_folder(tmp_path / "made", phantom)
    assert not (tmp_path / "made" / "left.npz").exists()
