"""Nuclei as GeoJSON: polygons that fill the very pixels of the nuclei."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from mtl.inference.histology.nuclei_geojson import write_nuclei_geojson


def filled(geometry: dict, shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie in the geometry: in an odd number of its rings."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    coordinates = geometry["coordinates"]
    polygons = coordinates if geometry["type"] == "MultiPolygon" else [coordinates]
    inside = [Polygon(ring).contains_points(centres) for rings in polygons for ring in rings]
    return (np.sum(inside, axis=0) % 2 == 1).reshape(shape)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_polygons_fill_the_pixels_of_each_nucleus(tmp_path_factory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    instances = np.kron(rng.integers(0, 4, (4, 5)), np.ones((3, 3), int))
    instances[rng.random(instances.shape) < 0.05] = 0
    path = write_nuclei_geojson(tmp_path_factory.mktemp("out") / "tile.geojson", instances)
    features = json.loads(path.read_text())["features"]
    numbers = [n for n in range(1, 4) if (instances == n).any()]
    assert [f["properties"]["name"] for f in features] == [f"Nucleus {n}" for n in numbers]
    for number, feature in zip(numbers, features, strict=True):
        assert np.array_equal(filled(feature["geometry"], instances.shape), instances == number)


def test_a_ring_is_closed_wound_and_in_pixels_of_qupath(tmp_path: Path) -> None:
    instances = np.zeros((9, 12), int)
    instances[2:7, 4:11], instances[4, 6] = 5, 0
    path = write_nuclei_geojson(tmp_path / "tile.geojson", instances)
    [feature] = json.loads(path.read_text())["features"]
    outer, hole = (np.array(ring) for ring in feature["geometry"]["coordinates"])
    assert (
        (outer[0] == outer[-1]).all() and outer.min(0).tolist() == [4, 2] and outer.max(0).tolist() == [11, 7]
    )
    assert hole.min(0).tolist() == [6, 4] and hole.max(0).tolist() == [7, 5]
    x, y = outer.T
    assert (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() > 0, "outer rings run against the clock (RFC 7946)"
    assert feature["properties"]["objectType"] == "detection" and len(feature["id"]) == 36


def test_an_empty_tile_has_no_feature(tmp_path: Path) -> None:
    path = write_nuclei_geojson(tmp_path / "tile.geojson", np.zeros((4, 4), int))
    assert json.loads(path.read_text()) == {"type": "FeatureCollection", "features": []}
