"""The FIB-25 sample: supervoxels become bodies; the README's counts on the real files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from mtl.datasets.em import UNKNOWN, check_foreground, read_fib25, split_components
from mtl.errors import DataError

TABLE = np.array([[7, 900], [3, 135_717], [0, 0], [4, 900], [9, 12]])


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """Four planes, supervoxels 0, 3, 4, 7, 9; 4 and 7 are one body."""
    folder = tmp_path / "training_sample2"
    (folder / "grayscale_maps").mkdir(parents=True)
    for number in range(4):
        plane = np.full((6, 8), 50 + number, np.uint8)
        Image.fromarray(plane).save(folder / "grayscale_maps" / f"iso.{2598 + number:04d}.png")
    stack = np.full((4, 6, 8), 3, np.int32)
    stack[:, 3:, :4], stack[:, 3:, 4:], stack[2:, :3] = 4, 7, 9
    stack[:, 0, 0] = 0
    with h5py.File(folder / "groundtruth.h5", "w") as file:
        file["stack"], file["transforms"] = stack, TABLE
    return folder


def change(folder: Path, key: str, value: np.ndarray) -> None:
    with h5py.File(folder / "groundtruth.h5", "a") as file:
        del file[key]
        file[key] = value


def test_supervoxels_become_bodies(sample: Path) -> None:
    for folder in (sample, sample.parent):
        volume = read_fib25(folder)
        image, labels = volume.read(volume.box)
        assert volume.spacing == (10, 10, 10) and volume.shape == (4, 6, 8)
        assert np.round(image[:, 1, 1] * 255).tolist() == [50, 51, 52, 53], "planes by number"
        assert (labels[:, 3:] == 900).all(), "two supervoxels, one body"
        assert set(np.unique(labels)) == {UNKNOWN, 12, 900, 135_717}
        assert (labels[:, 0, 0] == UNKNOWN).all(), "body 0 is unknown"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("transforms", TABLE[:-1], r"supervoxel 9, which .*'transforms' lacks"),
        ("transforms", TABLE.T, r"'transforms' has shape \(2, 5\); expected n rows"),
        ("transforms", np.vstack([TABLE, [[3, 5]]]), "lists supervoxel 3 twice"),
        ("transforms", TABLE[:0], r"'transforms' has shape \(0, 2\); expected n rows"),
        ("transforms", TABLE + 0.5, "'transforms' has dtype float64; expected integer ids"),
        ("stack", np.full((3, 6, 8), 3), r"'stack' has shape \(3, 6, 8\), .*grayscale_maps \(4, 6, 8\)"),
        ("stack", np.full((8, 6, 4), 3), "wrong axis order"),
        ("stack", np.full((4, 6, 8), 3.0), "'stack' has dtype float64; expected integer"),
    ],
)
def test_errors_name_file_and_key(sample: Path, key: str, value: np.ndarray, message: str) -> None:
    change(sample, key, value)
    with pytest.raises(DataError, match=rf"groundtruth\.h5: data set .*{message}"):
        read_fib25(sample)


def test_missing_parts_are_named(sample: Path) -> None:
    with h5py.File(sample / "groundtruth.h5", "a") as file:
        del file["transforms"]
    with pytest.raises(DataError, match=r"expected a data set 'transforms', which is not there; found stack"):
        read_fib25(sample)
    (sample / "groundtruth.h5").unlink()
    with pytest.raises(DataError, match=r"groundtruth\.h5: no such file"):
        read_fib25(sample)


@pytest.mark.real_data
def test_the_real_sample(data_root: Path) -> None:
    """The traps of its README: transforms, sparse ids, crumbs, no membranes, 0 as unknown, plane numbers."""
    volume = read_fib25(data_root / "fib25_neuroproof_sample")
    image, labels = volume.read(volume.box)
    ids, counts = np.unique(labels, return_counts=True)
    assert volume.shape == (136, 250, 250) and volume.spacing == (10, 10, 10)
    assert len(ids) == 328, "bodies, the unknown one (id 0) among them, not 11,379 supervoxels"
    assert (counts >= 500).sum() == 137
    assert ids.max() == 135_717, "sparse ids"
    assert ids[0] == UNKNOWN and counts[0] == 136 and 0 not in ids, "no membrane label; body 0 is unknown"
    assert image.min() > 0.1 and image.max() < 0.9, "8-bit values as they are"
    check_foreground(volume)


@pytest.mark.real_data
def test_real_bodies_fall_into_parts(data_root: Path) -> None:
    volume = read_fib25(data_root / "fib25_neuroproof_sample")
    labels = volume.read_labels(volume.box)
    assert split_components(labels).max() > len(np.unique(labels)), "some bodies pass through more than once"
