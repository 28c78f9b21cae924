"""Merging across weak walls: what falls, what stays, and how a wall of two parts counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.inference.em.weak_walls import merge_across_weak_walls


def _same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = np.unique(np.stack([one.ravel(), other.ravel()], 1), axis=0)
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


@given(seed=st.integers(0, 2**32 - 1), height=st.floats(0.2, 0.8))
def test_layers_are_cut_just_where_a_wall_is_strong(seed: int, height: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(1, 9), rng.integers(2, 6, 8))[:, None].repeat(9, 1)[..., None].repeat(3, 2)
    inside = rng.random(labels.shape)
    ends = np.flatnonzero(np.diff(labels[:, 0, 0]))  # in layers no two walls meet, so no wall is formed anew
    cuts = np.array([inside[end : end + 2].mean() <= height for end in ends])
    expected = np.concatenate([[0], np.cumsum(cuts)])[labels - 1]
    assert _same_partition(merge_across_weak_walls(labels, inside, height), expected)


@pytest.mark.parametrize(("width", "together"), [(10, False), (30, True)])
def test_a_wall_of_two_parts_counts_by_its_voxels(width: int, together: bool) -> None:
    """Two cells that are merged first stand on a third: weakly parted from one, strongly from the other."""
    labels = np.ones((40, 40), int)
    labels[:20, width:] = 2
    labels[20:] = 3
    inside = np.full((40, 40), 0.9)
    inside[19:21, :width], inside[19:21, width:] = 0.7, 0.3  # over all: 0.4, or 0.6
    found = merge_across_weak_walls(labels, inside, 0.5)
    assert found.max() == (1 if together else 2)
    assert found[0, 0] == found[0, -1]


def test_a_gap_in_a_membrane_does_not_join_what_the_rest_of_it_parts() -> None:
    inside = np.ones((20, 60))
    inside[:, 30] = 0.0
    inside[10:12, 30] = 1.0  # the gap
    labels = np.repeat(np.repeat([[1, 2, 3, 4]], 20, 0), 15, 1)
    merged = merge_across_weak_walls(labels, inside, 0.6)
    assert _same_partition(merged, np.repeat(np.repeat([[1, 2]], 20, 0), 30, 1))


def test_one_basin_stays() -> None:
    labels = np.ones((4, 4), np.int32)
    assert np.array_equal(merge_across_weak_walls(labels, np.ones((4, 4)), 0.5), labels)
