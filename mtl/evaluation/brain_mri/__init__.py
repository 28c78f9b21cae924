"""Evaluation of the brain_mri study: tables per stage and source, trivial baselines, stage comparison.

The input everywhere is the per-unit prediction table, one row per case, stage and fold, with the columns id,
source, patient, group, slice, cls, has_mask, fold, stage, tumor_prob, dice, iou, hd95, mask_pixels,
predicted_pixels, test_hash, and optionally threshold (the operating point chosen on that fold's validation
part).
"""

from mtl.evaluation.brain_mri.baselines import (
    fit_histogram_baseline,
    fit_mean_mask,
    histogram_features,
    histogram_predictions,
    label_baselines,
    mean_mask_predictions,
)
from mtl.evaluation.brain_mri.stages import compare_stages
from mtl.evaluation.brain_mri.tables import (
    POOLED,
    average_over_folds,
    by_stage_and_source,
    classification_table,
    readable_rows,
    segmentation_table,
    table_alarms,
)

__all__ = [
    "POOLED",
    "average_over_folds",
    "by_stage_and_source",
    "classification_table",
    "compare_stages",
    "fit_histogram_baseline",
    "fit_mean_mask",
    "histogram_features",
    "histogram_predictions",
    "label_baselines",
    "mean_mask_predictions",
    "readable_rows",
    "segmentation_table",
    "table_alarms",
]
