"""LGG kaggle_3m: numeric order, the label rule, patients; and the README's facts on the real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtl.datasets.brain_mri.lgg import LggKaggle3m, institution, mask_path, patient_of, read_channels
from mtl.errors import DataError, ParameterError


def test_order_labels_and_patients(lgg_folder: Path) -> None:
    source = LggKaggle3m(lgg_folder)
    assert [(item.patient, item.slice, item.cls) for item in source.slices] == [
        ("TCGA_CS_0001", 1, 0), ("TCGA_CS_0001", 2, 1), ("TCGA_CS_0001", 10, 1),
        ("TCGA_HT_0002", 3, 0), ("TCGA_HT_0002", 9, 0),
    ]  # fmt: skip
    assert all(item.has_mask and item.strong and item.group == item.patient for item in source.slices)
    assert source.slices[1].id == "lgg/TCGA_CS_0001_20000101/TCGA_CS_0001_20000101_2.tif"


def test_the_rule_counts_native_pixels(lgg_folder: Path) -> None:
    assert LggKaggle3m(lgg_folder, min_tumor_pixels=9).slices[-1].cls == 1, "its mask has nine pixels"
    assert [item.cls for item in LggKaggle3m(lgg_folder, min_tumor_pixels=40).slices] == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_channel_and_mask(lgg_folder: Path, channel: int) -> None:
    source = LggKaggle3m(lgg_folder / "kaggle_3m", channel=channel)
    item = source.slices[2]
    image, mask = source.read(item)
    np.testing.assert_array_equal(image, np.asarray(Image.open(source.path_of(item)))[..., channel])
    assert image.dtype == np.float32 and mask.dtype == np.uint8
    assert mask.sum() == 64 and set(np.unique(mask)) == {0, 1}


def test_parts_of_a_tcga_name() -> None:
    assert patient_of("TCGA_HT_7694_19950404") == "TCGA_HT_7694"
    assert institution("TCGA_HT_7694") == "HT"


def test_errors_name_the_file(lgg_folder: Path, tmp_path: Path) -> None:
    source = LggKaggle3m(lgg_folder)
    path = source.path_of(source.slices[0])
    Image.fromarray(np.zeros((90, 80), np.uint8)).save(path)
    with pytest.raises(DataError, match=rf"{path.name}: expected 3 channels"):
        source.read(source.slices[0])
    Image.fromarray(np.zeros((80, 80), np.uint8)).save(mask_path(source.path_of(source.slices[1])))
    with pytest.raises(DataError, match=r"_2_mask\.tif: shape \(80, 80\)"):
        source.read(source.slices[1])
    mask_path(path).unlink()
    with pytest.raises(DataError, match=r"_1_mask\.tif: no such file"):
        LggKaggle3m(lgg_folder)
    path.rename(path.with_name("strange.tif"))
    with pytest.raises(DataError, match=r"strange\.tif: expected a name"):
        LggKaggle3m(lgg_folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no slice found"):
        LggKaggle3m(tmp_path / "empty")
    with pytest.raises(DataError, match="gone: no such folder"):
        LggKaggle3m(tmp_path / "gone")
    with pytest.raises(ParameterError, match="channel=3"):
        LggKaggle3m(lgg_folder, channel=3)


@pytest.fixture(scope="module")
def real(data_root: Path) -> LggKaggle3m:
    return LggKaggle3m(data_root / "lgg_kaggle_3m")


@pytest.mark.real_data
def test_real_counts_are_the_readmes(real: LggKaggle3m) -> None:
    assert len(real.slices) == 374
    assert len({item.patient for item in real.slices}) == 64
    assert 0.6 < np.mean([item.cls for item in real.slices]) < 0.7


@pytest.mark.real_data
def test_the_complete_real_case_is_in_numeric_order(real: LggKaggle3m) -> None:
    numbers = [item.slice for item in real.slices if item.patient == "TCGA_HT_7694"]
    assert numbers == list(range(1, 22))


@pytest.mark.real_data
def test_a_real_case_without_other_sequences(real: LggKaggle3m) -> None:
    for item in real.slices:
        if item.patient == "TCGA_HT_8105":
            channels = read_channels(real.path_of(item))
            assert (channels == channels[..., 1:2]).all()
    image, mask = real.read(real.slices[0])
    assert image.shape == mask.shape == (256, 256)
