"""Skeletons: those of the voxel-by-voxel definition, of the instance's topology, and thin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from label_volumes import UNKNOWN, cells, labelled_crops
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import euler_number

from mtl.studies.em.peeling_peer import peeled_skeletons
from mtl.targets.em import nearest, skeleton, skeleton_direction
from mtl.targets.em.neighbourhood import CENTRE, OFFSETS, connected, simple


@settings(max_examples=12, deadline=None)
@given(labelled_crops(largest=7))
def test_all_instances_at_once_equal_peeling_one_after_the_other(crop):
    labels, spacing = crop
    np.testing.assert_array_equal(skeleton(labels, spacing), peeled_skeletons(labels, spacing))


@settings(max_examples=20, deadline=None)
@given(labelled_crops(largest=12))
def test_components_holes_and_tunnels_of_every_instance_stay(crop):
    labels, spacing = crop
    bones = skeleton(labels, spacing)
    for number in np.unique(labels[labels > 0]):
        before, after = np.pad(labels == number, 1), np.pad(bones & (labels == number), 1)
        assert euler_number(after, connectivity=after.ndim) == euler_number(before, connectivity=before.ndim)
        touching = np.ones((3,) * before.ndim)
        assert ndimage.label(after, touching)[1] == ndimage.label(before, touching)[1]
        assert ndimage.label(~after)[1] == ndimage.label(~before)[1]
    assert not bones[(labels == 0) | (labels == UNKNOWN)].any()


def test_simple_voxels_by_counting_components():
    """A voxel is simple iff its removal leaves components of object and background as they are nearby."""
    rng = np.random.default_rng(0)
    blocks = rng.random((1000, 3, 3, 3)) < rng.uniform(0.1, 0.9, (1000, 1, 1, 1))
    blocks[:, 1, 1, 1] = True
    codes = (blocks.reshape(-1, 27) << np.arange(27)).sum(axis=1).astype(np.int32)
    near = ndimage.generate_binary_structure(3, 2)
    centre_faces = [tuple(o + 1) for o in OFFSETS if abs(o).sum() == 1]
    for block, is_simple, is_connected in zip(blocks, simple(codes), connected(codes), strict=True):
        block[1, 1, 1] = False
        parts = ndimage.label(block, np.ones((3, 3, 3)))[1]
        background = ndimage.label(~block & near & (np.arange(27) != 13).reshape(3, 3, 3))[0]
        touched = {int(background[face]) for face in centre_faces} - {0}
        assert is_connected == (parts == 1) and is_simple == (parts == 1 and len(touched) == 1)
    assert not connected(np.array([CENTRE], np.int32))[0] and 0.02 < simple(codes).mean() < 0.98


def test_a_bar_becomes_its_axis_and_runs_into_the_face():
    labels = np.zeros((15, 15, 40), np.int64)
    labels[3:12, 3:12, 6:] = 1  # nine voxels wide, from x = 6 to the face; the end in the crop is rounded off
    bones = np.argwhere(skeleton(labels))
    assert (bones[:, :2] == 7).all()
    assert bones[:, 2].max() == 39 and 8 <= bones[:, 2].min() <= 16 and len(bones) == np.ptp(bones[:, 2]) + 1


def test_a_ball_becomes_a_point_and_a_ring_stays_a_ring():
    z, y, x = np.indices((21, 31, 31)) - np.array([10, 15, 15]).reshape(3, 1, 1, 1)
    ball = (z**2 + y**2 + x**2 <= 81).astype(np.int64)
    assert np.argwhere(skeleton(ball)).tolist() == [[10, 15, 15]]
    ring = ((np.hypot(y, x) - 10) ** 2 + z**2 <= 9).astype(np.int64)
    bones = skeleton(ring)
    assert euler_number(np.pad(bones, 1), connectivity=3) == 0 and 40 <= bones.sum() <= 120


def test_thick_sections_are_peeled_by_distance():
    """A bar of the same size in nm along and across the sections gives the same axis."""
    labels = np.zeros((9, 50, 60), np.int64)
    labels[3:6, 10:40] = 1  # 3 x 50 nm by 30 x 5 nm
    bones = np.argwhere(skeleton(labels, (50.0, 5.0, 5.0)))
    assert (bones[:, 0] == 4).all() and set(bones[:, 1]) == {24, 25} and set(bones[:, 2]) == set(range(60))


@settings(max_examples=20, deadline=None)
@given(labelled_crops())
def test_direction_points_to_a_nearest_skeleton_voxel_of_the_own_instance(crop):
    labels, spacing = crop
    bones, direction = skeleton(labels, spacing), skeleton_direction(labels, spacing)
    check_directions(labels, spacing, bones, direction)


@pytest.mark.parametrize("n", [1, 3])
def test_direction_in_large_instances_looks_cell_by_cell(n, monkeypatch):
    monkeypatch.setattr(nearest, "PAIRS", 500)
    monkeypatch.setattr(nearest, "CELL", 5)
    labels = cells((10, 36, 40), n, np.random.default_rng(n))
    labels[0, 0], labels[:, 20, ::2] = 0, 0
    spacing = (18.0, 6.0, 6.0)
    check_directions(labels, spacing, skeleton(labels, spacing), skeleton_direction(labels, spacing))


def check_directions(labels, spacing, bones, direction):
    assert not direction[:, bones | (labels == 0) | (labels == UNKNOWN)].any()
    scale = np.reshape(spacing, (-1, 1))
    for number in np.unique(labels[labels > 0]):
        targets = np.argwhere(bones & (labels == number)) * scale.T
        voxels = (labels == number) & ~bones
        start = np.argwhere(voxels) * scale.T
        if len(start) == 0:
            continue
        length = ndimage.distance_transform_edt(~(bones & (labels == number)), sampling=spacing)[voxels]
        reached = start + direction[:, voxels].T * length[:, None]
        gap, _ = cKDTree(targets).query(reached)
        assert gap.max() < 1e-3 * max(spacing)
