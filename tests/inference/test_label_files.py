"""Labels as files: what other programs read is what was written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from mtl.datasets.em.ome_zarr import open_zarr
from mtl.datasets.em.tiff import read_tiff_stack
from mtl.errors import DataError
from mtl.inference.em.label_zarr import write_label_zarr
from mtl.inference.label_tiff import write_label_tiff

SPACING = (40.0, 4.0, 5.0)


def labels(largest: int = 300) -> np.ndarray:
    found = np.random.default_rng(0).integers(0, largest, (70, 30, 65))
    found[0, 0, 0] = largest
    return found


@pytest.mark.parametrize(("largest", "dtype"), [(65535, "uint16"), (65536, "uint32")])
def test_a_tiff_is_read_back_with_its_resolution(tmp_path: Path, largest: int, dtype: str) -> None:
    path = write_label_tiff(tmp_path / "labels.tif", labels(largest), SPACING)
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "ZYX" and file.asarray().dtype == dtype
        tags = file.pages[0].tags
        x, y = (tags[name].value for name in ("XResolution", "YResolution"))
        assert (x[0] / x[1], y[0] / y[1]) == (1e7 / 5, 1e7 / 4) and tags["ResolutionUnit"].value == 3
        assert json.loads(tags["ImageDescription"].value)["spacing"] == list(SPACING)
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((70, 30, 65), np.uint8))
    volume = read_tiff_stack(tmp_path / "image.tif", path, SPACING)
    assert np.array_equal(volume.read_labels(volume.box), labels(largest))


def test_an_ome_zarr_is_read_back_as_an_image_and_as_labels(tmp_path: Path) -> None:
    folder = write_label_zarr(tmp_path / "labels.zarr", labels(), SPACING)
    group = zarr.open_group(folder, mode="r")
    assert group.metadata.zarr_format == 2 and group["0"].dtype == np.uint32
    assert np.array_equal(group["0"][:], labels())
    assert (folder / "0" / "1" / "0" / "1").is_file(), "chunks as NGFF wants them, in folders"
    image = zarr.create_array(tmp_path / "image.zarr", data=np.zeros((70, 30, 65), np.uint8), attributes={})
    volume = open_zarr(image.store, labels=folder, spacing=SPACING)
    assert np.array_equal(volume.read_labels(volume.box), labels())
    assert open_zarr(folder).spacing == SPACING


def test_a_piece_is_put_where_it_was_cut_out(tmp_path: Path) -> None:
    folder = write_label_zarr(tmp_path / "piece.zarr", labels(), SPACING, corner=(3, 0, 7))
    [image] = zarr.open_group(folder, mode="r").attrs["multiscales"]
    scale, shift = image["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == list(SPACING) and shift["type"] == "translation"
    assert shift["translation"] == [3 * SPACING[0], 0, 7 * SPACING[2]]
    assert open_zarr(folder).spacing == SPACING
    with pytest.raises(DataError, match="one voxel number per axis"):
        write_label_zarr(tmp_path / "none.zarr", labels(), SPACING, corner=(3, 0))


def test_a_planar_image_has_two_axes(tmp_path: Path) -> None:
    flat = labels()[0]
    write_label_zarr(tmp_path / "labels.zarr", flat, SPACING[1:])
    [image] = zarr.open_group(tmp_path / "labels.zarr", mode="r").attrs["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["y", "x"]
    for spacing in (SPACING[1:], None):
        assert np.array_equal(tifffile.imread(write_label_tiff(tmp_path / "l.tif", flat, spacing)), flat)


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    for write, name in ((write_label_tiff, "labels.tif"), (write_label_zarr, "labels.zarr")):
        path = write(tmp_path / name, labels(), SPACING)
        before = sorted((p, p.read_bytes()) for p in [path, *path.rglob("*")] if p.is_file())
        for wrong, spacing, message in (
            (labels().astype(float), SPACING, "type float64"),
            (-labels(), SPACING, "ids from -300"),
            (labels(), SPACING[1:], "each of 3 axes"),
            (labels(), (0.0, 1.0, 1.0), "above 0"),
        ):
            with pytest.raises(DataError, match=message):
                write(path, wrong, spacing)
        assert sorted((p, p.read_bytes()) for p in [path, *path.rglob("*")] if p.is_file()) == before
