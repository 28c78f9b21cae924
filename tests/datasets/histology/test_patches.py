"""Patches: enough outlined pixels, everything turned alike, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.datasets.histology import NucleiTile, PatchDataset, StainAugmentation, collate
from mtl.datasets.histology.augmentation import hue_turn
from mtl.datasets.histology.patches import patch_places
from mtl.datasets.phantoms.histology import histology_phantom
from mtl.errors import ParameterError


def ids_as_map(instances: np.ndarray) -> np.ndarray:
    return instances[None].astype(np.float32)


@pytest.fixture
def phantom() -> list[NucleiTile]:
    return histology_phantom(4, 96, seed=3)


def dataset(tiles, **options) -> PatchDataset:
    outlined = [np.where(tile.instances % 3 == 1, tile.instances, 0) for tile in tiles]
    return PatchDataset(tiles, outlined, 48, 20, ids_as_map, **options)


def test_a_patch_is_what_the_tile_holds_there(phantom) -> None:
    by_id = {tile.id: tile for tile in phantom}
    for sample in map(dataset(phantom).__getitem__, range(20)):
        name, _, corner = sample["id"].rpartition("/")
        y, x = (int(value) for value in corner.split("_"))
        box = slice(y, y + 48), slice(x, x + 48)
        tile = by_id[name]
        image = tile.image[box].transpose(2, 0, 1).astype(np.float32) / 255
        np.testing.assert_array_equal(sample["images"].numpy(), image)
        outlined = np.where(tile.instances[box] % 3 == 1, tile.instances[box], 0)
        np.testing.assert_array_equal(sample["hv_maps"][0].numpy(), outlined)
        np.testing.assert_array_equal(sample["masks"][0].numpy(), outlined > 0)
        np.testing.assert_array_equal(sample["hidden"][0].numpy(), tile.instances[box] > 0)
        assert sample["weights"].eq(1).all() and sample["masks"].sum() >= 100


def test_every_part_of_a_sample_is_turned_alike(phantom) -> None:
    turned = dataset(phantom, augmentation=StainAugmentation(0, 0, 0, 0, 0))
    marked = [
        NucleiTile(t.id, np.repeat(((t.instances > 0) * 255)[..., None], 3, 2).astype(np.uint8), t.instances,
                   t.source, t.group)
        for t in phantom
    ]  # fmt: skip
    turned.sources = [
        (marked[[t.id for t in phantom].index(tile.id)], outlined, places)
        for tile, outlined, places in turned.sources
    ]
    moved = 0
    for sample in map(turned.__getitem__, range(20)):
        assert torch.equal(sample["images"][0] > 0.5, sample["hidden"][0])
        assert torch.equal(sample["hv_maps"] > 0, sample["masks"] > 0)
        assert (sample["masks"].bool() <= sample["hidden"]).all()
        moved += 1
    assert moved == 20


def test_patches_depend_on_seed_epoch_and_index_alone(phantom) -> None:
    one, other = (dataset(phantom, augmentation=StainAugmentation(), seed=5) for _ in range(2))
    other.set_epoch(1)
    other[7]
    assert torch.equal(one[3]["images"], (other.set_epoch(0), other[3])[1]["images"])
    before = one[3]["images"]
    one.set_epoch(1)
    assert not torch.equal(one[3]["images"], before)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(0, 12))
def test_places_are_those_with_enough_pixels(seed: int, size: int, at_least: int) -> None:
    positive = np.random.default_rng(seed).random((9, 11)) < 0.3
    expected = [
        y * (11 - size + 1) + x
        for y in range(9 - size + 1)
        for x in range(11 - size + 1)
        if positive[y : y + size, x : x + size].sum() >= max(at_least, 1)
    ]
    assert patch_places(positive, size, at_least).tolist() == expected


def test_what_cannot_be_drawn_is_refused(phantom, tile: NucleiTile) -> None:
    with pytest.raises(ParameterError, match=r"patches of 200 pixels do not fit 'phantom/tile_000'"):
        PatchDataset(phantom, [t.instances for t in phantom], 200, 4, ids_as_map)
    with pytest.raises(ParameterError, match="min_positive_pixels=1000 outlined pixels"):
        PatchDataset([tile], [tile.instances], 24, 4, ids_as_map, min_positive_pixels=1000)
    with pytest.raises(IndexError):
        dataset(phantom)[-1]


def test_weights_come_from_the_outlined_nuclei_and_batches_are_stacked(phantom) -> None:
    weighted = dataset(phantom, weight=lambda instances: 1 + (instances > 0))
    batch = collate([weighted[0], weighted[1]])
    assert torch.equal(batch["weights"], 1 + batch["masks"])
    assert batch["images"].shape == (2, 3, 48, 48) and len(batch["id"]) == 2


def test_stains_change_within_range_and_nothing_changes_at_zero(phantom) -> None:
    image = phantom[0].image.astype(np.float32) / 255
    rng = np.random.default_rng(0)
    assert StainAugmentation(0, 0, 0, 0, 0).recolour(image, rng) is image
    for changes in ((0.3, 0.05, 0.3, 0, 0), (0, 0, 0, 1, 1), ()):
        changed = StainAugmentation(*changes).recolour(image, rng)
        assert changed.dtype == np.float32 and changed.min() >= 0 and changed.max() <= 1
        assert 0.005 < np.abs(changed - image).mean() < 0.4


def test_another_hue_leaves_white_white_and_as_much_light_absorbed_in_all(phantom) -> None:
    turn = hue_turn(2.0, 1.0)
    density = np.random.default_rng(0).uniform(0, 2, (50, 3))
    np.testing.assert_allclose((density @ turn).mean(axis=1), density.mean(axis=1))
    np.testing.assert_allclose(np.linalg.norm(density @ turn, axis=1), np.linalg.norm(density, axis=1))
    np.testing.assert_allclose(hue_turn(0.0, 1.0), np.eye(3), atol=1e-12)
    np.testing.assert_allclose(hue_turn(2 * np.pi / 3, 1.0), np.roll(np.eye(3), 1, axis=1), atol=1e-12)
    np.testing.assert_allclose(
        density @ hue_turn(1.0, 0.0), density.mean(axis=1, keepdims=True) + 0 * density
    )
    still = StainAugmentation(0, 0, 0, 1, 1).recolour(
        np.ones((4, 4, 3), np.float32), np.random.default_rng(1)
    )
    assert (still == 1).all()
