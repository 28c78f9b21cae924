"""Collapse monitors: closed forms and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import DataError
from mtl.evaluation.angiography import alignment, collapse_monitors, effective_rank, uniformity


def test_alignment_of_equal_orthogonal_and_opposite_pairs() -> None:
    eye = np.eye(3)
    assert alignment(eye, 5 * eye) == 0
    assert alignment(eye, np.roll(eye, 1, axis=0)) == pytest.approx(2)
    assert alignment(eye, -eye) == pytest.approx(4)


def test_uniformity_of_a_point_an_axis_and_an_orthogonal_frame() -> None:
    assert uniformity(np.ones((5, 4))) == pytest.approx(0, abs=1e-12)
    assert uniformity([[1.0, 0.0], [-2.0, 0.0]]) == pytest.approx(-8), "distance 2: exp(-2 * 4)"
    assert uniformity(np.eye(6)) == pytest.approx(-4), "all distances are sqrt(2)"
    assert uniformity(np.eye(6), temperature=0.5) == pytest.approx(-1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 7), st.integers(1, 5))
def test_uniformity_and_alignment_equal_the_loops(seed: int, n: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n, width))
    u, v = ([row / math.sqrt(sum(row**2)) for row in side] for side in (x, y))
    pairs = [math.exp(-2 * sum((u[i] - u[j]) ** 2)) for i in range(n) for j in range(n) if i != j]
    assert uniformity(x) == pytest.approx(math.log(sum(pairs) / len(pairs)))
    assert alignment(x, y) == pytest.approx(sum(sum((a - b) ** 2) for a, b in zip(u, v, strict=True)) / n)


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.outer(np.arange(1, 7), [1, 2, 3])) == pytest.approx(1)
    p = np.array([0.5, 0.25, 0.25])
    assert effective_rank(np.diag(8 * p)) == pytest.approx(2**1.5), "entropy of (1/2, 1/4, 1/4) is 1.5 bits"


def test_a_rotation_changes_no_monitor() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12, 6))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    for name, value in collapse_monitors(x @ turn, y @ turn).items():
        assert value == pytest.approx(collapse_monitors(x, y)[name]), name


def test_centring_takes_away_the_axis_of_a_cone() -> None:
    rng = np.random.default_rng(1)
    cone = rng.normal(size=(400, 8)) + 1000 * np.eye(8)[0]
    assert effective_rank(cone) < 1.2 < 7 < effective_rank(cone, centred=True) <= 8


def test_a_collapsed_space_is_seen() -> None:
    point = np.tile(np.random.default_rng(2).normal(size=16), (20, 1))
    found = collapse_monitors(point, point)
    assert found["alignment"] == 0 and found["uniformity_video"] == pytest.approx(0, abs=1e-9)
    assert found["effective_rank_video"] == found["effective_rank_report"] == 1


def test_errors() -> None:
    with pytest.raises(DataError, match="expected one report for each video"):
        alignment(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(DataError, match="1 of 2 embeddings are zero"):
        uniformity([[0.0, 0.0], [1.0, 0.0]])
    with pytest.raises(DataError, match="needs at least 2"):
        uniformity([[1.0, 0.0]])
    with pytest.raises(DataError, match="1 of 2 embeddings are not finite"):
        effective_rank([[np.nan, 0.0], [1.0, 0.0]])
    with pytest.raises(DataError, match="not empty"):
        effective_rank(np.zeros((0, 4)))
