"""The comparisons that the study reports, the same in every run whatever its scores, in one Holm family."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from mtl.evaluation.brain_mri import POOLED, compare_stages
from mtl.evaluation.comparison import holm, verdict
from mtl.evaluation.statistics import t_interval
from mtl.studies.brain_mri.parameters import BrainMriParameters

AUC, AUC_WITHIN, DICE = "roc_auc", "roc_auc_within_source", "dice_nonempty"


def compare_arms(predictions: pd.DataFrame, parameters: BrainMriParameters) -> pd.DataFrame:
    """Every planned pair of arms, pooled and per source, as ``compare_stages`` reports them.

    ROC-AUC: joint against head, warm-up and grey-value histogram; Dice: joint against warm-up, joint and
    warm-up against the reference network (on the folds that it was trained in). ``p_holm`` is corrected over
    the whole table. The intervals are about these trained networks, not about training again.
    """
    margins = {AUC: parameters.auc_margin, AUC_WITHIN: parameters.auc_margin, DICE: parameters.dice_margin}
    parts = [
        compare_stages(
            rows, metric, margins, source=source, pairs=pairs,
            n_resamples=parameters.n_bootstrap, seed=parameters.seed,
        )
        for rows, metric, source, pairs in _plan(predictions, parameters.reference_folds)
    ]  # fmt: skip
    table = pd.concat(parts, ignore_index=True)
    return table.assign(p_holm=holm(table["p_value"].tolist()))


def _plan(
    predictions: pd.DataFrame, reference_folds: int
) -> Iterator[tuple[pd.DataFrame, str, str | None, list[tuple[str, str]]]]:
    stages = predictions[predictions["stage"].isin(["warm_up", "head", "joint"])]
    ranked = predictions[predictions["stage"].isin(["warm_up", "head", "joint", "histogram"])]
    early = predictions[predictions["fold"] < reference_folds]
    beside = early[early["stage"].isin(["warm_up", "joint", "reference"])]
    both_classes = predictions.groupby("source")["cls"].nunique() > 1
    filled = predictions["has_mask"].astype(bool) & (predictions["mask_pixels"] > 0)
    sources = sorted(set(predictions["source"]))
    ours = [("head", "joint"), ("warm_up", "joint"), ("histogram", "joint")]
    for source in [None, *sources]:
        if source is None or both_classes[source]:
            yield ranked, AUC, source, ours
        if source is None and len(sources) > 1:
            yield ranked, AUC_WITHIN, None, ours
        if source is None or (filled & (predictions["source"] == source)).any():
            yield stages, DICE, source, [("warm_up", "joint")]
            if reference_folds:
                yield beside, DICE, source, [("reference", "warm_up"), ("reference", "joint")]


def difference(table: pd.DataFrame, metric: str, first: str, second: str, source: str = POOLED) -> dict:
    """One row as an estimate: ``{value, low, high, n, unit, verdict, over_seeds}``.

    ``verdict`` reads the interval over test cases: it is about these trained networks. ``over_seeds``
    (``{seeds, verdict}``) is about training them again, which a run of one seed leaves open.
    """
    chosen = table[
        (table["metric"] == metric)
        & (table["first"] == first)
        & (table["second"] == second)
        & (table["source"] == source)
    ].iloc[0]
    trained_again = t_interval([chosen["value"]])
    over_seeds = {"seeds": trained_again.n, "verdict": verdict(trained_again, chosen["margin"])}
    return {key: chosen[key] for key in ("value", "low", "high", "n", "unit", "verdict")} | {
        "over_seeds": over_seeds
    }
