"""The model card that travels with every checkpoint."""

from __future__ import annotations

import pandas as pd

from mtl.datasets.splits import FrozenSplit
from mtl.studies.brain_mri.parameters import BrainMriParameters

_TEMPLATE = """\
---
license: apache-2.0
tags: [brain-mri, segmentation, classification, multi-task-learning]
---
# brain_mri, stage {stage}, fold {fold}

Tumour mask and tumour yes/no from one MRI slice of {size} x {size} pixels.

**Research use only. Not a medical device; not for diagnosis.**

## Data
{sources}

Split: {n_folds} fold(s) by group (patient or near-duplicate group), hash `{split_hash}`.
Trained on {n_train} slices, selected on {n_validation}, tested on {n_test}.

## Metrics
Measured on the test part only, with intervals: `metrics.json` and `predictions/` of the run `{run}`.

## Limits
Single slices without their neighbours; the sources named above and no others; labels as noisy as theirs.
A score on mixed sources can come from telling the sources apart: read the per-source figures.
"""


def model_card(
    stage: str, fold: int, parameters: BrainMriParameters, table: pd.DataFrame, split: FrozenSplit
) -> str:
    """Markdown: purpose, data, where the metrics are, limits."""
    lines = [
        f"- `{name}`: {len(rows)} slices of {rows['group'].nunique()} groups, "
        f"{int(rows['cls'].sum())} with tumour, {int(rows['has_mask'].sum())} with a known mask"
        for name, rows in table.groupby("source")
    ]
    parts = split.folds[fold]
    return _TEMPLATE.format(
        stage=stage,
        fold=fold + 1,
        size=parameters.image_size,
        sources="\n".join(lines),
        n_folds=len(split.folds),
        split_hash=split.hash[:16],
        n_train=len(parts.train),
        n_validation=len(parts.validation),
        n_test=len(parts.test),
        run=parameters.run,
    )
