"""What travels to the browser: decoded again and compared with the rule, pixel by pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageColor

from mtl.errors import DataError, ParameterError
from mtl.interactive.pictures import (
    INSIDE,
    INSTANCE_COLOURS,
    MASK_COLOUR,
    border,
    checked_picture,
    overlay_png,
)


def decoded(png: bytes, mode: str | None = None) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as opened:
        return np.asarray(opened.convert(mode) if mode else opened)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (2, 5, 7), (2, 5, 7, 3)])
def test_uint8_arrives_unchanged(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    picture = checked_picture(image)
    assert picture.flat == (len(shape) == 2 or shape == (5, 7, 3))
    last = picture.shape[0] - 1
    np.testing.assert_array_equal(decoded(picture.png(last)), image if picture.flat else image[last])


@pytest.mark.parametrize(
    ("image", "window", "expected"),
    [
        (np.array([[0.0, 0.5], [1.0, 0.2]]), None, [[0, 128], [255, 51]]),
        (np.array([[-1.0, 1.0], [3.0, 0.0]]), None, [[0, 128], [255, 64]]),
        (np.array([[100, 300], [200, 100]], dtype=np.uint16), None, [[0, 255], [128, 0]]),
        (np.array([[10, 20], [30, 40]], dtype=np.uint8), (20, 30), [[0, 0], [255, 255]]),
        (np.array([[False, True]]), None, [[0, 255]]),
        (np.full((1, 2), 7.0), None, [[0, 0]]),
        (np.array([[np.nan, 2.0, 4.0]]), None, [[0, 0, 255]]),
    ],
    ids=["unit floats", "other floats", "uint16", "window", "bool", "constant", "nan"],
)
def test_grey_values_are_spread_over_the_window(image, window, expected):
    np.testing.assert_array_equal(decoded(checked_picture(image, window).png(0)), expected)


def test_the_window_is_that_of_the_volume_not_of_the_slice():
    volume = np.stack([np.full((2, 2), 10.0), np.full((2, 2), 20.0), np.full((2, 2), 30.0)])
    assert [int(checked_picture(volume).pixels(z)[0, 0]) for z in range(3)] == [0, 128, 255]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(5), "shape .5,."),
        (np.zeros((0, 5)), "shape .0, 5."),
        (np.zeros((2, 3, 4, 5)), "is expected"),
        (np.array([["a", "b"]]), "whole numbers, floats or bool"),
        ("brain.png", "shape ..:"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(DataError, match=message):
        checked_picture(image)


@pytest.mark.parametrize("window", [(1, 1), (2, 1), (0,), "ab", 3, (0, float("nan"))])
def test_what_is_no_window_is_refused(window):
    with pytest.raises(ParameterError, match="two grey values"):
        checked_picture(np.zeros((2, 2)), window)


def test_labels_of_another_shape_or_type_are_refused():
    picture = checked_picture(np.zeros((4, 5)))
    with pytest.raises(DataError, match=r"the mask has shape \(5, 4\); the image's \(4, 5\)"):
        picture.stack(np.zeros((5, 4), bool), "the mask")
    with pytest.raises(DataError, match="the mask is float64; bool or whole numbers"):
        picture.stack(np.zeros((4, 5)), "the mask")


LABELS = arrays(np.int64, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 9))


def borders_by_loops(labels: np.ndarray) -> np.ndarray:
    found = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(labels.shape):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= v < labels.shape[0] and 0 <= u < labels.shape[1]
            found[y, x] |= bool(inside and labels[y, x] != 0 and labels[v, u] != labels[y, x])
    return found


@settings(max_examples=50)
@given(LABELS)
def test_an_overlay_has_the_colour_of_every_label_and_firm_borders(labels):
    own = {4: "#123456", 5: MASK_COLOUR}
    shown = decoded(overlay_png(labels, own), "RGBA")
    edge = borders_by_loops(labels)
    np.testing.assert_array_equal(border(labels), edge)
    for place, label in np.ndenumerate(labels):
        alpha = 0 if label == 0 else 255 if edge[place] else INSIDE
        assert shown[place][3] == alpha
        if label:
            colour = own.get(int(label), INSTANCE_COLOURS[(label - 1) % len(INSTANCE_COLOURS)])
            assert tuple(shown[place][:3]) == ImageColor.getrgb(colour)


def test_large_ids_and_bool_masks_are_drawn():
    ids = np.array([[0, 2**60 + 1]])
    assert decoded(overlay_png(ids), "RGBA")[0, :, 3].tolist() == [0, 255]
    mask = np.array([[True, True, False]])
    assert decoded(overlay_png(mask, {1: MASK_COLOUR}), "RGBA")[0, 0].tolist() == [
        *ImageColor.getrgb(MASK_COLOUR),
        INSIDE,
    ]


def test_too_many_colours_are_refused():
    with pytest.raises(ParameterError, match="at most 127"):
        overlay_png(np.ones((2, 2), int), {n: f"#0000{n:02x}" for n in range(1, 130)})


def relative_luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in
              (value / 255 for value in ImageColor.getrgb(colour))]  # fmt: skip
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_the_white_signs_on_points_have_the_contrast_of_graphics():
    from mtl.interactive.pictures import NEGATIVE_COLOUR, POSITIVE_COLOUR

    for colour in (POSITIVE_COLOUR, NEGATIVE_COLOUR):
        assert 1.05 / (relative_luminance(colour) + 0.05) >= 3  # WCAG 2.2, 1.4.11


@pytest.mark.parametrize("value", [1e17, 1e20, -1e300])
def test_one_grey_value_however_large_can_be_shown(value: float) -> None:
    assert checked_picture(np.full((3, 3), value)).pixels(0).max() == 0


def test_neighbouring_whole_numbers_stay_apart() -> None:
    image = np.array([[4_000_000_000, 4_000_000_001]], np.uint32)
    assert checked_picture(image).pixels(0).tolist() == [[0, 255]]


def test_ragged_rows_and_colours_that_are_none_are_named() -> None:
    with pytest.raises(DataError, match="rows of different lengths"):
        checked_picture([[1, 2], [3]])
    with pytest.raises(ParameterError, match="'nocolour': \"#rrggbb\" is expected"):
        overlay_png(np.ones((2, 2), int), {1: "nocolour"})
