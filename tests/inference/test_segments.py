"""Parts, crumbs, growth, contacts, planes and merging, against scipy and naive loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from mtl.inference.em.agglomeration import merge_touching
from mtl.inference.segments import connected_parts, contacts, drop_small, grow, stacked_planes

labellings = st.one_of(
    arrays(np.int64, (6, 7), elements=st.integers(0, 3)),
    arrays(np.int64, (3, 4, 5), elements=st.integers(0, 3)),
)


@pytest.mark.parametrize("order", ["C", "F"])
def test_growing_does_not_depend_on_the_order_in_memory(order: str) -> None:
    labels = np.zeros((6, 7, 8), np.int32, order=order)
    labels[2, 3, 4] = 1
    assert grow(labels, np.ones(labels.shape, bool, order=order)).all()


def same_parts(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = set(zip(one.ravel().tolist(), other.ravel().tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@settings(max_examples=50, deadline=None)
@given(labellings, st.integers(0, 4))
def test_parts_equal_scipy_label_by_label(labels: np.ndarray, min_size: int) -> None:
    expected, last = np.zeros_like(labels), 0
    for instance in range(1, 4):
        parts, count = ndimage.label(labels == instance)
        for part in range(1, count + 1):
            if (parts == part).sum() >= min_size:
                last += 1
                expected[parts == part] = last
    found = connected_parts(labels, min_size)
    assert found.max() == last and same_parts(found, expected)


@settings(max_examples=50, deadline=None)
@given(labellings)
def test_contacts_equal_a_loop_over_voxels(labels: np.ndarray) -> None:
    expected = set()
    for point in np.ndindex(labels.shape):
        for axis in range(labels.ndim):
            after = tuple(n + (a == axis) for a, n in enumerate(point))
            if after[axis] < labels.shape[axis]:
                pair = sorted((int(labels[point]), int(labels[after])))
                if pair[0] > 0 and pair[0] != pair[1]:
                    expected.add(tuple(pair))
    assert {tuple(pair) for pair in contacts(labels).tolist()} == expected


def test_growth_goes_round_what_is_forbidden() -> None:
    labels = np.zeros((5, 5), np.int32)
    labels[0, 0], labels[4, 4] = 1, 2
    allowed = np.ones((5, 5), bool)
    allowed[2] = False  # a wall parts the two
    found = grow(labels, allowed)
    assert (found[:2] == 1).all() and (found[2] == 0).all() and (found[3:] == 2).all()
    assert labels[0, 1] == 0  # the argument is left alone


def test_growth_meets_half_way_and_leaves_islands() -> None:
    labels = np.array([[1, 0, 0, 0, 0, 2, 0, 0, 0]])
    allowed = np.array([[1, 1, 1, 1, 1, 1, 1, 0, 1]], bool)
    assert grow(labels, allowed).tolist() == [[1, 1, 1, 2, 2, 2, 2, 0, 0]]


def test_small_segments_become_background() -> None:
    assert drop_small(np.array([[1, 1, 1, 2, 0, 3, 3]]), 2).tolist() == [[1, 1, 1, 0, 0, 2, 2]]


def test_planes_share_no_id() -> None:
    stack = stacked_planes([np.array([[0, 1, 2]]), np.array([[2, 2, 0]]), np.array([[0, 0, 1]])])
    assert stack.tolist() == [[[0, 1, 2]], [[4, 4, 0]], [[0, 0, 5]]]


def strips(*values: float, width: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Segments side by side whose embedding (one channel) has these values."""
    labels = np.repeat(np.arange(1, len(values) + 1), width)[None].repeat(8, 0)
    return labels.astype(np.int32), np.asarray(values, np.float32)[labels - 1][None]


def test_nearest_pairs_are_merged_first_and_means_follow() -> None:
    labels, embedding = strips(0.0, 0.8, 1.4, 5.0)
    # 2 and 3 join at 1.1; segment 1 is then 1.1 away, though it was 0.8 from segment 2.
    assert merge_touching(labels, embedding, 1.0)[0, ::20].tolist() == [1, 2, 2, 3]
    assert merge_touching(labels, embedding, 1.2)[0, ::20].tolist() == [1, 1, 1, 2]
    assert merge_touching(labels, embedding, 0.5)[0, ::20].tolist() == [1, 2, 3, 4]


def test_only_touching_segments_are_merged() -> None:
    labels, embedding = strips(0.0, 4.0, 0.1)
    assert merge_touching(labels, embedding, 1.0)[0, ::20].tolist() == [1, 2, 3]
    labels[labels == 2] = 0
    labels[labels == 3] = 2
    assert merge_touching(labels, embedding, 1.0)[0, ::20].tolist() == [1, 0, 2]


@pytest.mark.parametrize("seed", range(5))
def test_merging_leaves_no_touching_pair_that_is_near(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = connected_parts(np.kron(rng.integers(1, 9, (6, 6)), np.ones((7, 7), int)))
    values = rng.uniform(0, 6, (labels.max() + 1, 2)).astype(np.float32)
    embedding = np.moveaxis(values[labels], -1, 0)
    found = merge_touching(labels, embedding, 1.5)
    assert found.max() < labels.max()
    for i in range(1, labels.max() + 1):
        assert len(np.unique(found[labels == i])) == 1  # merged, never cut
    means = {i: embedding[:, found == i].mean(1) for i in range(1, found.max() + 1)}
    near = [np.linalg.norm(means[a] - means[b]) for a, b in contacts(found).tolist()]
    assert min(near, default=9) > 1.5 - 0.2  # means are of every 7th voxel
