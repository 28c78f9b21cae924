"""The one preprocessing: head mask, z-score, crop, resize, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.datasets.brain_mri.normalisation import BrainNormalisation, Geometry
from mtl.errors import DataError, ParameterError


def ellipse(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    rows, columns = np.indices(shape)
    return np.hypot((rows - centre[0]) / radii[0], (columns - centre[1]) / radii[1]) < 1


def textured(mask: np.ndarray, background: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(120, 25, mask.shape).clip(60, 230)
    return np.where(mask, noise, background).astype(np.float32)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


HEAD = ellipse((160, 130), (82, 63), (66, 52))


@pytest.mark.parametrize("background", [0.0, 12.0, 30.0])
def test_the_head_is_found_on_dark_and_grey(background: float) -> None:
    assert iou(BrainNormalisation().brain_mask(textured(HEAD, background)), HEAD) > 0.95


def test_white_paper_round_the_picture_is_not_the_head() -> None:
    framed = np.pad(textured(HEAD, 0.0), ((14, 14), (20, 20)), constant_values=255)
    assert iou(BrainNormalisation().brain_mask(framed), np.pad(HEAD, ((14, 14), (20, 20)))) > 0.93


def test_frames_captions_and_bars_are_left_out() -> None:
    image = textured(HEAD, 0.0)
    image[0:2], image[-2:], image[:, 0:2], image[:, -2:] = 255, 255, 255, 255
    image[5:8, 5:30] = 200
    image[150:154, 100:125:3] = 240
    mask = BrainNormalisation().brain_mask(image)
    assert iou(mask, HEAD) > 0.94
    assert not mask[:10, :32].any()


def test_dark_holes_inside_the_head_belong_to_it() -> None:
    image = textured(HEAD, 0.0)
    hole = ellipse(HEAD.shape, (80, 60), (15, 10))
    assert BrainNormalisation().brain_mask(np.where(hole, 0, image))[hole].all()


def test_z_score_by_hand() -> None:
    rule = BrainNormalisation(clip=2.0, background=-1.0)
    image = textured(HEAD, 0.0)
    mask = rule.brain_mask(image)
    values = image[mask].astype(float)
    expected = np.full(image.shape, -1.0)
    expected[mask] = ((values - values.mean()) / values.std()).clip(-2, 2)
    result = rule.normalise(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert np.abs(result).max() == pytest.approx(2.0)


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(0.01, 50), offset=st.floats(0, 500), seed=st.integers(0, 99))
def test_grey_scale_does_not_matter(gain: float, offset: float, seed: int) -> None:
    image = textured(HEAD, 5.0, seed)
    first, _ = BrainNormalisation().prepare(image, 48)
    second, _ = BrainNormalisation().prepare(image * gain + offset, 48)
    np.testing.assert_allclose(first, second, atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(pads=st.tuples(*[st.integers(8, 60)] * 4))
def test_padding_does_not_matter(pads: tuple[int, int, int, int]) -> None:
    image = textured(HEAD, 0.0)
    top, bottom, left, right = pads
    _, plain = BrainNormalisation().prepare(image, 64)
    _, padded = BrainNormalisation().prepare(np.pad(image, ((top, bottom), (left, right))), 64)
    assert abs(padded.top - top - plain.top) <= 3 and abs(padded.left - left - plain.left) <= 3
    assert abs(padded.height - plain.height) <= 4 and abs(padded.width - plain.width) <= 4


@pytest.mark.parametrize("shape", [(160, 130), (90, 200), (333, 222)])
@pytest.mark.parametrize("crop", [True, False])
def test_a_mask_survives_the_way_there_and_back(shape: tuple[int, int], crop: bool) -> None:
    middle = (shape[0] / 2, shape[1] / 2)
    image = textured(ellipse(shape, middle, (0.42 * shape[0], 0.4 * shape[1])), 0.0)
    tumour = ellipse(shape, (middle[0] + 4, middle[1] - 6), (0.12 * shape[0], 0.15 * shape[1]))
    rule = BrainNormalisation(crop=crop)
    _, geometry = rule.prepare(image, 128)
    back = rule.restore(rule.prepare_mask(tumour, geometry), geometry)
    assert back.shape == shape and back.dtype == np.uint8
    assert iou(back > 0, tumour) > 0.93


def test_prepared_image_and_mask_lie_on_each_other() -> None:
    tumour = ellipse(HEAD.shape, (60, 75), (14, 11))
    image = np.where(tumour, 250, np.where(HEAD, 100, 0)).astype(np.float32)
    rule = BrainNormalisation()
    prepared, geometry = rule.prepare(image, 96)
    assert iou(prepared > 1.0, rule.prepare_mask(tumour, geometry) > 0) > 0.9


def test_geometry_of_a_crop_by_hand() -> None:
    image = np.zeros((100, 120), np.float32)
    image[30:70, 20:100] = np.random.default_rng(0).uniform(100, 200, (40, 80))
    prepared, geometry = BrainNormalisation(margin=0.0).prepare(image, 40)
    assert abs(geometry.height - 40) <= 4 and abs(geometry.width - 80) <= 4
    assert geometry.side == geometry.width
    assert geometry.offset == ((geometry.width - geometry.height) // 2, 0)
    assert prepared.shape == (40, 40)
    np.testing.assert_array_equal(prepared[:8], 0.0)


def test_maps_come_back_as_floats() -> None:
    geometry = Geometry((50, 60), 10, 15, 30, 20, 16)
    back = BrainNormalisation().restore(np.full((16, 16), 0.25, np.float32), geometry)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back[10:40, 15:35], 0.25, atol=1e-6)
    assert back.sum() == pytest.approx(0.25 * 30 * 20, rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_pixel_is_refused(bad: float) -> None:
    image = textured(HEAD, 0.0)
    image[3, 4] = bad
    with pytest.raises(DataError, match="NaN or infinite"):
        BrainNormalisation().prepare(image, 32)


def test_constant_and_misshapen_images_are_refused() -> None:
    with pytest.raises(DataError, match="constant"):
        BrainNormalisation().normalise(np.full((20, 20), 7.0))
    with pytest.raises(DataError, match=r"\(H, W\)"):
        BrainNormalisation().prepare(np.zeros((3, 20, 20)), 32)
    with pytest.raises(DataError, match="does not lie"):
        BrainNormalisation().prepare_mask(np.zeros((5, 5)), Geometry((6, 5), 0, 0, 6, 5, 8))


def test_parameters_travel_as_plain_data() -> None:
    rule = BrainNormalisation(clip=3.0, crop=False, margin=0.1)
    assert BrainNormalisation.from_dict(rule.to_dict()) == rule
    with pytest.raises(ParameterError, match="colour"):
        BrainNormalisation.from_dict({"colour": 1})
    with pytest.raises(ParameterError, match="clip"):
        BrainNormalisation(clip=0.0)


def test_parameters_fit_in_json() -> None:
    import json

    rule = BrainNormalisation()
    assert BrainNormalisation.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule
