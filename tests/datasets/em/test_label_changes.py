"""Relabelling, splitting, borders, less annotation: against naive loops, in 2-D and 3-D."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label as scipy_label

from mtl.datasets.em import UNKNOWN, contact_membrane, relabel, split_components
from mtl.datasets.em.label_changes import keep_blocks, keep_instances

IDS = st.sampled_from([UNKNOWN, 0, 1, 7, 135_717, 2**40])
LABELS = st.sampled_from([(5, 6), (3, 4, 5)]).flatmap(lambda shape: arrays(np.int64, shape, elements=IDS))


@settings(max_examples=40, deadline=None)
@given(LABELS)
def test_relabel_keeps_the_partition(labels: np.ndarray) -> None:
    new = relabel(labels)
    assert new.dtype == np.int64
    np.testing.assert_array_equal(new[labels <= 0], labels[labels <= 0])
    known = labels > 0
    n_instances = len(np.unique(labels[known]))
    assert sorted(np.unique(new[known])) == list(range(1, n_instances + 1))
    assert len(set(zip(labels[known], new[known], strict=True))) == n_instances


@settings(max_examples=40, deadline=None)
@given(LABELS)
def test_split_components_against_one_instance_at_a_time(labels: np.ndarray) -> None:
    new = split_components(labels)
    np.testing.assert_array_equal(new[labels <= 0], labels[labels <= 0])
    total = 0
    for identity in np.unique(labels[labels > 0]):
        reference, count = scipy_label(labels == identity, np.ones((3,) * labels.ndim))
        inside = labels == identity
        assert len(set(zip(reference[inside], new[inside], strict=True))) == count
        total += count
    assert set(np.unique(new[new > 0])) == set(range(1, total + 1))


def naive_contact(labels: np.ndarray, width: int) -> np.ndarray:
    """Voxels within ``width`` - 1 face steps of a voxel that touches another instance."""
    steps = [tuple(d) for d in np.vstack([np.eye(labels.ndim, dtype=int), -np.eye(labels.ndim, dtype=int)])]

    def neighbours(place: tuple[int, ...]):
        for step in steps:
            there = tuple(p + s for p, s in zip(place, step, strict=True))
            if all(0 <= t < n for t, n in zip(there, labels.shape, strict=True)):
                yield there

    places = list(product(*(range(n) for n in labels.shape)))
    reached = {
        p
        for p in places
        if labels[p] > 0 and any(labels[n] > 0 and labels[n] != labels[p] for n in neighbours(p))
    }
    for _ in range(width - 1):
        reached |= {n for place in reached for n in neighbours(place)}
    out = labels.copy()
    for place in reached:
        if out[place] > 0:
            out[place] = 0
    return out


@settings(max_examples=30, deadline=None)
@given(LABELS, st.integers(1, 3))
def test_contact_membrane_against_a_loop(labels: np.ndarray, width: int) -> None:
    before = labels.copy()
    np.testing.assert_array_equal(contact_membrane(labels, width), naive_contact(labels, width))
    np.testing.assert_array_equal(labels, before)


def test_a_contact_gets_a_border_on_both_sides() -> None:
    row = np.array([[4, 4, 4, 9, 9, 9, UNKNOWN, 2, 0, 3]])
    assert contact_membrane(row, 1).tolist() == [[4, 4, 0, 0, 9, 9, UNKNOWN, 2, 0, 3]]
    assert contact_membrane(row, 2).tolist() == [[4, 0, 0, 0, 0, 9, UNKNOWN, 2, 0, 3]]
    assert contact_membrane(row, 0).tolist() == row.tolist()


def test_kept_instances_are_the_same_in_every_crop() -> None:
    rng = np.random.default_rng(0)
    ids = rng.choice(10**6, (10, 10), replace=False).astype(np.int64) + 1
    labels = np.kron(ids, np.ones((7, 7), np.int64))
    labels[::7] = labels[:, ::7] = 0
    whole = keep_instances(labels, 0.4, "3/fib25")
    kept = np.unique(whole[whole > 0])
    assert 25 <= len(kept) <= 55, "about 40 of 100"
    part = keep_instances(labels[21:49, 14:35], 0.4, "3/fib25")
    assert set(np.unique(part[part > 0])) == set(kept) & set(np.unique(labels[21:49, 14:35]))
    assert set(np.unique(keep_instances(labels, 0.7, "3/fib25"))) >= set(kept), "a larger share adds"
    other = keep_instances(labels, 0.4, "4/fib25")
    assert set(np.unique(other[other > 0])) != set(kept)


def test_background_is_known_near_kept_instances_only() -> None:
    labels = np.array([[8, 0, 0, 0, 0, 0, 9, UNKNOWN]])
    seen = set()
    for seed in range(20):
        kept = keep_instances(labels, 0.5, f"{seed}/v")
        assert kept[0, 7] == UNKNOWN
        seen.add(tuple(kept[0, :7].tolist()))
    u = UNKNOWN
    assert seen == {(8, 0, 0, u, u, u, u), (u, u, u, u, 0, 0, 9), (8, 0, 0, u, 0, 0, 9), (u,) * 7}


@pytest.mark.parametrize(("shape", "block"), [((40, 60), (8, 10)), ((16, 24, 30), (8, 8, 10))])
def test_kept_blocks_lie_on_one_grid(shape: tuple[int, ...], block: tuple[int, ...]) -> None:
    labels = np.ones(shape, np.int64)
    whole = keep_blocks(labels, 0.5, "0/v", (0,) * len(shape), block)
    counts = tuple(n // b for n, b in zip(shape, block, strict=True))
    cut = whole.reshape([n for pair in zip(counts, block, strict=True) for n in pair])
    inner = tuple(range(1, 2 * len(shape), 2))
    assert (cut.min(axis=inner) == cut.max(axis=inner)).all(), "a block is known or unknown as a whole"
    assert 0.2 < (whole == 1).mean() < 0.8
    start = tuple(range(3, 3 + len(shape)))
    box = tuple(slice(s, s + 9) for s in start)
    np.testing.assert_array_equal(keep_blocks(labels[box], 0.5, "0/v", start, block), whole[box])
