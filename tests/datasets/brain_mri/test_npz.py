"""Preprocessed npz slices: names, labels, masks, clear errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtl.datasets.brain_mri.npz import NpzSlices
from mtl.errors import DataError

IMAGE = np.random.default_rng(0).uniform(0, 1, (30, 28))


def mask(pixels: int) -> np.ndarray:
    flat = np.zeros(IMAGE.size, np.int16)
    flat[:pixels] = 4
    return flat.reshape(IMAGE.shape)


def test_names_labels_and_masks(tmp_path: Path) -> None:
    np.savez(tmp_path / "BraTS20_001_slice_70.npz", image=IMAGE, mask=mask(10), cls=1)
    np.savez(tmp_path / "BraTS20_001_slice_71.npz", image=IMAGE[None], mask=mask(9)[..., None])
    np.savez(tmp_path / "single.npz", image=IMAGE, cls=np.array([1]), patient="anna")
    source = NpzSlices(tmp_path)
    rows = [(item.patient, item.slice, item.cls, item.has_mask, item.strong) for item in source.slices]
    assert rows == [
        ("BraTS20_001", 70, 1, True, False),
        ("BraTS20_001", 71, 0, True, False),
        ("anna", 0, 1, False, False),
    ]
    image, read = source.read(source.slices[1])
    assert image.shape == read.shape == (30, 28) and read.dtype == np.uint8 and read.sum() == 9
    assert source.read(source.slices[2])[1] is None
    assert source.problems == []


def test_the_mask_decides_the_label(tmp_path: Path) -> None:
    np.savez(tmp_path / "a_1.npz", image=IMAGE, mask=mask(3), cls=1)
    source = NpzSlices(tmp_path)
    assert source.slices[0].cls == 0 and source.slices[0].strong
    assert "cls is 1, but its mask has 3 pixels" in source.problems[0].message
    assert NpzSlices(tmp_path, min_tumor_pixels=3).problems == []


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": IMAGE, "cls": 0}, "expected the key image"),
        ({"image": IMAGE}, "mask or cls"),
        ({"image": np.zeros((4, 5, 6)), "cls": 0}, r"shape \(4, 5, 6\)"),
        ({"image": IMAGE, "mask": mask(3)[1:]}, r"mask has shape \(29, 28\)"),
        ({"image": np.where(IMAGE > 0.5, np.nan, IMAGE), "cls": 0}, "NaN"),
        ({"image": IMAGE, "cls": 2}, "cls must be 0 or 1"),
        ({"image": np.array([{"a": 1}], object), "cls": 0}, "plain arrays"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "bad_1.npz", **arrays)
    with pytest.raises(DataError, match=rf"bad_1\.npz.*{message}"):
        NpzSlices(tmp_path)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.npz file"):
        NpzSlices(tmp_path)
    (tmp_path / "a_1.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match=r"a_1\.npz.*cannot be read"):
        NpzSlices(tmp_path)
