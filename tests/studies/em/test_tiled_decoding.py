"""Tiles: one tile is the whole part, several give what the whole part gives, in the memory of one."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import zarr

from mtl.datasets.em import open_zarr
from mtl.datasets.phantoms.em import em_phantom
from mtl.evaluation.em import adapted_rand_error
from mtl.inference.em.stitching import tile_boxes
from mtl.studies.em.decodings import by_embedding, by_watershed
from mtl.studies.em.prediction import VolumePrediction, predict
from mtl.studies.em.segmentation import (
    EMBEDDING,
    INTENSITY,
    read_segmentation,
    segment_image,
    segment_with_network,
)
from mtl.studies.em.study import EMStudy
from mtl.studies.em.tiled_decoding import PredictedTiles, decoded_by_tiles, segment_volume

MARGIN = 0.02  # of adapted Rand error, between tiles and the whole


def perfect_outputs(volume, directions=False) -> VolumePrediction:
    """What a flawless network without coordinates says: ids as values of the embedding, which repeat."""
    labels = np.maximum(volume.read_labels(volume.box), 0)
    codes = 4.0 * np.random.default_rng(3).normal(size=(9, 6)).astype(np.float32)
    embedding = np.moveaxis(codes[labels % 9], -1, 0) * (labels > 0)
    return VolumePrediction((labels > 0).astype(np.float32), np.ascontiguousarray(embedding), None)


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = set(zip(one.ravel().tolist(), other.ravel().tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@pytest.mark.parametrize("tile", [{}, {"decode_tile_planes": 99, "decode_tile_side": 99}])
def test_one_tile_is_the_whole_part(trained_study, tile):
    model, test = trained_study.model("late"), trained_study.parts["test"]
    p = trained_study.parameters.model_copy(update=tile)
    decode = partial(by_embedding, threshold=0.5, min_size=20)
    whole = decode(test, predict(model, test, p, trained_study.fabric.device))
    assert same_partition(segment_volume(model, test, p, decode, directions=False), whole)


@pytest.mark.parametrize("planar", [False, True])
def test_tiles_find_what_the_whole_finds(tiny_parameters, tmp_path, planar):
    planes = 4 if planar else 16
    volume = em_phantom((planes, 64, 72), (20, 8, 8), 16, seed=2, planar=planar)
    truth = volume.read_labels(volume.box)
    tile = {"decode_tile_planes": 3 * planes // 4, "decode_tile_side": 48, "decode_tile_overlap": 0.3}
    p = tiny_parameters(tmp_path, **tile)
    tiles = PredictedTiles(volume, p, perfect_outputs, tmp_path)
    assert len(tiles.boxes) == 8
    decode = partial(by_embedding, volume, threshold=0.5, min_size=30)
    tiled, whole = tiles.decoded(decode), decode(perfect_outputs(volume))
    assert (tiled > 0).all()
    assert adapted_rand_error(tiled, truth) < adapted_rand_error(whole, truth) + MARGIN
    np.testing.assert_array_equal(tiles.foreground(), truth > 0)


def test_tiles_of_planes_that_are_samples_join_no_planes(tiny_parameters, tmp_path):
    volume = em_phantom((6, 48, 48), (50, 4, 4), 9, planar=True)
    p = tiny_parameters(tmp_path, dims=2, decode_tile_planes=2, decode_tile_side=32)
    found = decoded_by_tiles(
        volume, p, lambda box: by_watershed(volume, volume.read(box)[0], sigma=8, seed_distance=40)
    )
    ids = [set(np.unique(plane)) for plane in found]
    assert sum(map(len, ids)) == len(set.union(*ids))


def test_outputs_of_tiles_are_their_own_and_come_back_from_disk(tiny_parameters, tmp_path):
    volume = em_phantom((12, 32, 40), (20, 8, 8), 9)
    p = tiny_parameters(tmp_path, decode_tile_planes=8, decode_tile_side=24, decode_tile_overlap=0.25)
    calls = []

    def noted(tile):
        calls.append(tile.shape)
        return perfect_outputs(tile)

    tiles = PredictedTiles(volume, p, noted, tmp_path / "tiles")
    assert tiles.boxes == tile_boxes(volume.shape, (8, 24, 24), (2, 6, 6)) and set(calls) == {(8, 24, 24)}
    for box in tiles.boxes:
        expected = perfect_outputs(volume.crop(box))
        np.testing.assert_array_equal(tiles[box].embedding, expected.embedding)
        assert tiles[box].direction is None
    assert len(calls) == len(tiles.boxes)  # and not once more


def test_the_notebooks_segmentation_goes_by_tiles(trained_study, tmp_path, monkeypatch):
    """The same networks, decoded in tiles: what is found is close, kept as such, and nothing else stays."""
    model = trained_study.model("late")
    monkeypatch.setattr(EMStudy, "model", lambda self, variant: model)
    values = trained_study.parameters.model_dump() | {"output_root": str(tmp_path)}
    tiles = {"decode_tile_planes": 5, "decode_tile_side": 24, "decode_tile_overlap": 0.25}
    tiled = EMStudy(type(trained_study.parameters)(**values | tiles))
    monkeypatch.setattr(EMStudy, "fingerprint", lambda self, variant: "of the other run")
    few = {"sigma": [8.0], "seed_distance": [80.0, 160.0]}
    monkeypatch.setattr("mtl.studies.em.segmentation.watershed_grid", lambda spacing: few)
    seen = []
    monkeypatch.setattr(
        "mtl.studies.em.segmentation.PredictedTiles",
        lambda *arguments: seen.append(PredictedTiles(*arguments)) or seen[-1],
    )
    found = segment_with_network(tiled, "late") | {INTENSITY: segment_image(tiled)}
    assert [len(part.boxes) for part in seen] == [4, 8]
    for made in found.values():
        assert made.labels.shape == tiled.test_labels.shape and made.labels.dtype == np.int32
        assert made.foreground.shape == made.labels.shape
    assert found[INTENSITY].labels.min() > 0
    kept = read_segmentation(tiled, "late", EMBEDDING)
    np.testing.assert_array_equal(kept.labels, found[EMBEDDING].labels)
    assert not (tiled.run.path / ".tiles").exists()


def test_ids_on_disk_are_a_volume_that_opens(trained_study, tmp_path):
    model, test = trained_study.model("late"), trained_study.parts["test"]
    p = trained_study.parameters.model_copy(update={"decode_tile_planes": 5, "decode_tile_side": 24})
    decode = partial(by_embedding, threshold=0.5, min_size=20)
    on_disk = segment_volume(model, test, p, decode, path=tmp_path / "ids.zarr")
    assert isinstance(on_disk, zarr.Array) and on_disk.dtype == np.int32
    np.testing.assert_array_equal(on_disk[:], segment_volume(model, test, p, decode))
    assert open_zarr(tmp_path / "ids.zarr").spacing == test.spacing
    before = sorted(tmp_path.iterdir())

    def broken(volume, found):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        segment_volume(model, test, p, broken, path=tmp_path / "ids.zarr")
    assert sorted(tmp_path.iterdir()) == before
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "ids.zarr", mode="r")[:], on_disk[:])


PEAK = """
import sys
from pathlib import Path
import numpy as np, torch, zarr
from mtl.datasets.em import open_zarr
from mtl.models.em import EMModel
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.tiled_decoding import segment_volume
from mtl.studies.em.window_benchmarks import peak_mib

folder, depth, tile = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
shape, chunks = (depth, 96, 96), (8, 96, 96)
image = zarr.create_array(store=str(folder / "image.zarr"), shape=shape, chunks=chunks, dtype="uint8")
image.attrs["resolution"] = [10, 10, 10]
rng = np.random.default_rng(0)
for start in range(0, depth, 8):
    image[start : start + 8] = rng.integers(0, 255, (8, 96, 96), dtype=np.uint8)
model = EMModel(features=4, embedding_channels=8, blocks_down=(1, 1), blocks_up=(1,))
p = EMParameters(window_planes=16, window_side=96, decode_tile_planes=tile, decode_tile_overlap=0.2)
volume = open_zarr(folder / "image.zarr")


def decode(volume, found):  # quick: noise has no objects worth a look
    return 1 + (found.embedding.mean(0) > 0)


segment_volume(model, volume.part(slice(0, 16), "warm-up"), p, decode)
before = peak_mib()
segment_volume(model, volume, p, decode, path=folder / "ids.zarr")
print(peak_mib() - before)
"""


#: What is freed goes back to the system at once: otherwise the C library's habits are measured too.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}


@pytest.mark.slow
def test_memory_holds_one_tile_whatever_the_depth(tmp_path):
    peaks = {}
    for depth, tile in ((40, 20), (240, 20), (240, 0)):
        folder = tmp_path / f"{depth}_{tile}"
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(folder), str(depth), str(tile)],
            env=os.environ | GIVE_BACK,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        peaks[depth, tile] = float(done.stdout)
    assert peaks[240, 20] < peaks[40, 20] + 10, peaks  # MiB; the outputs of the whole are 76
    assert peaks[240, 0] > peaks[240, 20] + 40, peaks
