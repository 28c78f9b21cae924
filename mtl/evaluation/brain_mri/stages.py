"""Stages compared on one frozen test set: paired by case, clustered by patient, Holm over all rows of the
table.

The interval is over patients for *these* trained networks; what retraining would add needs seeds
(``seeds_by_units``). The verdict follows ``comparison.verdict`` with d = second - first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mtl.errors import ParameterError, ProtocolError
from mtl.evaluation import weighted
from mtl.evaluation.brain_mri.tables import POOLED, average_over_folds, check_test_sets, cluster_labels
from mtl.evaluation.comparison import Difference, holm, paired_difference, verdict


@dataclass(frozen=True)
class Metric:
    """A weighted statistic of the case table, the rows it is about, and within what clusters are drawn."""

    statistic: Callable[[pd.DataFrame, NDArray], NDArray]
    masked_only: bool = False
    strata: tuple[str, ...] = ()


def _combined(table: pd.DataFrame, weights: NDArray) -> NDArray:
    """(Dice on filled masks + accuracy over all cases) / 2, as in the published figures."""
    filled = filled_masks(table).to_numpy()
    overlap = weighted.weighted_mean(table["dice"].to_numpy()[filled], weights[:, filled])
    return (overlap + weighted.accuracy(table["cls"], table["predicted"], weights)) / 2


METRICS: dict[str, Metric] = {
    "roc_auc": Metric(lambda t, w: weighted.roc_auc(t["cls"], t["rank"], w), strata=("cls",)),
    "roc_auc_within_source": Metric(
        lambda t, w: weighted.roc_auc_within(t["cls"], t["rank"], t["source"], w), strata=("source", "cls")
    ),
    "balanced_accuracy": Metric(
        lambda t, w: weighted.balanced_accuracy(t["cls"], t["predicted"], w), strata=("cls",)
    ),
    "accuracy": Metric(lambda t, w: weighted.accuracy(t["cls"], t["predicted"], w)),
    "dice_nonempty": Metric(lambda t, w: weighted.weighted_mean(t["dice"].to_numpy(), w), masked_only=True),
    "combined": Metric(_combined),
}


def compare_stages(
    predictions: pd.DataFrame,
    metric: str | Sequence[str],
    margin: float | Mapping[str, float],
    *,
    source: str | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    threshold: float = 0.5,
    clusters: str = "group",
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Paired differences second - first of stages, one row per metric and pair.

    predictions: the prediction table, folds as they are; metric: one or several of roc_auc,
    roc_auc_within_source, balanced_accuracy, accuracy, dice_nonempty, combined; margin: of non-inferiority,
    one or per metric; source: compare on this source only (default: pooled); pairs: (first, second) stages,
    default every earlier with every later one in order of appearance.
    Returns columns metric, source, first, second, first_value, second_value, value, low, high, n, unit,
    p_value, p_holm, minimal_detectable, margin, verdict, reason, undefined.
    Raises ProtocolError where test hashes or case sets differ, ParameterError for an unknown metric, stage
    or source.
    """
    names = [metric] if isinstance(metric, str) else list(metric)
    if unknown := [name for name in names if name not in METRICS]:
        raise ParameterError(f"metric {unknown}: expected some of {', '.join(METRICS)}")
    margins = margin if isinstance(margin, Mapping) else dict.fromkeys(names, margin)
    if missing := [name for name in names if name not in margins]:
        raise ParameterError(f"no margin for {missing}")
    arms = cases_by_arm(predictions, source, threshold)
    pairs = list(itertools.combinations(arms, 2)) if pairs is None else pairs
    if absent := {name for pair in pairs for name in pair} - set(arms):
        raise ParameterError(f"stage {sorted(absent)}: the table has {', '.join(arms)}")
    settings = {"n_resamples": n_resamples, "seed": seed, "unit": clusters}
    rows = []
    for name, (first, second) in itertools.product(names, pairs):
        values, difference = _contrast(METRICS[name], arms[first], arms[second], clusters, settings)
        keys = {"metric": name, "source": source or POOLED, "first": first, "second": second}
        rows.append({**keys, **values, **_difference_row(difference, margins[name])})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p_value"].tolist())) if rows else table


def cases_by_arm(
    predictions: pd.DataFrame, source: str | None = None, threshold: float = 0.5
) -> dict[str, pd.DataFrame]:
    """Stage -> its cases, sorted by id, with decisions and ranks, all of one frozen test set."""
    cases = average_over_folds(predictions)
    check_test_sets(cases)
    if source is not None:
        if source not in (known := sorted(set(cases["source"]))):
            raise ParameterError(f"source {source!r}: the table has {', '.join(known)}")
        cases = cases[cases["source"] == source]
    cut = cases["threshold"].fillna(threshold) if "threshold" in cases else threshold
    decisions = (cases["tumor_prob"] >= cut).astype(float).where(cases["tumor_prob"].notna())
    cases = cases.assign(predicted=decisions)  # NaN where a stage has no classifier: undefined, not negative
    arms = {str(stage): rows.sort_values("id") for stage, rows in cases.groupby("stage", sort=False)}
    # Ranks within each arm: AUC does not change, and the arms become exchangeable for the randomisation test.
    return {stage: rows.assign(rank=stats.rankdata(rows["tumor_prob"])) for stage, rows in arms.items()}


def _contrast(
    metric: Metric, first: pd.DataFrame, second: pd.DataFrame, clusters: str, settings: dict[str, Any]
) -> tuple[dict[str, float], Difference]:
    if metric.masked_only:
        first, second = first[filled_masks(first)], second[filled_masks(second)]
    if first["id"].tolist() != second["id"].tolist():
        arms = " and ".join(arm["stage"].iloc[0] if len(arm) else "an empty arm" for arm in (first, second))
        raise ProtocolError(f"{arms} were not scored on the same cases: {len(first)} and {len(second)}")
    strata = first.groupby(list(metric.strata)).ngroup() if metric.strata else None
    difference = paired_difference(
        first, second, cluster_labels(first, clusters), statistic=metric.statistic, strata=strata, **settings
    )
    unit_weights = np.ones((1, len(first)))
    values = [float(metric.statistic(arm, unit_weights)[0]) for arm in (first, second)]
    return {"first_value": values[0], "second_value": values[1]}, difference


def _difference_row(difference: Difference, margin: float) -> dict[str, Any]:
    estimate = difference.estimate
    fields = ("value", "low", "high", "n", "unit", "undefined")
    row = {name: getattr(estimate, name) for name in fields}
    row |= {name: getattr(difference, name) for name in ("p_value", "minimal_detectable")}
    row = {name: np.nan if value is None else value for name, value in row.items()}
    return {**row, "margin": margin, "verdict": verdict(estimate, margin), "reason": estimate.reason or ""}


def filled_masks(table: pd.DataFrame) -> pd.Series:
    """Which cases have a known mask that is not empty."""
    return table["has_mask"].astype(bool) & (table["mask_pixels"] > 0)
