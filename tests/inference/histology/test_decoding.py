"""From maps to nuclei: touching ones part, crumbs go, nothing is lost; the baseline; whole images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtl.datasets.phantoms.histology import histology_phantom
from mtl.errors import DataError, ParameterError
from mtl.evaluation.histology import image_scores
from mtl.inference.histology import METHODS, Decoding, decode, decode_each, otsu_nuclei, predict_maps
from mtl.inference.histology import prediction as prediction_module
from mtl.models.histology import UNetMultiTask
from mtl.targets.histology import HV_MAPS


@pytest.fixture(scope="module")
def tiles():
    return histology_phantom(4, 160, seed=11)


@pytest.mark.parametrize("maps", HV_MAPS)
def test_exact_maps_give_the_nuclei_back(tiles, maps: str) -> None:
    for tile in tiles:
        found = decode((tile.instances > 0) * 0.98 + 0.01, HV_MAPS[maps](tile.instances), Decoding())
        together = decode((tile.instances > 0) * 0.98 + 0.01, None, Decoding("components"))
        assert image_scores(found, tile.instances)["pq"] > 0.8
        assert image_scores(found, tile.instances)["pq"] > image_scores(together, tile.instances)["pq"]
        assert found.dtype == np.int32 and found.max() == len(np.unique(found)) - 1


@pytest.mark.parametrize("maps", ["distance", "hover"])
def test_many_decodings_at_once_give_what_each_gives(tiles, maps: str) -> None:
    tile = tiles[0]
    rng = np.random.default_rng(0)
    probability = np.clip((tile.instances > 0) * 0.6 + rng.uniform(0, 0.4, tile.shape), 0, 1)
    hv = HV_MAPS[maps](tile.instances)
    asked = [
        Decoding(method, threshold, min_distance, marker, 5)
        for method in METHODS
        for threshold in (0.3, 0.5)
        for min_distance, marker in ((3, 0.4), (8, 0.6))
    ]
    for decoding, found in zip(asked, decode_each(probability, hv, asked), strict=True):
        np.testing.assert_array_equal(found, decode(probability, hv, decoding))


def two_discs(gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of two discs of radius 7 whose centres are ``gap`` pixels apart."""
    y, x = np.mgrid[:24, : 24 + gap]
    return np.hypot(y - 12, x - 12) <= 7, np.hypot(y - 12, x - 12 - gap) <= 7


def test_touching_discs_part_by_their_shape_alone() -> None:
    left, right = two_discs(12)
    assert (left & right).any()
    probability = (left | right) * 0.9
    found = decode(probability, None, Decoding("shape", min_distance=5))
    assert found.max() == 2 and found[12, 12] != found[12, 24]
    assert image_scores(found, np.where(left, 1, 2 * right))["pq"] > 0.9
    assert decode(probability, None, Decoding("components")).max() == 1
    assert decode(probability, None, Decoding("shape", min_distance=13)).max() == 1


def test_small_neighbours_of_a_large_nucleus_are_kept_however_far_apart_peaks_must_be() -> None:
    probability = np.zeros((30, 30))
    probability[2:20, 2:20], probability[22:27, 5:10] = 0.9, 0.9
    for method in ("components", "shape"):
        assert decode(probability, None, Decoding(method, min_distance=20)).max() == 2


def test_a_component_without_a_marker_is_one_nucleus() -> None:
    probability, hv_map = np.zeros((20, 20)), np.ones((1, 20, 20), np.float32)
    probability[3:9, 3:9] = 0.9
    assert decode(probability, hv_map, Decoding()).max() == 1


def test_small_ones_are_dropped_and_holes_are_filled() -> None:
    probability = np.zeros((20, 20))
    probability[2:10, 2:10], probability[5, 5], probability[15:17, 15:17] = 0.9, 0.1, 0.9
    found = decode(probability, None, Decoding("components", min_size=20))
    assert found.max() == 1 and (found == 1).sum() == 64
    assert decode(probability, None, Decoding("components", min_size=1)).max() == 2


@pytest.mark.parametrize("method", METHODS)
def test_nothing_above_the_threshold_is_no_nucleus(method: str) -> None:
    for maps in (1, 2):
        empty = decode(np.zeros((16, 16)), np.zeros((maps, 16, 16), np.float32), Decoding(method))
        assert empty.shape == (16, 16) and not empty.any()


def test_a_missing_map_and_settings_out_of_range_are_named() -> None:
    with pytest.raises(ParameterError, match="return_hv=True"):
        decode(np.ones((8, 8)), None, Decoding("watershed"))
    for wrong in ({"method": "magic"}, {"threshold": 1.0}, {"marker": 0.0}, {"min_distance": 0}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            Decoding(**wrong)


def test_otsu_finds_most_nuclei_of_a_clean_phantom_and_none_in_an_even_picture() -> None:
    for tile in histology_phantom(3, 160, n_groups=1, clutter=0, touching=0, stain_shift=0, seed=2):
        assert image_scores(otsu_nuclei(tile.image), tile.instances)["f1"] > 0.6
    assert not otsu_nuclei(np.full((30, 30, 3), 200, np.uint8)).any()
    with pytest.raises(DataError, match="uint8"):
        otsu_nuclei(np.zeros((30, 30)))


def test_otsu_takes_a_dark_picture_as_fluorescence() -> None:
    image = np.full((40, 40, 3), 5, np.uint8)
    image[10:22, 10:22] = 120
    found = otsu_nuclei(image, sigma=0)
    assert found.max() == 1 and (found > 0).sum() == 144


def test_windows_give_what_the_whole_image_gives_in_their_middle(
    tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = UNetMultiTask(base_filters=4, depth=2)
    (whole,) = predict_maps(model, [tiles[0].image])
    monkeypatch.setattr(prediction_module, "LARGEST", 128)
    (windowed,) = predict_maps(model, [tiles[0].image])
    assert windowed.probability.shape == (160, 160) and windowed.hv_map.shape == (1, 160, 160)
    np.testing.assert_allclose(windowed.probability[:30, :30], whole.probability[:30, :30], atol=1e-5)
    assert predict_maps(model, [tiles[0].image], with_hv=False)[0].hv_map is None
    grey, floats, clear = tiles[0].image[..., 0], tiles[0].image / 255, tiles[0].image[..., [0, 1, 2, 2]]
    for wrong in (grey, floats, clear):
        with pytest.raises(DataError, match=r"image 1: .*uint8 \(H, W, 3\) is expected"):
            predict_maps(model, [tiles[0].image, wrong])
    with pytest.raises(ParameterError, match=r"images of shape \(2, 1, 32, 32\): \(B, 3, H, W\)"):
        model(torch.zeros(2, 1, 32, 32))
