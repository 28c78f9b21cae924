"""Which cases a failure gallery shows: worst outlines, most confident wrong answers."""

from __future__ import annotations

import pandas as pd

from mtl.evaluation.brain_mri import average_over_folds
from mtl.studies.brain_mri.predictions import predict
from mtl.studies.brain_mri.study import BrainMriStudy


def lowest_dice(study: BrainMriStudy, stage: str, predictions: pd.DataFrame, n: int = 8) -> pd.DataFrame:
    """The ``n`` slices with the lowest Dice, each once (its worst fold), with the predicted ``mask``."""
    cases = predictions[(predictions["stage"] == stage) & (predictions["mask_pixels"] > 0)]
    worst = cases.sort_values("dice").drop_duplicates("id").head(n)
    drawn = [
        predict(study, stage, list(rows["id"]), int(fold), keep_masks=True)
        for fold, rows in worst.groupby("fold")
    ]
    return pd.concat(drawn, ignore_index=True).sort_values("dice")


def confident_errors(predictions: pd.DataFrame, stage: str, n: int = 4) -> pd.DataFrame:
    """Up to ``n`` missed tumours (lowest probability first) and ``n`` false alarms (highest first).

    Only cases on the wrong side of the threshold count; figures are averages over folds.
    """
    cases = average_over_folds(predictions[predictions["stage"] == stage])
    wrong = cases[(cases["tumor_prob"] >= cases["threshold"]) != (cases["cls"] == 1)]
    missed = wrong[wrong["cls"] == 1].nsmallest(n, "tumor_prob").assign(error="missed")
    alarms = wrong[wrong["cls"] == 0].nlargest(n, "tumor_prob").assign(error="false alarm")
    return pd.concat([missed, alarms], ignore_index=True)
