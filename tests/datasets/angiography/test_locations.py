"""Boxes as tokens and back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.datasets.angiography.locations import box_tokens, tokens_to_box
from mtl.errors import ParameterError

edges = st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True).map(sorted)


@given(edges, edges, st.integers(1, 16), st.data())
@settings(max_examples=100, deadline=None)
def test_a_box_comes_back_to_half_a_bin(y: list, x: list, n_frames: int, data) -> None:
    frame = data.draw(st.integers(0, n_frames - 1))
    box = y[0], x[0], y[1], x[1]
    tokens = box_tokens(frame, n_frames, box)
    assert len(tokens) == 5 and tokens[0].startswith("[FRAME")
    back_frame, back = tokens_to_box(["a", *tokens, "[EOS]"], n_frames)
    assert back_frame == frame, "up to 16 frames each has a token of its own"
    assert max(abs(a - b) for a, b in zip(box, back, strict=True)) <= 1 / 128 + 1e-12


def test_tokens_are_those_of_the_formula() -> None:
    assert box_tokens(3, 8, (0.0, 0.26, 0.5, 1.0)) == ["[FRAME7]", "[LOC0]", "[LOC16]", "[LOC32]", "[LOC63]"]
    assert box_tokens(0, 1, (0.0, 0.0, 1.0, 1.0))[0] == "[FRAME8]"
    assert box_tokens(31, 32, (0.0, 0.0, 1.0, 1.0))[0] == "[FRAME15]"


def test_generated_tokens_may_be_out_of_order_or_none() -> None:
    frame, box = tokens_to_box(["[FRAME1]", "[LOC9]", "[LOC3]", "[LOC1]", "[LOC5]"], 16)
    assert frame == 1 and box == (1.5 / 64, 3.5 / 64, 9.5 / 64, 5.5 / 64)
    for tokens in ([], ["[FRAME1]"], ["[FRAME1]", "[LOC1]", "[LOC1]", "a", "[LOC1]"], ["[LOC1]"] * 5):
        assert tokens_to_box(tokens, 16) is None


def test_boxes_and_frames_outside_are_refused() -> None:
    with pytest.raises(ParameterError, match="frame=8: 0 to 7"):
        box_tokens(8, 8, (0, 0, 1, 1))
    for box in ((0, 0, 0, 1), (0.5, 0, 0.4, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1)):
        with pytest.raises(ParameterError, match="box="):
            box_tokens(0, 8, box)
