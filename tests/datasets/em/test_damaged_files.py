"""A damaged volume is read as it was or refused with an error that names it; no other error gets through."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from mtl.datasets.em import open_volume, read_hdf5
from mtl.datasets.em.planes import read_planes
from mtl.errors import DataError

from .test_ome_zarr import write_ngff

NM = (30, 6, 6)


def page_by_page(path: Path, image: np.ndarray, **options) -> None:
    with tifffile.TiffWriter(path) as file:
        for plane in image:
            file.write(plane, photometric="minisblack", **options)


def by_pillow(path: Path, image: np.ndarray) -> None:
    planes = [Image.fromarray(plane) for plane in image]
    planes[0].save(path, save_all=True, append_images=planes[1:], compression="tiff_adobe_deflate")


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "contiguous": lambda path, image: tifffile.imwrite(path, image, photometric="minisblack"),
    "zlib": lambda path, image: tifffile.imwrite(path, image, photometric="minisblack", compression="zlib"),
    "tiled": lambda path, image: tifffile.imwrite(path, image, photometric="minisblack", tile=(16, 16)),
    "bigtiff": lambda path, image: tifffile.imwrite(path, image, photometric="minisblack", bigtiff=True),
    "page_by_page": page_by_page,
    "imagej": lambda path, image: tifffile.imwrite(path, image, imagej=True, metadata={"axes": "ZYX"}),
    "ome": lambda path, image: tifffile.imwrite(path, image, ome=True, metadata={"axes": "ZYX"}),
    "pillow": by_pillow,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_tiffs_of_every_kind_are_read_and_cut_ones_refused(tmp_path: Path, make_arrays, writer: str) -> None:
    image = make_arrays()[0]
    path, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    WRITERS[writer](path, image)
    np.testing.assert_array_equal(read_planes(path), image)
    data = path.read_bytes()
    for length in np.linspace(1, len(data) - 1, 40).astype(int):
        cut.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_planes(cut), image)  # only padding was cut off
        except DataError as error:
            assert "cut.tif" in str(error)


def test_pages_of_several_sizes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as file:
        for side in (20, 24):
            file.write(np.zeros((side, 20), np.uint8), photometric="minisblack")
    with pytest.raises(DataError, match=r"mixed\.tif: has pages of uint8 \(20, 20\), uint8 \(24, 20\)"):
        read_planes(path)


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with some of its bytes changed, most of them in its head, or with its end cut off."""
    changed = bytearray(data)
    places = rng.integers(0, len(data), 3).tolist() + rng.integers(0, min(2000, len(data)), 5).tolist()
    for place in places:
        changed[place] = int(rng.integers(256))
    return bytes(changed if rng.random() < 0.7 else changed[: int(rng.integers(1, len(data)))])


def opened_or_refused(opened: Callable[[], object], name: str) -> None:
    try:
        opened()
    except DataError as error:
        assert name in str(error), f"the message does not name the file: {error}"


@pytest.mark.parametrize("kind", ["contiguous", "zlib", "pillow", "tiled"])
@pytest.mark.filterwarnings("ignore")  # of Pillow and tifffile, about the damage
def test_random_damage_to_tiffs(tmp_path: Path, make_arrays, kind: str) -> None:
    image, labels = make_arrays()
    files = {"raw.tif": image, "ids.tif": labels.astype(np.uint16)}
    rng = np.random.default_rng(0)
    for name, array in files.items():
        for each in files:
            WRITERS["zlib"](tmp_path / each, files[each])
        WRITERS[kind](tmp_path / name, array)
        data = (tmp_path / name).read_bytes()
        for _ in range(60):
            (tmp_path / name).write_bytes(flipped(data, rng))
            opened_or_refused(
                lambda: open_volume(tmp_path / "raw.tif", NM, tmp_path / "ids.tif"), str(tmp_path)
            )


def test_random_damage_to_hdf5(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays()
    rng = np.random.default_rng(1)
    contents = {"raw.h5": image, "ids.h5": labels}

    def write(name: str) -> None:
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("stack", data=contents[name], chunks=True).attrs["resolution"] = NM

    for name in contents:
        for each in contents:
            write(each)
        data = (tmp_path / name).read_bytes()
        for _ in range(80):
            (tmp_path / name).write_bytes(flipped(data, rng))
            opened_or_refused(lambda: open_volume(tmp_path / "raw.h5", NM, tmp_path / "ids.h5"), ".h5")


@pytest.mark.parametrize("signature", [b"SNOD", b"HEAP", b"TREE"])
def test_damaged_tables_of_hdf5(tmp_path: Path, make_arrays, signature: bytes) -> None:
    path = tmp_path / "i.h5"
    with h5py.File(path, "w") as file:
        file["stack"] = make_arrays()[0]
    data = bytearray(path.read_bytes())
    start = data.find(signature)
    assert start >= 0
    data[start : start + 4] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"i\.h5"):
        read_hdf5(path, spacing=NM)
    with pytest.raises(DataError, match=r"i\.h5"):
        open_volume(path, NM, need_foreground=False)


ODD_METADATA = [
    ("labels/.zattrs", lambda meta: {"labels": -1}),
    ("labels/.zattrs", lambda meta: {"labels": True}),
    (".zattrs", lambda meta: {"multiscales": [3]}),
    (".zattrs", lambda meta: {"multiscales": [meta["multiscales"][0] | {"axes": True}]}),
    (".zattrs", lambda meta: {"multiscales": [meta["multiscales"][0] | {"datasets": True}]}),
    (".zattrs", lambda meta: {"multiscales": [meta["multiscales"][0] | {"datasets": [5]}]}),
    (".zattrs", lambda meta: {"multiscales": [meta["multiscales"][0] | {"datasets": [{"path": "labels"}]}]}),
    (".zattrs", lambda meta: {"multiscales": [meta["multiscales"][0] | {"coordinateTransformations": 1.5}]}),
    (
        ".zattrs",
        lambda meta: {
            "multiscales": [
                meta["multiscales"][0]
                | {"coordinateTransformations": [{"type": "scale", "scale": ["x", 1, 1]}]}
            ]
        },
    ),
    (".zattrs", lambda meta: {"ome": 3}),
]


@pytest.mark.parametrize("file, change", ODD_METADATA)
def test_odd_metadata_of_ome_zarr(tmp_path: Path, make_arrays, file: str, change) -> None:
    path = write_ngff(tmp_path / "odd.zarr", "0.4", *make_arrays())
    open_volume(path)
    meta = json.loads((path / file).read_text())
    (path / file).write_text(json.dumps(change(meta)))
    with pytest.raises(DataError, match=r"odd\.zarr"):
        open_volume(path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_cut_metadata_of_ome_zarr(tmp_path: Path, make_arrays, version: str) -> None:
    whole = write_ngff(tmp_path / "whole.zarr", version, *make_arrays())
    metadata = [
        file for file in whole.rglob("*") if file.name in (".zgroup", ".zattrs", ".zarray", "zarr.json")
    ]
    assert len(metadata) >= 5
    for file in metadata:
        for share in (0.0, 0.5):
            path = tmp_path / "cut.zarr"
            shutil.copytree(whole, path)
            data = file.read_bytes()
            (path / file.relative_to(whole)).write_bytes(data[: int(share * len(data))])
            opened_or_refused(partial(open_volume, path, NM), "cut.zarr")
            shutil.rmtree(path)


def test_labels_that_are_nowhere(tmp_path: Path, make_arrays) -> None:
    path = write_ngff(tmp_path / "a.zarr", "0.4", make_arrays()[0], None)
    with pytest.raises(DataError, match=r"a\.zarr: no labels 'labels/x'; expected a key in this store"):
        open_volume(path, labels="labels/x")
