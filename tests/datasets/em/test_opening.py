"""One door for every layout, and what it says about what it does not know."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from mtl.datasets.em import open_volume
from mtl.errors import DataError, ParameterError


@pytest.fixture
def arrays(make_arrays) -> tuple[np.ndarray, np.ndarray]:
    return make_arrays()


def write_h5(path: Path, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key.replace("__", "/")] = array
    return path


def test_every_layout_is_recognised(tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = arrays
    for name in ("gala", "isbi", "snemi"):
        (tmp_path / name).mkdir()
    write_h5(tmp_path / "gala" / "train-image.h5", stack=image)
    write_h5(tmp_path / "gala" / "train-gt.lzf.h5", stack=labels)
    tifffile.imwrite(tmp_path / "isbi" / "train-volume.tif", image)
    tifffile.imwrite(tmp_path / "isbi" / "train-labels.tif", np.where(labels > 0, 255, 0).astype(np.uint8))
    tifffile.imwrite(tmp_path / "snemi" / "train-input.tif", image)
    tifffile.imwrite(tmp_path / "snemi" / "train-labels.tif", labels)
    cremi = write_h5(tmp_path / "a.hdf", volumes__raw=image, volumes__labels__neuron_ids=labels)
    with h5py.File(cremi, "a") as file:
        file["volumes/raw"].attrs["resolution"] = (40, 4, 4)
    root = zarr.create_group(str(tmp_path / "c.zarr"), zarr_format=2)
    root.create_array("volumes/raw", data=image, chunks=(4, 8, 8)).attrs["resolution"] = [40, 4, 4]
    root.create_array("volumes/labels/neuron_ids", data=labels, chunks=(4, 8, 8))
    found = {name: open_volume(tmp_path / name) for name in ("gala", "isbi", "snemi", "a.hdf", "c.zarr")}
    assert {name: (volume.spacing, volume.planar) for name, volume in found.items()} == {
        "gala": ((10, 10, 10), False),
        "isbi": ((50, 4, 4), True),
        "snemi": ((30, 6, 6), False),
        "a.hdf": ((40, 4, 4), False),
        "c.zarr": ((40, 4, 4), False),
    }
    for name in ("gala", "snemi", "a.hdf", "c.zarr"):
        np.testing.assert_array_equal(found[name].read_labels(found[name].box), labels)
    named = open_volume(tmp_path / "snemi", spacing=(40, 4, 4), name="mine")
    assert (named.name, named.spacing) == ("mine", (40, 4, 4))
    with pytest.raises(DataError, match="wrong axis order"):
        open_volume(tmp_path / "gala", spacing=(4, 4, 40))


def test_plain_files_need_spacing(tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = arrays
    a, b = write_h5(tmp_path / "a.h5", raw=image), write_h5(tmp_path / "b.h5", raw=labels)
    tifffile.imwrite(tmp_path / "a.tif", image)
    tifffile.imwrite(tmp_path / "b.tif", labels)
    pair = tmp_path / "a.tif", tmp_path / "b.tif"
    for image_path, labels_path, key in ((a, b, {"dataset": "raw"}), (*pair, {})):
        with pytest.raises(DataError, match=rf"{image_path.name}.*no voxel spacing"):
            open_volume(image_path, labels=labels_path, **key)
        volume = open_volume(image_path, (30, 6, 6), labels_path, **key)
        np.testing.assert_array_equal(volume.read_labels(volume.box), labels)


def test_keys_levels_and_grey_values(tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = arrays
    a, b = write_h5(tmp_path / "a.h5", raw=image), write_h5(tmp_path / "b.h5", ids=labels)
    options = {"labels": b, "dataset": "raw", "labels_dataset": "ids", "intensity_range": (50.0, 100.0)}
    volume = open_volume(a, (30, 6, 6), **options)
    found, ids = volume.read(volume.box)
    np.testing.assert_array_equal(ids, labels)
    np.testing.assert_allclose(found, np.clip((image.astype(float) - 50) / 50, 0, 1), atol=1e-6)
    with pytest.raises(DataError, match=r"b\.h5: expected a data set 'raw', which is not there; found ids"):
        open_volume(a, (30, 6, 6), **options | {"labels_dataset": None})
    with pytest.raises(DataError, match="low below high"):
        open_volume(a, (30, 6, 6), **options | {"intensity_range": (9.0, 9.0)})


@pytest.mark.parametrize(
    ("layout", "given", "called"),
    [
        ("a.h5", {"level": 1}, "OME-NGFF level 1"),
        ("cremi.hdf", {"dataset": "raw"}, "HDF5 key 'raw'"),
        ("c.zarr", {"labels_dataset": "ids"}, "HDF5 key of labels 'ids'"),
        ("a.tif", {"level": 2}, "OME-NGFF level 2"),
        ("gala", {"dataset": "raw"}, "HDF5 key 'raw'"),
    ],
)
def test_keys_that_a_layout_has_no_use_for_are_refused(tmp_path: Path, layout: str, given, called) -> None:
    write_h5(tmp_path / "a.h5", stack=np.zeros((4, 8, 8), np.uint8))
    write_h5(tmp_path / "cremi.hdf", volumes__raw=np.zeros((4, 8, 8), np.uint8))
    zarr.create_group(str(tmp_path / "c.zarr"))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 8, 8), np.uint8))
    (tmp_path / "gala").mkdir()
    with pytest.raises(ParameterError, match=rf"{layout}: the {called} has no meaning in this layout"):
        open_volume(tmp_path / layout, (10, 10, 10), **given)


def test_folders_of_planes(tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = arrays
    for kind, stack in (("image", image), ("label", np.where(labels > 0, 255, 0).astype(np.uint8))):
        (tmp_path / kind).mkdir()
        for number, plane in enumerate(stack):
            Image.fromarray(plane).save(tmp_path / kind / f"{number}.png")
    volume = open_volume(tmp_path / "image", (50, 4, 4), tmp_path / "label")
    assert volume.planar and volume.shape == image.shape
    np.testing.assert_array_equal(volume.read_labels(volume.box) > 0, labels > 0)


def test_labels_and_foreground_are_needed_unless_told(
    tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    image, labels = arrays
    a, b = write_h5(tmp_path / "a.h5", stack=image), write_h5(tmp_path / "b.h5", stack=0 * labels)
    with pytest.raises(DataError, match="'a' has no labels"):
        open_volume(a, (10, 10, 10))
    with pytest.raises(DataError, match="'a': labels hold no known foreground"):
        open_volume(a, (10, 10, 10), b)
    assert open_volume(a, (10, 10, 10), need_foreground=False).labels is None


def test_unknown_paths_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such file or folder; expected .*FIB-25.*Zarr"):
        open_volume(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=r"no known layout \(it holds notes\.txt\); expected .*CREMI"):
        open_volume(tmp_path)
    with pytest.raises(DataError, match=r"notes\.txt: unknown kind of file; expected"):
        open_volume(tmp_path / "notes.txt")
    cremi = write_h5(tmp_path / "a.hdf", volumes__raw=np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(ParameterError, match=r"labels=ids\.h5: .*a\.hdf is a CREMI file"):
        open_volume(cremi, labels="ids.h5")


@pytest.mark.real_data
def test_the_real_sets_open_by_their_folder(data_root: Path) -> None:
    names = {"fib25_neuroproof_sample": "fib25", "gala_fibsem": "gala", "isbi2012_em": "isbi2012"}
    assert {folder: open_volume(data_root / folder).name for folder in names} == names


def test_test_parts_and_folders_of_planes_need_no_labels(
    tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    image = arrays[0]
    for name, file in (("isbi", "test-volume.tif"), ("snemi", "test-input.tif")):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / file, image)
    (tmp_path / "planes").mkdir()
    for number, plane in enumerate(image):
        Image.fromarray(plane).save(tmp_path / "planes" / f"plane_{number:02d}.png")
    for name, spacing in (("isbi", None), ("snemi", None), ("planes", (30, 6, 6))):
        volume = open_volume(tmp_path / name, spacing, need_foreground=False)
        assert volume.labels is None and volume.shape == image.shape
        with pytest.raises(DataError, match="has no labels"):
            open_volume(tmp_path / name, spacing)


def test_a_picture_beside_a_known_layout_is_no_plane(
    tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    write_h5(tmp_path / "train-image.h5", stack=arrays[0])
    write_h5(tmp_path / "train-gt.lzf.h5", stack=arrays[1])
    Image.fromarray(arrays[0][0]).save(tmp_path / "preview_1.png")
    assert open_volume(tmp_path).name == "gala"
