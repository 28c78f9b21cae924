"""The schema of one prediction, to the letter."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from mtl.inference.brain_mri import DISCLAIMER, MultiTaskPredictor, PredictionResponse


def picture(text: str) -> np.ndarray:
    opened = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    assert opened.format == "PNG"
    return np.asarray(opened)


@pytest.fixture
def positive(predictor, images):
    return max((predictor.predict_full(image) for image in images), key=lambda one: one.tumor_prob)


@pytest.fixture
def negative(predictor, images):
    return min((predictor.predict_full(image) for image in images), key=lambda one: one.tumor_prob)


def test_a_positive_slice(positive):
    found = json.loads(positive.to_response().model_dump_json())
    assert list(found) == ["classification", "segmentation", "gradcam_overlay", "recommendation"]
    probability = positive.tumor_prob
    assert probability > 0.5
    assert found["classification"] == {
        "predicted_class": 1,
        "predicted_label": "tumour",
        "confidence": probability,
        "tumor_probability": probability,
    }
    block = found["segmentation"]
    assert list(block) == ["mask_available", "tumor_area_pixels", "tumor_percentage", "mask_base64"]
    assert block["mask_available"] is True
    mask = picture(block["mask_base64"])
    np.testing.assert_array_equal(mask, 255 * positive.mask.astype(np.uint8))
    assert block["tumor_area_pixels"] == (mask == 255).sum() > 0
    assert block["tumor_percentage"] == pytest.approx(100 * (mask == 255).mean())
    assert picture(found["gradcam_overlay"]).shape == (*positive.image.shape, 3)
    assert DISCLAIMER in found["recommendation"] and f"{probability:.2f}" in found["recommendation"]
    assert PredictionResponse.model_validate(found).model_dump() == positive.to_response().model_dump()


def test_below_the_threshold_there_is_no_mask_but_a_grad_cam(negative):
    assert negative.tumor_prob < 0.3 and negative.mask is not None  # decoded, but not shown
    found = negative.to_response().model_dump()
    assert found["segmentation"] == {
        "mask_available": False,
        "tumor_area_pixels": None,
        "tumor_percentage": None,
        "mask_base64": None,
    }
    assert found["classification"]["predicted_label"] == "no tumour"
    assert found["classification"]["confidence"] == pytest.approx(1 - negative.tumor_prob)
    assert picture(found["gradcam_overlay"]).shape == (*negative.image.shape, 3)
    assert DISCLAIMER in found["recommendation"]


def test_what_was_not_asked_for_is_null(predictor, images):
    found = predictor.predict_single(images[0]).to_response()
    assert found.gradcam_overlay is None
    alone = predictor.predict_single(images[0], do_cls=False).to_response()
    assert alone.classification is None and alone.segmentation.mask_available
    assert DISCLAIMER in alone.recommendation


def test_a_slice_at_the_threshold_is_positive(checkpoint, positive, images):
    at = MultiTaskPredictor(checkpoint, classification_threshold=positive.tumor_prob)
    found = at.predict_conditional(positive.image)
    assert found.tumor_prob == positive.tumor_prob and found.mask_available
