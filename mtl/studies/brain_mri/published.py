"""The rows of the README's table, from the evaluation's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtl.studies.brain_mri.parameters import BrainMriParameters

_CLASSIFICATION = {
    "roc_auc": "ROC-AUC",
    "balanced_accuracy": "balanced accuracy",
    "specificity": "specificity",
}
_SEGMENTATION = {"dice_nonempty": "Dice, non-empty"}
_IN_TABLE = ("roc_auc", "dice_nonempty")
_LEFT_OUT = ("majority", "all_positive")


def published_rows(parameters: BrainMriParameters, classified: Mapping, segmented: Mapping) -> dict[str, Any]:
    """Title and rows for ``publish``.

    Args:
        classified, segmented: ``{stage: {source: {metric: Estimate}}}`` (``by_stage_and_source``).

    Returns:
        ``{"title", "rows": [{"stage", "source", "metric", "estimate", "in_table"}]}``; undefined figures and
        the two constant baselines (always 0.5) are left out.
    """
    kind = "real slices" if parameters.data_root else "phantoms"
    rows = [
        {
            "stage": stage,
            "source": source,
            "metric": label,
            "estimate": metrics[name],
            "in_table": name in _IN_TABLE,
        }
        for results, names in ((classified, _CLASSIFICATION), (segmented, _SEGMENTATION))
        for stage, sources in results.items()
        if stage not in _LEFT_OUT
        for source, metrics in sources.items()
        for name, label in names.items()
        if metrics[name].value is not None
    ]
    return {"title": f"Brain MRI, {kind}", "rows": rows}
