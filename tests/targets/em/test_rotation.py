"""Targets of rotated labels are the rotated targets, their components turned along."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from label_volumes import cells, labelled_crops

from mtl.targets.em import em_targets, skeleton, skeleton_direction, structure_tensor

CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def rotated(values: np.ndarray, spacing: tuple[float, ...], axes: tuple[int, int]) -> tuple:
    turned = list(spacing)
    turned[axes[0]], turned[axes[1]] = spacing[axes[1]], spacing[axes[0]]
    return np.rot90(values, axes=axes).copy(), tuple(turned)


def rotation(ndim: int, axes: tuple[int, int]) -> np.ndarray:
    """Matrix of the components: ``np.rot90`` takes an arrow along axes[1] to one against axes[0]."""
    matrix = np.eye(ndim)
    matrix[axes[0], axes[0]] = matrix[axes[1], axes[1]] = 0
    matrix[axes[0], axes[1]], matrix[axes[1], axes[0]] = -1, 1
    return matrix


def turned(field: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    return np.rot90(field, axes=(axes[0] + 1, axes[1] + 1))


@settings(max_examples=12, deadline=None)
@given(labelled_crops())
def test_rotation_by_90_degrees_commutes(crop):
    labels, spacing = crop
    ndim = labels.ndim
    before = em_targets(labels, spacing)
    for axes in permutations(range(ndim), 2):
        after = em_targets(*rotated(labels, spacing, axes))
        matrix = rotation(ndim, axes)
        np.testing.assert_allclose(after["weight"], np.rot90(before["weight"], axes=axes), **CLOSE)
        expected = np.einsum("ab,b...->a...", matrix, turned(before["direction"], axes))
        np.testing.assert_allclose(after["direction"], expected, **CLOSE)
        tensor = turned(before["tensor"], axes)
        tensor = tensor.reshape(ndim, ndim, *tensor.shape[1:])
        expected = np.einsum("ab,bc...,dc->ad...", matrix, tensor, matrix)
        np.testing.assert_allclose(
            after["tensor"], expected.reshape(ndim * ndim, *expected.shape[2:]), **CLOSE
        )


@settings(max_examples=12, deadline=None)
@given(labelled_crops())
def test_skeletons_rotate_exactly(crop):
    labels, spacing = crop
    expected = skeleton(labels, spacing)
    for axes in permutations(range(labels.ndim), 2):
        np.testing.assert_array_equal(
            skeleton(*rotated(labels, spacing, axes)), np.rot90(expected, axes=axes)
        )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_skeletons_and_tensors_mirror_exactly(axis):
    labels = cells((10, 24, 22), 5, np.random.default_rng(3))
    spacing = (12.0, 6.0, 6.0)
    mirrored = np.flip(labels, axis).copy()
    np.testing.assert_array_equal(skeleton(mirrored, spacing), np.flip(skeleton(labels, spacing), axis))
    sign = np.ones(3)
    sign[axis] = -1
    expected = np.flip(structure_tensor(labels, spacing), axis + 1)
    expected = expected * np.outer(sign, sign).reshape(9, 1, 1, 1)
    np.testing.assert_allclose(structure_tensor(mirrored, spacing), expected, **CLOSE)


@settings(max_examples=12, deadline=None)
@given(labelled_crops())
def test_directions_to_the_skeleton_rotate_where_one_voxel_is_nearest(crop):
    """Of two that are equally near no rule can choose one that a turn leaves the chosen one."""
    labels, spacing = crop
    ndim, lone = labels.ndim, one_nearest(labels, skeleton(labels, spacing), spacing)
    before = skeleton_direction(labels, spacing)
    for axes in permutations(range(ndim), 2):
        after = skeleton_direction(*rotated(labels, spacing, axes))
        expected = np.einsum("ab,b...->a...", rotation(ndim, axes), turned(before, axes))
        where = np.rot90(lone, axes=axes)
        np.testing.assert_allclose(after[:, where], expected[:, where], **CLOSE)


def one_nearest(labels: np.ndarray, bones: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Whether one skeleton voxel of the own instance is nearer than all others."""
    places = np.stack(np.meshgrid(*map(np.arange, labels.shape), indexing="ij"), -1) * np.array(spacing)
    lone = np.zeros(labels.shape, bool)
    for number in np.unique(labels[labels > 0]):
        inside = labels == number
        away = np.linalg.norm(places[inside][:, None] - places[inside & bones][None], axis=2)
        lone[inside] = (away < away.min(1, keepdims=True) + 1e-6 * min(spacing)).sum(1) == 1
    return lone
