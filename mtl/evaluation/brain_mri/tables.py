"""The study's result tables: tidy rows (stage, source, metric) with value, interval and number of units.

**Pooling over sources** hides the source shortcut: a score that only knows the source separates classes when
their prevalences differ. Every table therefore has a row per source beside ``pooled``, and the pooled block
has ``roc_auc_within_source`` (pairs of one source only), where such a score is worth 0.5.

**Pooling over folds.** Kaggle cases are scored out of fold, once each. The headline AUC pools them, because a
fold's test part is too small for an AUC of its own, and because one threshold, one reliability table and one
set of resampled patients need one pool. Scores of different folds come from differently trained networks and
are not calibrated to each other, which costs the pooled AUC something; ``roc_auc_mean_of_folds`` compares
only cases of one fold, and stands beside it. A large gap between them is a calibration problem, not ranking.

**Cases in several folds** (the LGG test part) are averaged first (``average_over_folds``), so that each unit
counts once. An averaged probability is that of an ensemble of the folds' networks and may beat each of them;
``roc_auc_mean_of_folds`` is again the figure of single networks. Averaged Dice is the mean of single
networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mtl.errors import DataError, ProtocolError
from mtl.evaluation import weighted
from mtl.evaluation.classification import classification_estimates
from mtl.evaluation.protocol import alarms, require_same_test_set
from mtl.evaluation.segmentation import summarise_cases
from mtl.evaluation.statistics import Estimate, bootstrap

POOLED = "pooled"
SEVERAL_FOLDS = -1
IDENTITY = ["source", "patient", "group", "slice", "cls", "has_mask", "test_hash"]
AVERAGED = ["tumor_prob", "threshold", "dice", "iou", "hd95", "mask_pixels", "predicted_pixels"]
COLUMNS = ["stage", "source", "metric", "value", "low", "high", "n", "unit", "cases", "reason", "undefined"]


def average_over_folds(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per (stage, id): probability, threshold and mask figures averaged over folds.

    ``fold`` becomes -1 where there were several; ``folds`` counts them. A figure undefined in one fold is
    undefined in the average (HD95 where one network predicted nothing), so that it is counted and not
    dropped. Raises ProtocolError where a case occurs twice in a fold or its labels differ between folds,
    DataError where a column is missing.
    """
    _require_columns(predictions)
    if twice := int(predictions.duplicated(["stage", "id", "fold"]).sum()):
        raise ProtocolError(f"{twice} case(s) occur twice in one stage and fold: each case counts once")
    grouped = predictions.groupby(["stage", "id"], sort=False)
    for column in IDENTITY:
        if (differing := grouped[column].nunique(dropna=False).gt(1)).any():
            raise ProtocolError(f"{column} of {differing.idxmax()[1]} differs between folds")
    sizes = grouped.size().rename("folds")
    means = grouped[[name for name in AVERAGED if name in predictions]].mean(skipna=False)
    fold = grouped["fold"].first().where(sizes == 1, SEVERAL_FOLDS)
    return pd.concat([grouped[IDENTITY].first(), fold, sizes, means], axis=1).reset_index()


def classification_table(
    predictions: pd.DataFrame,
    threshold: float = 0.5,
    clusters: str = "group",
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Every classification metric per stage x (each source, pooled), with intervals over ``clusters``.

    predictions: the prediction table, folds as they are (averaged here). A ``threshold`` column wins over the
    argument; both must come from validation data. A stage without any probability (the mean mask) is left
    out; one with some missing raises DataError. Returns columns stage, source, metric, value, low, high, n,
    unit, cases, reason, undefined. Raises ProtocolError where stages have different test sets.
    """
    cases = average_over_folds(predictions)
    check_test_sets(cases)
    settings: dict[str, Any] = {"n_resamples": n_resamples, "seed": seed}
    rows = []
    for stage, source, part in blocks(cases):
        if cases.loc[cases["stage"] == stage, "tumor_prob"].isna().all():
            continue
        pooled = {"sources": part["source"]} if source == POOLED else {}
        cut = part["threshold"].fillna(threshold) if "threshold" in part else threshold
        found = classification_estimates(
            part["cls"],
            part["tumor_prob"],
            cut,
            cluster_labels(part, clusters),
            unit=clusters,
            **pooled,
            **settings,
        )
        if (raw := _fold_rows(predictions, stage, source))["fold"].nunique() > 1:
            found["roc_auc_mean_of_folds"] = _mean_fold_auc(raw, clusters, settings)
        rows += [_row(stage, source, name, estimate, len(part)) for name, estimate in found.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def segmentation_table(
    predictions: pd.DataFrame, clusters: str = "group", *, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Mask figures (``segmentation.summarise_cases``) per stage x (each source with masks, pooled).

    Only cases with a known mask take part; stages that predict no masks at all (baselines of classification)
    are left out. Columns as in ``classification_table``. Raises DataError where a stage scored only some
    cases.
    """
    cases = average_over_folds(predictions)
    check_test_sets(cases)
    cases = cases[cases["has_mask"].astype(bool)]
    cases = cases.assign(**{clusters: cluster_labels(cases, clusters)})
    rows = []
    for stage, source, part in blocks(cases):
        if cases.loc[cases["stage"] == stage, "dice"].isna().all():
            continue
        found = summarise_cases(part, clusters, n_resamples=n_resamples, seed=seed)
        rows += [_row(stage, source, name, estimate, len(part)) for name, estimate in found.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def table_alarms(table: pd.DataFrame, predictions: pd.DataFrame | None = None) -> pd.DataFrame:
    """The protocol's alarms of a result table: columns stage, source, code, message (empty when all is well).

    With ``predictions`` a constant score is noticed too, not only a constant decision.
    """
    cases = None if predictions is None else average_over_folds(predictions)
    found = []
    for (stage, source), part in table.groupby(["stage", "source"], sort=False):
        metrics = {row["metric"]: estimate_of(row) for _, row in part.iterrows()}
        scores = None if cases is None else _scores(cases, stage, source)
        found += [(stage, source, alarm.code, alarm.message) for alarm in alarms(metrics, scores)]
    return pd.DataFrame(found, columns=["stage", "source", "code", "message"])


def estimate_of(row: pd.Series) -> Estimate:
    """The Estimate of one row of a result table."""
    reason = row["reason"] if isinstance(row["reason"], str) and row["reason"] else None
    numbers = (row["value"], row["low"], row["high"])
    return Estimate(
        *numbers, n=int(row["n"]), unit=row["unit"], reason=reason, undefined=int(row["undefined"])
    )


def by_stage_and_source(table: pd.DataFrame) -> dict[str, dict[str, dict[str, Estimate]]]:
    """A result table as ``{stage: {source: {metric: Estimate}}}``, the form that metrics.json holds."""
    nested: dict[str, dict[str, dict[str, Estimate]]] = {}
    for _, row in table.iterrows():
        nested.setdefault(row["stage"], {}).setdefault(row["source"], {})[row["metric"]] = estimate_of(row)
    return nested


def readable_rows(
    found: Mapping[str, Mapping[str, Mapping[str, Estimate]]], labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Rows for people from ``by_stage_and_source``: stage, source, and a column per metric in ``labels``.

    labels: metric -> heading; a metric that a row lacks is ``None``.
    """
    return [
        {"stage": stage, "source": source, **{text: metrics.get(name) for name, text in labels.items()}}
        for stage, sources in found.items()
        for source, metrics in sources.items()
    ]


def cluster_labels(cases: pd.DataFrame, clusters: str) -> pd.Series:
    """Cluster names made unique over sources (patient 1 of two sources is two patients)."""
    if missing := int(cases[clusters].isna().sum()):
        raise DataError(f"{clusters} is missing in {missing} of {len(cases)} rows of the prediction table")
    return cases["source"].astype(str) + "/" + cases[clusters].astype(str)


def check_test_sets(cases: pd.DataFrame) -> None:
    """Raise ProtocolError unless all stages were evaluated on one frozen test set."""
    hashes: dict[str, str] = {}
    for stage, values in cases.groupby("stage", sort=False)["test_hash"]:
        for number, value in enumerate(values.unique()):
            hashes[str(stage) if number == 0 else f"{stage} (part {number + 1})"] = value
    require_same_test_set(hashes)


def blocks(cases: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(stage, source, rows) for every source, then pooled, of every stage, in order of appearance."""
    for stage, part in cases.groupby("stage", sort=False):
        for source, rows in part.groupby("source", sort=True):
            yield str(stage), str(source), rows
        yield str(stage), POOLED, part


def _fold_rows(predictions: pd.DataFrame, stage: str, source: str) -> pd.DataFrame:
    rows = predictions[predictions["stage"] == stage]
    return rows if source == POOLED else rows[rows["source"] == source]


def _mean_fold_auc(rows: pd.DataFrame, clusters: str, settings: dict[str, Any]) -> Estimate:
    strata = rows["fold"].astype(str) + "|" + rows["cls"].astype(str)
    return bootstrap(
        rows,
        lambda t, w: weighted.mean_roc_auc(t["cls"], t["tumor_prob"], t["fold"], w),
        cluster_labels(rows, clusters), weighted=True, strata=strata, unit=clusters, **settings,
    )  # fmt: skip


def _scores(cases: pd.DataFrame, stage: str, source: str) -> np.ndarray:
    return _fold_rows(cases, stage, source)["tumor_prob"].to_numpy()


def _row(stage: str, source: str, metric: str, estimate: Estimate, cases: int) -> dict[str, Any]:
    found = {name: getattr(estimate, name) for name in ("value", "low", "high", "n", "unit", "undefined")}
    found = {name: np.nan if value is None else value for name, value in found.items()}
    keys = {"stage": stage, "source": source, "metric": metric, "cases": cases}
    return {**keys, **found, "reason": estimate.reason or ""}


def _require_columns(predictions: pd.DataFrame) -> None:
    needed = ["id", "stage", "fold", "tumor_prob", "dice", "iou", "hd95", "mask_pixels", *IDENTITY]
    if missing := [name for name in needed if name not in predictions]:
        raise DataError(f"the prediction table lacks the column(s) {', '.join(missing)}")
