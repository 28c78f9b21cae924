"""The schema in which one prediction is served, and the disclaimer that travels with it."""

from __future__ import annotations

import base64

from pydantic import BaseModel, ConfigDict, Field

from mtl.inference.brain_mri.export import heat_picture, mask_png, png_of
from mtl.inference.brain_mri.prediction import Prediction

DISCLAIMER = "Research use only. Not a medical device; not for diagnosis or treatment."


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassificationBlock(_Block):
    """Tumour or not; ``confidence`` is the probability of the class that is named."""

    predicted_class: int = Field(ge=0, le=1)
    predicted_label: str
    confidence: float = Field(ge=0, le=1)
    tumor_probability: float = Field(ge=0, le=1)


class SegmentationBlock(_Block):
    """The outline on the native slice; everything but the first is null where there is no mask."""

    mask_available: bool
    tumor_area_pixels: int | None = None
    tumor_percentage: float | None = Field(None, description="percent of all pixels of the slice")
    mask_base64: str | None = Field(None, description="PNG, 255 where there is tumour")


class PredictionResponse(_Block):
    """One prediction; ``classification`` is null only where the classification was not asked for."""

    classification: ClassificationBlock | None
    segmentation: SegmentationBlock
    gradcam_overlay: str | None = Field(None, description="PNG of the slice under its Grad-CAM, in base64")
    recommendation: str


def response_of(prediction: Prediction) -> PredictionResponse:
    """The schema filled in."""
    cam = prediction.grad_cam
    overlay = None if cam is None else _base64(png_of(heat_picture(prediction.image, cam)))
    return PredictionResponse(
        classification=_classification(prediction),
        segmentation=_segmentation(prediction),
        gradcam_overlay=overlay,
        recommendation=f"{_advice(prediction)} {DISCLAIMER}",
    )


def _classification(prediction: Prediction) -> ClassificationBlock | None:
    probability = prediction.tumor_prob
    if probability is None:
        return None
    positive = prediction.predicted_class == 1
    return ClassificationBlock(
        predicted_class=prediction.predicted_class,
        predicted_label=prediction.predicted_label,
        confidence=probability if positive else 1 - probability,
        tumor_probability=probability,
    )


def _segmentation(prediction: Prediction) -> SegmentationBlock:
    if not prediction.mask_available:
        return SegmentationBlock(mask_available=False)
    return SegmentationBlock(
        mask_available=True,
        tumor_area_pixels=prediction.tumor_area_pixels,
        tumor_percentage=prediction.tumor_percentage,
        mask_base64=_base64(mask_png(prediction.mask)),
    )


def _advice(prediction: Prediction) -> str:
    if prediction.tumor_prob is None:
        return "An outline alone, without a classification: have it reviewed by a radiologist."
    said = f"Tumour probability {prediction.tumor_prob:.2f}"
    threshold = f"the threshold of {prediction.classification_threshold:.2f}"
    if prediction.predicted_class == 1:
        return f"{said} reaches {threshold}: have this slice reviewed by a radiologist first."
    return f"{said} is below {threshold}: this does not rule a tumour out; a radiologist reads every slice."


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
