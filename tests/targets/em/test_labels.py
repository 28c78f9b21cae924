"""What labels and spacing may be, and what is said where they are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.errors import DataError, ParameterError
from mtl.targets.em import em_targets, instances_of

LABELS = np.ones((4, 5), np.int64)


@pytest.mark.parametrize(
    "labels, message",
    [
        (LABELS.astype(np.float32), "float32 is not an integer type"),
        (np.ones(4, np.int64), r"shape \(4,\)"),
        (np.ones((2, 2, 2, 2), np.int64), "empty axis needed"),
        (np.ones((0, 3), np.int64), "empty axis"),
        (np.array([[1, -7]]), "negative id -7, but only -100"),
    ],
)
def test_wrong_labels_are_named(labels, message):
    with pytest.raises(DataError, match=message):
        em_targets(labels, (1.0,) * labels.ndim)


@pytest.mark.parametrize(
    "spacing", [(1.0,), (1.0, 0.0), (1.0, -2.0), (1.0, float("nan")), (1.0, 1.0, 1.0), None, 4.0, ("a", "b")]
)
def test_wrong_spacing_is_named(spacing):
    with pytest.raises(ParameterError, match="spacing = .*2 positive numbers needed"):
        em_targets(LABELS, spacing)


def test_unknown_direction_target_is_named():
    with pytest.raises(ParameterError, match="dir_target = 'axis'"):
        em_targets(LABELS, (1.0, 1.0), dir_target="axis")


def test_sparse_ids_are_numbered_densely_and_unknown_is_no_instance():
    labels = np.array([[9_000_000_000, 0, -100], [5, 5, 9_000_000_000]])
    instances = instances_of(labels, (1.0, 1.0))
    assert instances.ids.dtype == np.uint16 and instances.counts[1:].tolist() == [2, 2]
    assert (instances.ids == 0).tolist() == [[False, True, True], [False, False, False]]
    assert len({int(instances.ids[1, 0]), int(instances.ids[0, 0])}) == 2


def test_labels_are_left_as_they_are():
    labels = np.array([[3, -100, 0], [3, 3, 0]])
    before = labels.copy()
    em_targets(labels, (1.0, 1.0), dir_target="skeleton")
    np.testing.assert_array_equal(labels, before)


def test_another_value_may_mean_unknown():
    labels = np.array([[3, 255, 0], [3, 3, 0]], np.uint8)
    counts = instances_of(labels, (1.0, 1.0), ignore_index=255).counts
    assert counts[[0, 3]].tolist() == [3, 3] and counts.sum() == 6


def test_byte_order_does_not_matter():
    labels = np.array([[0, 70_000, 70_000], [5, 5, 0]])
    swapped = labels.astype(labels.dtype.newbyteorder(">"))
    one, other = (instances_of(ids, (1.0, 1.0)).ids for ids in (labels, swapped))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "value"),
    [("sigma", 0.0), ("sigma", float("nan")), ("weight_edge", -3.0), ("weight_bone", float("nan"))],
)
def test_what_makes_no_finite_target_is_named(name, value):
    with pytest.raises(ParameterError, match=f"{name} = {value}"):
        em_targets(LABELS, (1.0, 1.0), **{name: value})
