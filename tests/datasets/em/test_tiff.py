"""TIFF stacks and folders of planes: ids (SNEMI3D), membrane maps (ISBI 2012), damaged and odd files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import label as scipy_label

from mtl.datasets.em import read_isbi2012, read_snemi3d, read_tiff_stack
from mtl.datasets.em.planes import read_planes
from mtl.datasets.em.tiff import plane_components
from mtl.errors import DataError

SNEMI = (30, 6, 6)


def write(path: Path, array: np.ndarray, **options) -> Path:
    tifffile.imwrite(path, array, photometric=options.pop("photometric", "minisblack"), **options)
    return path


def membrane_map(shape: tuple[int, int, int] = (3, 12, 14)) -> np.ndarray:
    inside = np.full(shape, 255, np.uint8)
    inside[:, 5] = 0
    inside[1, 5, 3] = 255  # in one plane the upper and the lower cell are connected
    inside[2, :, 6] = 0
    return inside


def test_snemi3d_ids_are_taken_as_they_are(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays()
    write(tmp_path / "train-input.tif", image)
    write(tmp_path / "train-labels.tif", labels)
    volume = read_snemi3d(tmp_path)
    assert volume.spacing == SNEMI and not volume.planar
    np.testing.assert_array_equal(volume.read(volume.box)[1], labels)


def test_isbi_membranes_become_instances_of_each_plane(tmp_path: Path) -> None:
    inside = membrane_map()
    image = np.random.default_rng(0).integers(0, 255, inside.shape).astype(np.uint8)
    write(tmp_path / "train-volume.tif", image, compression="zlib")
    write(tmp_path / "train-labels.tif", inside, compression="zlib")
    volume = read_isbi2012(tmp_path)
    labels = volume.read(volume.box)[1]
    assert volume.planar and volume.spacing == (50, 4, 4)
    assert [len(np.unique(plane[plane > 0])) for plane in labels] == [2, 1, 4]
    assert len(np.unique(labels[labels > 0])) == 7, "an id lies in one plane"
    np.testing.assert_array_equal(labels == 0, inside == 0)


def test_components_are_4_connected() -> None:
    mask = np.array([[[1, 0], [0, 1]]], bool)
    assert plane_components(mask).tolist() == [[[1, 0], [0, 2]]]
    noise = np.random.default_rng(2).random((4, 30, 30)) < 0.6
    found = plane_components(noise)
    for plane, mine in zip(noise, found, strict=True):
        reference, count = scipy_label(plane)  # 4-connected by default
        pairs = np.unique(np.stack([reference[plane], mine[plane]]), axis=1)
        assert pairs.shape[1] == count == len(np.unique(mine[plane]))


def test_maps_and_ids_are_told_apart(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays((3, 12, 14))
    raw = write(tmp_path / "raw.tif", image)
    maps, ids = write(tmp_path / "maps.tif", membrane_map()), write(tmp_path / "ids.tif", labels)
    with pytest.raises(DataError, match=r"maps\.tif: holds 0 and 255 only, a membrane map.*membrane=0"):
        read_tiff_stack(raw, maps, SNEMI)
    with pytest.raises(DataError, match=r"ids\.tif: expected a map of two values.*5 values, \[0, 3, 5, 9\]"):
        read_tiff_stack(raw, ids, SNEMI, membrane=0)
    with pytest.raises(DataError, match="membrane=1"):
        read_tiff_stack(raw, maps, SNEMI, membrane=1)


def test_spacing_is_needed_and_in_order(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays()
    raw, ids = write(tmp_path / "raw.tif", image), write(tmp_path / "ids.tif", labels)
    with pytest.raises(DataError, match=r"raw\.tif: no voxel spacing; pass spacing=\(z, y, x\) in nm"):
        read_tiff_stack(raw, ids, None)
    with pytest.raises(DataError, match=r"raw\.tif.*wrong axis order"):
        read_tiff_stack(raw, ids, (6, 6, 30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels.astype(np.float32), r"ids\.tif has dtype float32; expected integer"),
        (lambda labels: labels.transpose(1, 2, 0), r"ids\.tif has shape \(20, 24, 12\).*wrong axis order"),
        (lambda labels: labels[:-1], r"ids\.tif has shape \(11, 20, 24\), .*raw\.tif.*the same shape"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, make_arrays, change, message: str) -> None:
    image, labels = make_arrays()
    raw, ids = write(tmp_path / "raw.tif", image), write(tmp_path / "ids.tif", change(labels))
    with pytest.raises(DataError, match=message):
        read_tiff_stack(raw, ids, SNEMI)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_damaged_tiffs(tmp_path: Path, make_arrays, compression: str | None) -> None:
    whole = write(tmp_path / "whole.tif", make_arrays()[0], compression=compression)
    data = whole.read_bytes()
    assert read_planes(whole).shape == (12, 20, 24)
    for share in (0.3, 0.7, 0.95):
        cut = tmp_path / "cut.tif"
        cut.write_bytes(data[: int(share * len(data))])
        with pytest.raises(DataError, match=r"cut\.tif: expected a complete TIFF"):
            read_planes(cut)
    (tmp_path / "text.tif").write_text("no TIFF")
    with pytest.raises(DataError, match=r"text\.tif: expected a complete TIFF, but it cannot be read"):
        read_planes(tmp_path / "text.tif")
    with pytest.raises(DataError, match=r"nowhere\.tif: no such file"):
        read_planes(tmp_path / "nowhere.tif")


def test_tiffs_that_are_no_grey_stack(tmp_path: Path) -> None:
    colour = write(tmp_path / "colour.tif", np.zeros((4, 8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(DataError, match=r"colour\.tif: has axes .*S.*expected grey planes"):
        read_planes(colour)
    channels = tmp_path / "channels.tif"
    tifffile.imwrite(channels, np.zeros((4, 2, 8, 8), np.uint8), imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(DataError, match=r"channels\.tif: has axes ZCYX"):
        read_planes(channels)
    single = write(tmp_path / "single.tif", np.zeros((8, 9), np.uint8))
    assert read_planes(single).shape == (1, 8, 9)


def test_folders_are_read_by_number(tmp_path: Path) -> None:
    for number in range(12):
        Image.fromarray(np.full((6, 7), number, np.uint8)).save(tmp_path / f"iso.{number}.png")
    (tmp_path / ".iso.3.png").write_text("litter")
    assert read_planes(tmp_path)[:, 0, 0].tolist() == list(range(12))
    (tmp_path / "iso.4.png").unlink()
    with pytest.raises(DataError, match=r"iso\.5\.png: plane 5 follows 3: planes are missing"):
        read_planes(tmp_path)


def test_folders_with_odd_planes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no plane found"):
        read_planes(tmp_path)
    Image.fromarray(np.zeros((6, 7), np.uint8)).save(tmp_path / "p1.png")
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "p2.png")
    with pytest.raises(
        DataError, match=r"p2\.png: uint8 of shape \(6, 8\); expected uint8 of shape \(6, 7\)"
    ):
        read_planes(tmp_path)
    Image.fromarray(np.zeros((6, 7, 3), np.uint8)).save(tmp_path / "p2.png")
    with pytest.raises(DataError, match=r"p2\.png: has shape \(6, 7, 3\); expected a grey plane"):
        read_planes(tmp_path)
    data = (tmp_path / "p1.png").read_bytes()
    (tmp_path / "p2.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"p2\.png: expected a complete picture"):
        read_planes(tmp_path)
    (tmp_path / "p2.png").write_bytes(data)
    (tmp_path / "cover.png").write_bytes(data)
    with pytest.raises(DataError, match=r"cover\.png: no number in the name"):
        read_planes(tmp_path)


@pytest.mark.real_data
def test_the_real_isbi_stack(data_root: Path) -> None:
    """The traps of its README: a membrane map, instances by plane with 4-connectivity, 50 x 4 x 4 nm."""
    volume = read_isbi2012(data_root / "isbi2012_em")
    labels = volume.read(volume.box)[1]
    assert volume.shape == (22, 512, 512) and volume.planar and volume.spacing == (50, 4, 4)
    assert round(float((labels == 0).mean()), 3) == 0.228
    count = 0
    for plane in labels:
        reference, n_found = scipy_label(plane > 0)
        pairs = np.unique(reference[plane > 0] * 100_000 + plane[plane > 0])
        assert len(pairs) == n_found
        count += n_found
    assert len(np.unique(labels[labels > 0])) == count, "no id in two planes"
    through, n_through = scipy_label(labels > 0)
    largest = np.bincount(through.ravel())[1:].max()
    assert largest > 0.5 * (labels > 0).sum(), "components in 3-D leak: this is why planes are kept apart"


def test_a_folder_of_planes_takes_no_file_of_several(tmp_path: Path) -> None:
    for number in (1, 2):
        tifffile.imwrite(
            tmp_path / f"plane_{number}.tif", np.zeros((3, 8, 9), np.uint8), photometric="minisblack"
        )
    with pytest.raises(DataError, match="plane_1.tif: has 3 pages; expected one plane a file"):
        read_planes(tmp_path)
