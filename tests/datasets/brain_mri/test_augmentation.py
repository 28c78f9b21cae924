"""Augmentation: repeatable, mask and image together, background left alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from mtl.datasets.brain_mri.augmentation import Augmentation

STILL = {"gamma": 0.0, "contrast": 0.0, "brightness": 0.0, "noise": 0.0, "blur": 0.0}
FIXED = {"flip": 0.0, "degrees": 0.0, "scale": 0.0, "shift": 0.0, "shear": 0.0}


def disc(size: int = 64, radius: float = 22) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices((size, size))
    head = np.hypot(rows - 31.5, columns - 31.5) < radius
    mask = np.hypot(rows - 25, columns - 38) < 7
    grain = np.random.default_rng(0).normal(0, 0.4, head.shape)
    return np.where(head, grain + 3.0 * mask, 0).astype(np.float32), mask.astype(np.uint8)


def test_same_generator_same_result() -> None:
    image, mask = disc()
    first = Augmentation()(image, mask, np.random.default_rng(5))
    again = Augmentation()(image, mask, np.random.default_rng(5))
    other = Augmentation()(image, mask, np.random.default_rng(6))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_an_unknown_mask_does_not_change_the_image() -> None:
    image, mask = disc()
    with_mask, _ = Augmentation()(image, mask, np.random.default_rng(3))
    without, nothing = Augmentation()(image, None, np.random.default_rng(3))
    assert nothing is None
    np.testing.assert_array_equal(with_mask, without)


def test_nothing_asked_nothing_done() -> None:
    image, mask = disc()
    moved, kept = Augmentation(**STILL, **FIXED)(image, mask, np.random.default_rng(0))
    np.testing.assert_allclose(moved, image, atol=1e-5)
    np.testing.assert_array_equal(kept, mask)


def test_a_mirror_is_a_mirror() -> None:
    image, mask = disc()
    moved, turned = Augmentation(**STILL, **(FIXED | {"flip": 1.0}))(image, mask, np.random.default_rng(0))
    np.testing.assert_allclose(moved, image[:, ::-1], atol=1e-5)
    np.testing.assert_array_equal(turned, mask[:, ::-1])


@pytest.mark.parametrize("seed", range(6))
def test_placement_equals_a_slow_reference(seed: int) -> None:
    image, _ = disc()
    augmentation = Augmentation(**STILL)
    moved, _ = augmentation(image, None, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    augmentation._recoloured(image, rng)
    matrix = augmentation._matrix(rng).astype(float)
    # From (x, y) in [-1, 1] to pixel rows and columns.
    linear = matrix[::-1, 1::-1]
    centre = np.full(2, (64 - 1) / 2)
    offset = centre + matrix[::-1, 2] * 32 - linear @ centre
    reference = affine_transform(image, linear, offset, order=1, mode="constant")
    inner = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(moved[inner], reference[inner], atol=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_mask_stays_on_its_tumour(seed: int) -> None:
    image, mask = disc()
    moved, turned = Augmentation(noise=0.0)(image, mask, np.random.default_rng(seed))
    bright = moved > np.median(moved[turned > 0]) / 2
    assert (bright & (turned > 0)).sum() / (turned > 0).sum() > 0.9
    assert turned.dtype == np.uint8 and set(np.unique(turned)) <= {0, 1}


def test_values_stay_in_range_and_background_constant() -> None:
    image, mask = disc(radius=15)
    augmentation = Augmentation(background=-1.0, clip=2.0, gamma=0.9, contrast=0.9, brightness=2.0, noise=2.0)
    image = np.where(image == 0, -1.0, image.clip(-2, 2)).astype(np.float32)
    for seed in range(10):
        moved, _ = augmentation(image, mask, np.random.default_rng(seed))
        assert np.abs(moved).max() <= 2.0 + 1e-5 and moved.dtype == np.float32
        np.testing.assert_allclose(moved[:4], -1.0, atol=1e-6)
        np.testing.assert_allclose(moved[:, -4:], -1.0, atol=1e-6)
