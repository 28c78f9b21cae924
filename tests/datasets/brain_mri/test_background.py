"""Pictures without the head hold no pixel of it, and as prepared nothing at all."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.datasets.brain_mri.background import native_background, prepared_background, widened_head
from mtl.datasets.brain_mri.normalisation import BrainNormalisation
from mtl.datasets.phantoms.brain_mri import BrainPhantom

RULE = BrainNormalisation()


@pytest.fixture(scope="module")
def slices() -> list[np.ndarray]:
    phantom = BrainPhantom(n_patients=4, slices_per_patient=1, size=64, seed=3)
    return [phantom.read(item)[0] for item in phantom.slices]


def test_no_head_pixel_is_left_and_every_other_pixel_is(slices):
    for image in slices:
        square = image[: image.shape[1]] if image.shape[0] > image.shape[1] else image
        found = native_background(square, square.shape[0], RULE)  # same size: nothing is resized
        head = widened_head(square, RULE)
        assert (found[head] == 0).all() and head.mean() > 0.2
        np.testing.assert_allclose(found[~head], square[~head])


def test_what_happens_inside_the_head_cannot_be_seen_from_outside(slices, monkeypatch):
    image = slices[0]
    core = RULE.brain_mask(image)
    changed = np.where(core, 3 * image.max() - image, image)
    monkeypatch.setattr(BrainNormalisation, "brain_mask", lambda self, picture: core)
    first, second = (native_background(picture, 32, RULE) for picture in (image, changed))
    np.testing.assert_array_equal(first, second)


def test_the_rim_takes_the_bright_skin_along(slices):
    """Of a disc of light on black, nothing bright is left, also after resizing."""
    y, x = np.mgrid[:96, :96]
    disc = np.where(np.hypot(y - 48, x - 48) < 30, 100.0, 3.0)
    disc += np.random.default_rng(0).uniform(0, 1, disc.shape)
    assert native_background(disc, 32, RULE).max() <= 4.0


def test_as_prepared_the_background_is_one_constant(slices):
    for image in slices:
        np.testing.assert_array_equal(prepared_background(image, 32, RULE), np.float32(RULE.background))
    offset = BrainNormalisation(background=-1.0)
    np.testing.assert_array_equal(prepared_background(slices[0], 16, offset), np.float32(-1.0))
