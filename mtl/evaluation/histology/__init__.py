"""Nuclei found, outlined and counted: scores of one image, and summaries over images."""

from mtl.evaluation.histology.images import IMAGE_METRICS, calibration_scores, image_scores
from mtl.evaluation.histology.instances import aggregated_jaccard, detection_counts
from mtl.evaluation.histology.summary import alarms, summarise_images

__all__ = [
    "IMAGE_METRICS",
    "aggregated_jaccard",
    "alarms",
    "detection_counts",
    "calibration_scores",
    "image_scores",
    "summarise_images",
]
