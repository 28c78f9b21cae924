"""Maps of nuclei against loops that read like the formulas, and against MONAI."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtl.datasets.phantoms.histology import histology_phantom
from mtl.errors import DataError
from mtl.models.histology.multitask import HV_CHANNELS
from mtl.targets.histology import HV_MAPS, distance_map, hover_maps


def slow_distance(instances: np.ndarray) -> np.ndarray:
    maps = np.zeros(instances.shape)
    for nucleus in set(np.unique(instances)) - {0}:
        pixels = np.argwhere(instances == nucleus)
        squared = [(np.linalg.norm(pixel - pixels.mean(0)) + 10) ** 2 for pixel in pixels]
        for pixel, value in zip(pixels, squared, strict=True):
            maps[tuple(pixel)] = value / max(squared)
    return maps[None]


def slow_hover(instances: np.ndarray) -> np.ndarray:
    maps = np.zeros((2, *instances.shape))
    for nucleus in set(np.unique(instances)) - {0}:
        pixels = np.argwhere(instances == nucleus)
        for channel, axis in ((0, 1), (1, 0)):
            away = pixels[:, axis] - pixels[:, axis].mean()
            for pixel, offset in zip(pixels, away, strict=True):
                side = -away.min() if offset < 0 else away.max()
                maps[(channel, *pixel)] = offset / side if abs(offset) > 1e-9 else 0.0
    return maps


def random_instances(seed: int) -> np.ndarray:
    """Blobs, crumbs, one-pixel nuclei, ids with gaps, nuclei in two pieces."""
    rng = np.random.default_rng(seed)
    instances = np.zeros((14, 17), np.int64)
    for _ in range(rng.integers(0, 7)):
        y, x, h, w = rng.integers(0, [13, 16, 7, 7])
        instances[y : y + h + 1, x : x + w + 1] = rng.integers(0, 60)
    instances[rng.random(instances.shape) < 0.05] = 0
    return instances


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
@example(10252)  # a side of a fifth of a pixel
def test_maps_equal_loops_over_pixels(seed: int) -> None:
    instances = random_instances(seed)
    np.testing.assert_allclose(distance_map(instances), slow_distance(instances), atol=2e-6)
    np.testing.assert_allclose(hover_maps(instances), slow_hover(instances), atol=2e-6)


def test_hover_maps_are_monais() -> None:
    from monai.transforms import ComputeHoVerMaps

    instances = histology_phantom(1, 160, n_groups=1, seed=3)[0].instances
    theirs = np.asarray(ComputeHoVerMaps()(instances[None].astype(np.int32)))
    np.testing.assert_allclose(hover_maps(instances), theirs, atol=2e-6)


def test_touching_nuclei_have_a_centre_each() -> None:
    instances = np.zeros((9, 20), int)
    instances[2:7, 2:9], instances[2:7, 9:16] = 1, 2
    distance, (horizontal, _) = distance_map(instances)[0], hover_maps(instances)
    assert distance[4, 5] == distance[4, 12] == distance[instances > 0].min()
    assert horizontal[4, 8] == 1 and horizontal[4, 9] == -1, "the sign changes at the border between them"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 3))
def test_a_quarter_turn_of_the_ids_turns_the_maps(seed: int, quarters: int) -> None:
    instances = random_instances(seed)
    turned = np.rot90(instances, quarters)
    rounding = 4 * np.finfo(np.float32).eps * max(instances.shape)  # of coordinates, in nuclei a pixel wide
    np.testing.assert_allclose(
        distance_map(turned)[0], np.rot90(distance_map(instances)[0], quarters), atol=rounding
    )
    maps = hover_maps(instances)
    for _ in range(quarters):  # counter-clockwise: what was to the right is above
        maps = np.stack([np.rot90(maps[1]), -np.rot90(maps[0])])
    np.testing.assert_allclose(hover_maps(turned), maps, atol=rounding)


@pytest.mark.parametrize("name", HV_MAPS)
def test_range_channels_and_background(name: str) -> None:
    instances = histology_phantom(1, 96, n_groups=1, seed=5)[0].instances
    maps = HV_MAPS[name](instances)
    assert maps.dtype == np.float32 and maps.shape == (HV_CHANNELS[name], 96, 96)
    assert (maps[:, instances == 0] == 0).all() and maps.max() == pytest.approx(1)
    assert maps.min() >= (0 if name == "distance" else -1.00001)
    assert (HV_MAPS[name](np.zeros((5, 6), int)) == 0).all()
    with pytest.raises(DataError, match="not an integer type"):
        HV_MAPS[name](np.zeros((5, 6)))
