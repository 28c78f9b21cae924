"""HDF5 layouts: plain, CREMI (padded, top ids), gala; streamed, and clear about what is wrong."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from mtl.datasets.em import UNKNOWN, read_cremi, read_gala, read_hdf5
from mtl.datasets.em.lazy_arrays import Hdf5Array
from mtl.errors import DataError

RESOLUTION = (40.0, 4.0, 4.0)


def write(path: Path, attributes: dict | None = None, /, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key.replace("__", "/"), data=array, chunks=True, compression="gzip")
        for key, values in (attributes or {}).items():
            file[key].attrs.update(values)
    return path


def write_cremi(path: Path, raw: np.ndarray, ids: np.ndarray, offset: tuple | None = None) -> Path:
    attributes = {"volumes/raw": {"resolution": RESOLUTION}, "volumes/labels/neuron_ids": {}}
    if offset is not None:
        attributes["volumes/labels/neuron_ids"]["offset"] = offset
    return write(path, attributes, volumes__raw=raw, volumes__labels__neuron_ids=ids)


def test_plain_files_stay_on_disk(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays()
    a, b = write(tmp_path / "image.h5", stack=image), write(tmp_path / "gt.h5", stack=labels)
    volume = read_hdf5(a, b, (10, 10, 10))
    assert isinstance(volume.image, Hdf5Array) and volume.name == "image" and volume.spacing == (10, 10, 10)
    box = (slice(2, 5), slice(3, 9), slice(0, 24))
    read_image, read_labels = volume.read(box)
    np.testing.assert_array_equal(np.round(read_image * 255), image[box])
    np.testing.assert_array_equal(read_labels, labels[box])
    again = pickle.loads(pickle.dumps(volume))
    np.testing.assert_array_equal(again.read(box)[1], labels[box])


def test_spacing_from_attributes_or_an_error(tmp_path: Path, make_arrays) -> None:
    image, _ = make_arrays()
    nm = write(tmp_path / "nm.h5", {"stack": {"resolution": (30, 6, 6)}}, stack=image)
    um = write(tmp_path / "um.h5", {"stack": {"element_size_um": (0.03, 0.006, 0.006)}}, stack=image)
    assert read_hdf5(nm).spacing == (30, 6, 6)
    assert read_hdf5(um).spacing == pytest.approx((30, 6, 6))
    assert read_hdf5(nm, spacing=(50, 4, 4)).spacing == (50, 4, 4)
    none = write(tmp_path / "none.h5", stack=image)
    with pytest.raises(
        DataError, match=r"none\.h5: data set 'stack': no voxel spacing; expected an attribute"
    ):
        read_hdf5(none)
    swapped = write(tmp_path / "swapped.h5", {"stack": {"resolution": (6, 6, 30)}}, stack=image)
    with pytest.raises(DataError, match=r"swapped\.h5.*wrong axis order"):
        read_hdf5(swapped)


def test_cremi_with_the_top_ids(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays(dtype="uint64")
    labels[0, 0, 0], labels[1] = 2**64 - 1, 2**64 - 3
    volume = read_cremi(write_cremi(tmp_path / "sample_A.hdf", image, labels), extra_unknown=[12])
    read = volume.read(volume.box)[1]
    assert volume.spacing == RESOLUTION and volume.name == "sample_A"
    assert (read[1] == UNKNOWN).all() and read[0, 0, 0] == UNKNOWN
    assert set(np.unique(read)) == {UNKNOWN, 0, 3, 5, 9}


def test_cremi_padded_files_are_cut_to_their_labels(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays((12, 20, 24))
    inner = labels[3:9, 5:15, 4:20]
    path = write_cremi(tmp_path / "padded.hdf", image, inner, offset=(3 * 40.0, 5 * 4.0, 4 * 4.0))
    volume = read_cremi(path)
    assert volume.shape == inner.shape
    read_image, read_labels = volume.read(volume.box)
    np.testing.assert_array_equal(np.round(read_image * 255), image[3:9, 5:15, 4:20])
    np.testing.assert_array_equal(read_labels, inner)
    outside = write_cremi(tmp_path / "outside.hdf", image, inner, offset=(10 * 40.0, 0, 0))
    with pytest.raises(DataError, match=r"outside\.hdf.*reaches outside"):
        read_cremi(outside)
    short = write_cremi(tmp_path / "short.hdf", image, inner, offset=(0.0, 0.0))
    with pytest.raises(DataError, match=r"short\.hdf.*expected three numbers .* as attribute offset"):
        read_cremi(short)
    flat = write_cremi(tmp_path / "flat.hdf", image, inner[0], offset=(0.0, 0.0, 0.0))
    with pytest.raises(DataError, match=r"flat\.hdf.*expected the same shape"):
        read_cremi(flat)


def test_cremi_test_files_have_no_labels(tmp_path: Path, make_arrays) -> None:
    image, _ = make_arrays()
    path = write(tmp_path / "test.hdf", {"volumes/raw": {"resolution": RESOLUTION}}, volumes__raw=image)
    assert read_cremi(path, need_labels=False).labels is None
    with pytest.raises(DataError, match=r"test\.hdf: expected a data set 'volumes/labels/neuron_ids'"):
        read_cremi(path)


def test_missing_keys_list_what_there_is(tmp_path: Path, make_arrays) -> None:
    image, _ = make_arrays()
    path = write(tmp_path / "a.h5", group__raw=image)
    with pytest.raises(
        DataError, match=r"a\.h5: expected a data set 'stack', which is not there; found group/raw"
    ):
        read_hdf5(path, spacing=(10, 10, 10))
    with pytest.raises(DataError, match="'group', which is a group"):
        read_hdf5(path, spacing=(10, 10, 10), dataset="group")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels.astype(np.float32), r"gt\.h5: data set 'stack' has dtype float32.*astype"),
        (lambda labels: labels.T, r"gt\.h5.*shape \(24, 20, 12\).*image\.h5.*wrong axis order"),
        (lambda labels: labels[1:], r"gt\.h5.*shape \(11, 20, 24\).*image\.h5.*expected the same shape"),
        (lambda labels: labels[0], r"gt\.h5.*shape \(20, 24\)"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, make_arrays, change, message: str) -> None:
    image, labels = make_arrays()
    a, b = write(tmp_path / "image.h5", stack=image), write(tmp_path / "gt.h5", stack=change(labels))
    with pytest.raises(DataError, match=message):
        read_hdf5(a, b, (10, 10, 10))


def test_damaged_files(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 40, 40)).astype(np.uint8)
    whole = write(tmp_path / "whole.h5", stack=image)
    data = whole.read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.h5").write_text("no HDF5")
    for name in ("cut.h5", "text.h5"):
        with pytest.raises(DataError, match=rf"{name}: expected an HDF5 file, but it cannot be opened"):
            read_hdf5(tmp_path / name, spacing=(10, 10, 10))
    with pytest.raises(DataError, match=r"nowhere\.h5: no such file"):
        read_hdf5(tmp_path / "nowhere.h5", spacing=(10, 10, 10))


def test_a_damaged_block_is_named_when_it_is_read(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 40, 40)).astype(np.uint8)
    path = write(tmp_path / "block.h5", stack=image)
    with h5py.File(path) as file:
        chunk = file["stack"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + 40] = bytes(40)
    path.write_bytes(data)
    volume = read_hdf5(path, spacing=(10, 10, 10))
    with pytest.raises(DataError, match=r"block\.h5: data set 'stack': expected readable blocks"):
        volume.read(volume.box)


def test_supervoxels_are_not_taken_for_instances(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays()
    a = write(tmp_path / "image.h5", stack=image)
    b = write(tmp_path / "groundtruth.h5", stack=labels, transforms=np.zeros((3, 2), int))
    with pytest.raises(DataError, match=r"groundtruth\.h5: holds supervoxels.*read_fib25"):
        read_hdf5(a, b, (10, 10, 10))


@pytest.mark.real_data
def test_the_real_gala_volume(data_root: Path) -> None:
    """The traps of its README: LZF, the key ``stack``, stretched contrast, final ids, thin 0 boundaries."""
    volume = read_gala(data_root / "gala_fibsem")
    image, labels = volume.read(volume.box)
    assert volume.shape == (50, 100, 200) and volume.spacing == (10, 10, 10) and not volume.planar
    assert (image.min(), image.max()) == (0.0, 1.0), "contrast-stretched to 0-255"
    assert len(np.unique(labels[labels > 0])) == 87, "final ids, not supervoxels"
    assert round(100 * float((labels == 0).mean()), 1) == 6.7 and labels.min() == 0
    inside, border = image[labels > 0].mean(), image[labels == 0].mean()
    assert border < inside - 0.1, "0 is the dark membrane"
