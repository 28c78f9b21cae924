"""Zarr 2 and 3, OME-NGFF 0.4 and 0.5: spacing, levels, axes, labels; streamed, and clear errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, WrapperStore

from mtl.datasets.em import CropDataset, open_zarr
from mtl.errors import DataError

UNITS = "nanometer"
CHUNK = (4, 8, 8)


class CountingStore(WrapperStore):
    """A store that remembers the keys of the chunks that were read."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.chunks: list[str] = []

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        if not key.endswith((".zgroup", ".zarray", ".zattrs", ".zmetadata", "zarr.json")):
            self.chunks.append(key)
        return await super().get(key, *arguments, **options)


def axes(names: str = "zyx", unit: str | None = UNITS) -> list[dict[str, str]]:
    kinds = {"t": "time", "c": "channel"}
    extra = {} if unit is None else {"unit": unit}
    return [{"name": n, "type": kinds.get(n, "space"), **({} if n in kinds else extra)} for n in names]


def multiscales(scales: list[list[float]], names: str = "zyx", unit: str | None = UNITS) -> list[dict]:
    datasets = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for i, scale in enumerate(scales)
    ]
    return [{"version": "0.4", "axes": axes(names, unit), "datasets": datasets}]


def write_image(group: Any, version: str, arrays: list[np.ndarray], meta: list[dict]) -> None:
    for number, array in enumerate(arrays):
        chunks = (1,) * (array.ndim - 3) + CHUNK
        group.create_array(str(number), data=array, chunks=chunks)
    group.attrs.update(
        {"ome": {"version": "0.5", "multiscales": meta}} if version == "0.5" else {"multiscales": meta}
    )


def write_ngff(
    path: Path, version: str, image: np.ndarray, labels: np.ndarray | None, **options: Any
) -> Path:
    """Two levels of image and labels, (30, 6, 6) nm and (30, 12, 12) nm."""
    root = zarr.create_group(str(path), zarr_format=3 if version == "0.5" else 2)
    lead = len(options.get("names", "zyx")) - 3
    scales = [[1.0] * lead + [30, 6, 6], [1.0] * lead + [30, 12, 12]]
    coarse = image[..., ::2, ::2]
    write_image(root, version, [image, coarse], multiscales(scales, **options))
    if labels is not None:
        listed = root.create_group("labels")
        names = {"labels": ["neurons"]}
        listed.attrs.update({"ome": names} if version == "0.5" else names)
        meta = multiscales([[30, 6, 6], [30, 12, 12]])
        write_image(listed.create_group("neurons"), version, [labels, labels[:, ::2, ::2]], meta)
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_ngff_image_and_labels(tmp_path: Path, make_arrays, version: str) -> None:
    image, labels = make_arrays()
    path = write_ngff(tmp_path / "tissue.ome.zarr", version, image, labels)
    volume = open_zarr(path)
    assert volume.name == "tissue" and volume.spacing == (30, 6, 6)
    read_image, read_labels = volume.read(volume.box)
    np.testing.assert_array_equal(np.round(read_image * 255), image)
    np.testing.assert_array_equal(read_labels, labels)
    coarse = open_zarr(path, level=1)
    assert coarse.spacing == (30, 12, 12) and coarse.shape == (12, 10, 12)
    np.testing.assert_array_equal(coarse.read(coarse.box)[1], labels[:, ::2, ::2])
    with pytest.raises(DataError, match=r"tissue\.ome\.zarr: has 2 scale levels; level=2 does not exist"):
        open_zarr(path, level=2)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plain_arrays(tmp_path: Path, make_arrays, zarr_format: int) -> None:
    image, labels = make_arrays()
    root = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=zarr_format)
    root.create_array("raw", data=image, chunks=(4, 8, 8)).attrs["resolution"] = [40, 4, 4]
    root.create_array("bare", data=image, chunks=(4, 8, 8))
    root.create_array("ids", data=labels, chunks=(4, 8, 8))
    volume = open_zarr(tmp_path / "a.zarr", image="raw", labels="ids")
    assert volume.spacing == (40, 4, 4)
    np.testing.assert_array_equal(volume.read(volume.box)[1], labels)
    assert open_zarr(tmp_path / "a.zarr" / "bare", spacing=(30, 6, 6)).spacing == (30, 6, 6)
    with pytest.raises(DataError, match=r"a\.zarr: 'bare': no voxel spacing"):
        open_zarr(tmp_path / "a.zarr", image="bare")
    with pytest.raises(DataError, match=r"a\.zarr: a Zarr group without OME-NGFF.*bare, ids, raw"):
        open_zarr(tmp_path / "a.zarr")


def test_the_cremi_layout_in_zarr(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays(dtype="uint64")
    labels[0] = 2**64 - 3
    root = zarr.create_group(str(tmp_path / "c.zarr"), zarr_format=2)
    root.create_array("volumes/raw", data=image, chunks=(4, 8, 8)).attrs["resolution"] = [40, 4, 4]
    root.create_array("volumes/labels/neuron_ids", data=labels, chunks=(4, 8, 8))
    volume = open_zarr(tmp_path / "c.zarr")
    read = volume.read(volume.box)[1]
    assert (read[0] == -100).all() and (read[1:] == labels[1:].astype(np.int64)).all()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_streamed_never_loaded_whole(tmp_path: Path, zarr_format: int) -> None:
    version = {2: "0.4", 3: "0.5"}[zarr_format]
    rng = np.random.default_rng(0)
    image = rng.integers(1, 255, (16, 24, 24)).astype(np.uint8)
    labels = rng.integers(1, 9, (16, 24, 24)).astype(np.uint16)
    path = write_ngff(tmp_path / "big.zarr", version, image, labels)
    store = CountingStore(LocalStore(str(path), read_only=True))
    volume = open_zarr(store)
    assert store.chunks == [], "opening reads metadata only"
    box = (slice(3, 5), slice(8, 16), slice(15, 17))
    read_image, read_labels = volume.read(box)
    np.testing.assert_array_equal(read_labels, labels[box])
    np.testing.assert_array_equal(np.round(read_image * 255), image[box])
    assert len(store.chunks) == len(set(store.chunks)) == 2 * 2 * 1 * 2, "2 x 1 x 2 chunks of each, once"
    part = volume.part(slice(8, 16), "big/back")
    store.chunks.clear()
    part.read((slice(0, 4), slice(0, 8), slice(0, 8)))
    assert len(store.chunks) == 2, "a part reads its own chunks only"


def test_a_crop_of_a_streamed_volume_reads_a_few_chunks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(1, 255, (16, 32, 32)).astype(np.uint8)
    labels = rng.integers(1, 9, (16, 32, 32)).astype(np.uint16)
    path = write_ngff(tmp_path / "big.zarr", "0.4", image, labels)
    store = CountingStore(LocalStore(str(path), read_only=True))
    dataset = CropDataset([open_zarr(store)], (4, 8, 8), length=2)
    store.chunks.clear()
    sample = dataset[0]
    z, y, x = (int(corner) for corner in sample["id"].split("/")[1].split("_"))
    np.testing.assert_array_equal(np.round(sample["image"][0] * 255), image[z : z + 4, y : y + 8, x : x + 8])
    assert 2 <= len(store.chunks) <= 16, "at most 8 chunks each, of 64"


def test_channels_and_micrometres(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays()
    both = np.stack([255 - image, image])
    path = write_ngff(tmp_path / "c.zarr", "0.4", both, labels, names="czyx", unit="micrometer")
    volume = open_zarr(path, channel=1)
    assert volume.spacing == (30_000, 6_000, 6_000) and volume.shape == image.shape
    np.testing.assert_array_equal(np.round(volume.read(volume.box)[0] * 255), image)
    with pytest.raises(DataError, match=r"c\.zarr: channel=2 does not exist among 2"):
        open_zarr(path, channel=2)
    movie = write_ngff(tmp_path / "t.zarr", "0.4", both, None, names="tzyx")
    with pytest.raises(DataError, match=r"t\.zarr: has 2 time points; expected a single volume"):
        open_zarr(movie)


def test_scales_of_the_whole_image_multiply(tmp_path: Path, make_arrays) -> None:
    path = write_ngff(tmp_path / "s.zarr", "0.4", make_arrays()[0], None)
    group = zarr.open_group(str(path), mode="a")
    meta = group.attrs["multiscales"]
    meta[0]["coordinateTransformations"] = [{"type": "scale", "scale": [0.5, 0.5, 0.5]}]
    group.attrs["multiscales"] = meta
    assert open_zarr(path).spacing == (15, 3, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": "xyz"}, "axes x, y, z: wrong axis order; expected z, y, x at the end"),
        ({"names": "zyxc"}, "axes z, y, x, c: wrong axis order"),
        ({"unit": None}, "no voxel spacing; pass spacing"),
        ({"unit": "parsec"}, "axes in 'parsec'; expected one of angstrom, nanometer"),
    ],
)
def test_axes_and_units_are_checked(tmp_path: Path, make_arrays, options: dict, message: str) -> None:
    image, _ = make_arrays()
    image = image[..., None] if options.get("names") == "zyxc" else image
    path = tmp_path / "a.zarr"
    root = zarr.create_group(str(path), zarr_format=2)
    root.create_array("0", data=image, chunks=image.shape)
    root.attrs["multiscales"] = multiscales([[30.0, 6, 6, 1][: image.ndim]], **options)
    with pytest.raises(DataError, match=rf"a\.zarr.*{message}"):
        open_zarr(path)


def test_ngff_before_0_4_states_no_spacing(tmp_path: Path, make_arrays) -> None:
    root = zarr.create_group(str(tmp_path / "old.zarr"), zarr_format=2)
    root.create_array("0", data=make_arrays()[0], chunks=(4, 8, 8))
    root.attrs["multiscales"] = [{"version": "0.3", "axes": ["z", "y", "x"], "datasets": [{"path": "0"}]}]
    with pytest.raises(DataError, match=r"old\.zarr/0: no voxel spacing"):
        open_zarr(tmp_path / "old.zarr")
    assert open_zarr(tmp_path / "old.zarr", spacing=(30, 6, 6)).spacing == (30, 6, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels.astype(np.float32), "dtype float32; expected integer instance ids"),
        (lambda labels: labels.T, r"shape \(24, 20, 12\), .*wrong axis order"),
        (lambda labels: labels[:, :-1], r"shape \(12, 19, 24\), .*expected the same shape"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, make_arrays, change, message: str) -> None:
    image, labels = make_arrays()
    path = write_ngff(tmp_path / "a.zarr", "0.5", image, np.ascontiguousarray(change(labels)))
    with pytest.raises(DataError, match=rf"a\.zarr: 'labels/neurons'/0 has {message}"):
        open_zarr(path)


def test_several_label_images_need_a_choice(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays()
    path = write_ngff(tmp_path / "a.zarr", "0.4", image, labels)
    zarr.open_group(str(path / "labels"), mode="a").attrs["labels"] = ["neurons", "synapses"]
    with pytest.raises(DataError, match="label images neurons, synapses; choose one"):
        open_zarr(path)
    assert open_zarr(path, labels="labels/neurons").labels is not None


def test_damaged_stores(tmp_path: Path, make_arrays) -> None:
    image, labels = make_arrays()
    with pytest.raises(DataError, match=r"nowhere\.zarr: no such folder"):
        open_zarr(tmp_path / "nowhere.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DataError, match=r"empty\.zarr: no Zarr group or array there"):
        open_zarr(tmp_path / "empty.zarr")
    lost = write_ngff(tmp_path / "lost.zarr", "0.4", image, labels)
    (lost / "1" / ".zarray").unlink()
    with pytest.raises(
        DataError, match=r"lost\.zarr: expected an array for every scale level; missing: \['1'\]"
    ):
        open_zarr(lost)
    broken = write_ngff(tmp_path / "broken.zarr", "0.4", image, None)
    (broken / ".zattrs").write_text('{"multiscales": [')
    with pytest.raises(DataError, match=r"broken\.zarr: expected readable Zarr metadata, but it is damaged"):
        open_zarr(broken)
    odd = write_ngff(tmp_path / "odd.zarr", "0.5", image, None)
    meta = json.loads((odd / "0" / "zarr.json").read_text())
    meta["shape"] = "large"
    (odd / "0" / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(DataError, match=r"odd\.zarr.*damaged"):
        open_zarr(odd)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_damaged_chunk_is_named_when_it_is_read(tmp_path: Path, make_arrays, version: str) -> None:
    path = write_ngff(tmp_path / "chunk.zarr", version, make_arrays()[0], None)
    first = path / "0" / ("c/0/0/0" if version == "0.5" else "0.0.0")
    first.write_bytes(first.read_bytes()[:9])
    volume = open_zarr(path)
    with pytest.raises(DataError, match=r"chunk\.zarr/0: expected readable chunks"):
        volume.read((slice(0, 2), slice(0, 2), slice(0, 2)))
    volume.read((slice(8, 12), slice(8, 16), slice(8, 16)))
