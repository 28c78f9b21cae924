"""All instances at once give what a loop over instances gives."""

from __future__ import annotations

from itertools import product
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from label_volumes import UNKNOWN, cells, labelled_crops

from mtl.studies.em.target_peers import boxed_tensor, instance_distance, instance_ids, looped_targets
from mtl.targets.em import (
    boundary,
    boxes,
    centroid_direction,
    distance,
    em_targets,
    instance_weights,
    instances_of,
    structure_tensor,
)

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
QUICK = settings(max_examples=25, deadline=None)


@QUICK
@given(labelled_crops())
def test_every_target_equals_the_loop_over_instances(crop):
    labels, spacing = crop
    expected = looped_targets(labels, spacing)
    found = em_targets(labels, spacing)
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], values, err_msg=name, **CLOSE)


@QUICK
@given(labelled_crops(largest=6))
def test_boundary_looks_at_every_neighbour(crop):
    labels, _ = crop
    expected = np.zeros(labels.shape, bool)
    for place, step in product(np.ndindex(labels.shape), product((-1, 0, 1), repeat=labels.ndim)):
        other = tuple(a + b for a, b in zip(place, step, strict=True))
        inside = all(0 <= a < n for a, n in zip(other, labels.shape, strict=True))
        expected[place] |= inside and labels[place] not in (0, UNKNOWN) and labels[other] != labels[place]
    np.testing.assert_array_equal(boundary(labels), expected)


@QUICK
@given(labelled_crops())
def test_distance_equals_scipy_for_each_instance(crop):
    labels, spacing = crop
    expected = sum(
        (instance_distance(labels == number, spacing) for number in instance_ids(labels)),
        np.zeros(labels.shape),
    )
    np.testing.assert_allclose(distance(labels, spacing), expected, rtol=1e-5)


@pytest.mark.parametrize("shape, spacing", [((12, 40, 50), (6.0, 6.0, 6.0)), ((60, 44), (4.0, 8.0))])
def test_tiles_of_slanted_instances_give_the_same_tensor(shape, spacing):
    labels = cells(shape, 6, np.random.default_rng(0))
    with mock.patch.multiple(boxes, COMPACT=1.0, SMALL=1e3, SAVING=1.0):
        tiles = list(boxes.tiles_of(instances_of(labels, spacing), [10] * len(shape), 7))
        tiled = structure_tensor(labels, spacing)
    assert len(tiles) > 8  # there are six instances
    np.testing.assert_allclose(tiled, boxed_tensor(labels, spacing), **CLOSE)
    np.testing.assert_allclose(tiled, structure_tensor(labels, spacing), **CLOSE)


def test_the_benchmarks_boxes_equal_the_loop():
    labels = cells((10, 20, 24), 4, np.random.default_rng(1))
    spacing = (12.0, 6.0, 6.0)
    np.testing.assert_allclose(
        boxed_tensor(labels, spacing), looped_targets(labels, spacing)["tensor"], **CLOSE
    )


@QUICK
@given(labelled_crops())
def test_tensor_is_symmetric_and_positive_semi_definite(crop):
    labels, spacing = crop
    ndim = labels.ndim
    tensor = np.moveaxis(structure_tensor(labels, spacing).reshape(ndim, ndim, -1), -1, 0)
    np.testing.assert_array_equal(tensor, tensor.transpose(0, 2, 1))
    assert np.linalg.eigvalsh(tensor.astype(np.float64)).min() >= -1e-6


@QUICK
@given(labelled_crops())
def test_directions_are_unit_vectors_or_zero(crop):
    labels, spacing = crop
    length = np.linalg.norm(centroid_direction(labels, spacing), axis=0)
    np.testing.assert_allclose(length[length > 0], 1, rtol=1e-5)
    assert (length[(labels == 0) | (labels == UNKNOWN)] == 0).all()


def test_weight_of_each_known_voxel_and_of_no_other():
    labels = np.zeros((7, 9), np.int64)
    labels[1:6, 1:6], labels[:, 8] = 3, UNKNOWN
    weight = instance_weights(labels, (2.0, 2.0), weight_edge=5, weight_bone=4)
    assert weight[3, 3] == 4 and weight[2, 2] == pytest.approx(1 + 3 * 2 / 3)
    assert weight[1, 1] == pytest.approx(5 * (1 + 3 * 1 / 3)) and (weight[labels <= 0] == 0).all()


def test_faces_of_the_crop_are_no_boundaries():
    """What a larger crop would show beyond the face changes nothing far from it, and the face itself is
    neither boundary nor distance."""
    labels = np.zeros((8, 20, 20), np.int64)
    labels[:, 5:15] = 1
    spacing = (6.0, 6.0, 6.0)
    assert not boundary(labels)[:, 7:13].any()
    np.testing.assert_allclose(
        distance(labels, spacing), np.broadcast_to(distance(labels, spacing)[:1, :, :1], labels.shape)
    )
    tensor = structure_tensor(labels, spacing)
    np.testing.assert_allclose(tensor, np.broadcast_to(tensor[:, :1, :, :1], tensor.shape), atol=1e-6)
    assert abs(tensor[[0, 1, 2, 6, 7, 8]][1:3]).max() < 1e-6  # no slope along z


def test_a_long_neurite_has_no_gradient_along_itself():
    labels = np.zeros((21, 21, 60), np.int64)
    labels[6:15, 6:15] = 1
    tensor = structure_tensor(labels, (6.0, 6.0, 6.0)).reshape(3, 3, *labels.shape)
    near_surface = tensor[:, :, 10, 6, 30]
    values, vectors = np.linalg.eigh(near_surface)
    assert values[0] < 0.05 * values[2] and abs(vectors[2, 0]) > 0.99  # the smallest one is along x
    middle = np.diag(tensor[:, :, 10, 10, 30])
    np.testing.assert_allclose(middle, middle.mean(), rtol=1e-5)  # isotropic on the medial axis


def test_slopes_do_not_shrink_along_thick_sections():
    """A plate between two others has the same tensor whichever way it lies, however thick the sections."""
    thick = np.zeros((15, 30, 30), np.int64)
    thick[4:11] = 1
    tensor = structure_tensor(thick, (50.0, 4.0, 4.0))[0]
    assert tensor[4, 15, 15] > 0.3  # a plain derivative of a Gaussian of 0.13 voxels has a slope of 1e-11


@pytest.mark.parametrize("ndim", [2, 3])
def test_an_instance_that_fills_the_crop(ndim):
    labels, spacing = np.full((6,) * ndim, 7), (5.0,) * ndim
    targets = em_targets(labels, spacing, dir_target="skeleton")
    assert (targets["weight"] == 1).all() and not targets["tensor"].any() and not targets["direction"].any()
    direction = centroid_direction(labels, spacing)
    np.testing.assert_allclose(np.linalg.norm(direction, axis=0), 1, rtol=1e-5)  # centroid between voxels


def test_no_instance_at_all():
    labels = np.full((4, 5, 6), UNKNOWN)
    labels[:2] = 0
    for values in em_targets(labels, (1.0, 1.0, 1.0), dir_target="skeleton").values():
        assert not values.any()


def test_without_geometry_there_is_the_weight_alone():
    labels = cells((8, 8), 3, np.random.default_rng(0))
    assert list(em_targets(labels, (1.0, 1.0), geometry=False)) == ["weight"]
