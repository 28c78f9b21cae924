"""BraTS and Task01 volumes: slicing, orientation, skipping, clear errors."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from mtl.datasets.brain_mri.brats import BratsVolumes
from mtl.errors import DataError, ParameterError

SHAPE = (20, 24, 10)


def volume(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A block of brain in slices 2..7 (x right, y front, z up), a tumour of 4x3 pixels in slices 4..5."""
    image = np.zeros(SHAPE, np.float32)
    image[4:16, 3:21, 2:8] = np.random.default_rng(seed).uniform(100, 900, (12, 18, 6))
    labels = np.zeros(SHAPE, np.uint8)
    labels[6:10, 5:8, 4:6] = 4
    labels[6:8, 5:8, 4] = 1
    return image, labels


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def brats(
    root: Path, patient: str, suffix: str, affine: np.ndarray | None = None, flip: bool = False
) -> None:
    for name, array in zip(("flair", "seg"), volume(), strict=True):
        stored = array[::-1, ::-1].transpose(1, 0, 2) if flip else array
        write(root / patient / f"{patient}_{name}{suffix}", np.ascontiguousarray(stored), affine)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slices_labels_and_pixels(tmp_path: Path, suffix: str) -> None:
    brats(tmp_path, "BraTS20_Training_001", suffix)
    source = BratsVolumes(tmp_path, step=1)
    assert [item.slice for item in source.slices] == [2, 3, 4, 5, 6, 7], "slices without brain are skipped"
    assert [item.cls for item in source.slices] == [0, 0, 1, 1, 0, 0]
    assert all(
        item.strong and item.has_mask and item.patient == "BraTS20_Training_001" for item in source.slices
    )
    image, labels = volume()
    read, mask = source.read(source.slices[2])
    np.testing.assert_array_equal(read, np.rot90(image[:, :, 4]))
    np.testing.assert_array_equal(mask, np.rot90(labels[:, :, 4] > 0))
    assert read.dtype == np.float32 and mask.dtype == np.uint8 and mask.sum() == 12


def test_front_is_up_whatever_the_axis_order(tmp_path: Path) -> None:
    brats(tmp_path / "plain", "P1", ".nii")
    turned = np.array([[0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    brats(tmp_path / "turned", "P1", ".nii.gz", affine=turned, flip=True)
    plain, other = BratsVolumes(tmp_path / "plain", step=1), BratsVolumes(tmp_path / "turned", step=1)
    for one, two in zip(plain.slices, other.slices, strict=True):
        np.testing.assert_array_equal(plain.read(one)[0], other.read(two)[0])
        np.testing.assert_array_equal(plain.read(one)[1], other.read(two)[1])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_other_axes_and_steps(tmp_path: Path, axis: int) -> None:
    brats(tmp_path, "P1", ".nii.gz")
    source = BratsVolumes(tmp_path, axis=axis, step=3, min_brain=0.2)
    image = volume()[0]
    expected = [k for k in range(0, SHAPE[axis], 3) if (np.take(image, k, axis) > 0).mean() >= 0.2]
    assert [item.slice for item in source.slices] == expected
    np.testing.assert_array_equal(
        source.read(source.slices[0])[0], np.rot90(np.take(image, expected[0], axis))
    )


def test_decathlon_takes_flair_of_four_channels(tmp_path: Path) -> None:
    image, labels = volume()
    channels = np.stack([image, image + 1, image + 2, image + 3], axis=-1)
    write(tmp_path / "imagesTr" / "BRATS_001.nii.gz", channels)
    write(tmp_path / "labelsTr" / "BRATS_001.nii.gz", labels)
    source = BratsVolumes(tmp_path, step=1)
    assert source.slices[0].patient == "BRATS_001" and len(source.slices) == 6
    np.testing.assert_array_equal(source.read(source.slices[0])[0], np.rot90(image[:, :, 2]))
    post = BratsVolumes(tmp_path, modality="t1ce", step=1)
    np.testing.assert_array_equal(
        post.read(post.slices[0])[0], np.rot90(image[:, :, post.slices[0].slice] + 2)
    )
    with pytest.raises(ParameterError, match="modality='pet'"):
        BratsVolumes(tmp_path, modality="pet")


def test_more_volumes_than_the_cache_holds(tmp_path: Path) -> None:
    for number in range(6):
        image, labels = volume(number)
        write(tmp_path / f"P{number}" / f"P{number}_flair.nii.gz", image)
        write(tmp_path / f"P{number}" / f"P{number}_seg.nii.gz", labels)
    source = BratsVolumes(tmp_path, step=4)
    for item in (*source.slices, *reversed(source.slices)):
        image = volume(int(item.patient[1]))[0]
        np.testing.assert_array_equal(source.read(item)[0], np.rot90(image[:, :, item.slice]))


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: no such folder"):
        BratsVolumes(tmp_path / "gone")
    with pytest.raises(DataError, match="no volume found"):
        BratsVolumes(tmp_path)
    brats(tmp_path, "P1", ".nii.gz")
    image, labels = volume()
    flair, seg = (tmp_path / "P1" / f"P1_{name}.nii.gz" for name in ("flair", "seg"))
    write(seg, labels[:-1])
    with pytest.raises(DataError, match=r"P1_seg\.nii\.gz: shape \(19, 24, 10\)"):
        BratsVolumes(tmp_path)
    seg.unlink()
    with pytest.raises(DataError, match=r"P1_seg\.nii\.gz: no such file"):
        BratsVolumes(tmp_path)
    write(seg, labels)
    image[8, 8, 4] = np.nan
    write(flair, image)
    with pytest.raises(DataError, match=r"P1_flair\.nii\.gz: slice 4 has NaN"):
        BratsVolumes(tmp_path)
    flair.write_bytes(flair.read_bytes()[:300])
    with pytest.raises(DataError, match=r"P1_flair\.nii\.gz"):
        BratsVolumes(tmp_path)
    write(flair, np.stack([image, image], -1))
    with pytest.raises(DataError, match="expected 3 dimensions"):
        BratsVolumes(tmp_path)
    with pytest.raises(ParameterError, match="step=0"):
        BratsVolumes(tmp_path, step=0)
