"""The tissue phantom: exact labels, its dials, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from mtl.datasets.histology import NucleiTile
from mtl.datasets.phantoms.histology import SMALLEST, histology_phantom
from mtl.errors import ParameterError


def touching_share(tiles: list[NucleiTile]) -> float:
    """Share of nuclei with a neighbour right beside them."""
    touching = total = 0
    for tile in tiles:
        pairs = set()
        for a, b in (
            (tile.instances[1:], tile.instances[:-1]),
            (tile.instances[:, 1:], tile.instances[:, :-1]),
        ):
            meet = (a != b) & (a > 0) & (b > 0)
            pairs |= set(a[meet]) | set(b[meet])
        touching, total = touching + len(pairs), total + len(tile.nucleus_ids)
    return touching / total


def colour_spread(tiles: list[NucleiTile]) -> float:
    """How far the slides' mean colours lie apart."""
    means = {}
    for tile in tiles:
        means.setdefault(tile.group, []).append(tile.image.mean((0, 1)))
    return float(np.std([np.mean(values, axis=0) for values in means.values()], axis=0).mean())


def test_the_same_arguments_give_the_same_tiles() -> None:
    first, again, other = (histology_phantom(3, 96, n_groups=2, seed=seed) for seed in (4, 4, 5))
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one.image, two.image) and np.array_equal(one.instances, two.instances)
    assert not np.array_equal(first[0].image, other[0].image)


def test_nuclei_are_whole_numbered_from_one_and_darker_than_what_surrounds_them() -> None:
    for tile in histology_phantom(8, 128, seed=2):
        assert tile.image.dtype == np.uint8 and tile.instances.dtype == np.int32
        assert tile.nucleus_ids.tolist() == list(range(1, len(tile.nucleus_ids) + 1))
        for nucleus in tile.nucleus_ids:
            inside = tile.instances == nucleus
            assert label(inside)[1] == 1 and inside.sum() >= SMALLEST
        red = tile.image[..., 0]
        assert red[tile.instances > 0].mean() < red[tile.instances == 0].mean() - 30


def test_groups_take_turns() -> None:
    assert [tile.group for tile in histology_phantom(5, 96, n_groups=2)] == [
        "slide_0", "slide_1", "slide_0", "slide_1", "slide_0",
    ]  # fmt: skip


def test_the_dials_turn_what_they_say() -> None:
    apart, crowded = (histology_phantom(12, 128, touching=share, seed=1) for share in (0.0, 0.8))
    assert touching_share(apart) < 0.15 < 0.5 < touching_share(crowded)
    alike, shifted = (histology_phantom(12, 128, stain_shift=shift, seed=1) for shift in (0.0, 0.4))
    assert colour_spread(shifted) > 2 * colour_spread(alike)
    few, many = (histology_phantom(12, 128, density=density, seed=1) for density in (0.3, 1.5))
    assert sum(len(t.nucleus_ids) for t in many) > 2 * sum(len(t.nucleus_ids) for t in few)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_tiles": 0}, {"side": 20}, {"n_groups": 9, "n_tiles": 4}, {"density": 0}, {"touching": 1.2},
        {"stain_shift": -0.1}, {"clutter": -1}, {"radius": 1},
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_named(wrong: dict) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        histology_phantom(**wrong)
