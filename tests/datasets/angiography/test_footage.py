"""Sampling in time, squares, and where frames and boxes go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.datasets.angiography.footage import fit_square, make_footage, placement, sample_positions
from mtl.errors import DataError, ParameterError


@given(st.integers(1, 200), st.integers(1, 64))
@settings(max_examples=80, deadline=None)
def test_frames_are_the_middles_of_equal_stretches(length: int, n_frames: int) -> None:
    positions = sample_positions(length, n_frames)
    expected = [int((i + 0.5) * length / n_frames + 1e-9) for i in range(n_frames)]
    assert positions.tolist() == expected
    counts = np.bincount(positions, minlength=length)
    if n_frames >= length:
        assert counts.max() - counts.min() <= 1, "repeated evenly"
    else:
        assert counts.max() == 1, "no frame twice where there are enough"


@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 64))
@settings(max_examples=80, deadline=None)
def test_the_square_keeps_the_aspect_and_is_filled_by_the_longer_side(h: int, w: int, size: int) -> None:
    top, left, height, width = placement((h, w), size)
    assert max(height, width) == size and min(height, width) >= 1
    assert abs(height * w - width * h) <= max(h, w) * 0.5 + 1e-9 or min(height, width) == 1
    for start, extent in ((top, height), (left, width)):
        assert 0 <= start <= size - extent - start <= start + 1, "the same bar on both sides, to a pixel"


def test_a_wide_picture_gets_black_bars_above_and_below() -> None:
    square = fit_square(np.ones((20, 40, 3), np.float32), 16)
    assert square.shape == (16, 16, 3)
    assert np.allclose(square[4:12], 1) and (square[:4] == 0).all() and (square[12:] == 0).all()


def test_a_box_follows_its_picture_into_the_square() -> None:
    image = np.zeros((24, 48), np.float32)
    image[6:12, 24:36] = 1
    footage = make_footage([image], 1, 48, "it")
    y0, x0, y1, x1 = footage.box_of((6 / 24, 24 / 48, 12 / 24, 36 / 48))
    bright = np.argwhere(footage.frames[0, ..., 0] > 0.5)
    assert bright.min(0).tolist() == [y0 * 48, x0 * 48]
    assert (bright.max(0) + 1).tolist() == [y1 * 48, x1 * 48]


def test_a_frame_is_found_at_the_nearest_sampled_one() -> None:
    footage = make_footage([np.full((8, 8), t / 32, np.float32) for t in range(32)], 8, 8, "it")
    assert footage.sampled.tolist() == [2, 6, 10, 14, 18, 22, 26, 30]
    assert [footage.position_of(frame) for frame in (0, 2, 5, 18, 31)] == [0, 0, 1, 4, 7]
    assert footage.video.shape == (3, 8, 8, 8)
    np.testing.assert_allclose(footage.video[0, :, 0, 0], footage.sampled / 32, atol=1 / 65535)


def test_no_frame_and_frames_of_two_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="film: a clip of zero length"):
        make_footage([], 4, 8, "film")
    with pytest.raises(DataError, match=r"film: frame 1 has shape \(8, 9\)"):
        make_footage([np.zeros((8, 8)), np.zeros((8, 9))], 4, 8, "film")
    with pytest.raises(ParameterError, match="n_frames=0"):
        make_footage([np.zeros((8, 8))], 0, 8, "film")
    with pytest.raises(ParameterError, match="size=0"):
        make_footage([np.zeros((8, 8))], 1, 0, "film")
