"""Variants against all objectives: paired by study and seed; a verdict only over five seeds and more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mtl.evaluation.angiography.retrieval import TO_REPORT, TO_VIDEO
from mtl.evaluation.angiography.summary import mean_estimates
from mtl.evaluation.comparison import holm, verdict
from mtl.evaluation.seeds_by_units import seeds_by_units
from mtl.evaluation.statistics import Estimate
from mtl.studies.angiography.scoring import CAPTIONS, read_scores
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import ALL, COMPARED, shown_variant


def study_scores(study: AngiographyStudy, variant: str) -> pd.DataFrame:
    """Metrics of every test study for each seed: ``study, seed`` and those of ``COMPARED`` that there are."""
    tables = []
    for training in study.trainings(variant):
        found = read_scores(study, training)
        columns = {}
        if "retrieval" in found:
            columns |= _recalls(found["retrieval"])
        if "captions" in found:
            rows = found["captions"]
            columns["fields"] = fields_by_study(rows[rows["arm"] == CAPTIONS])
        table = pd.DataFrame(columns).rename_axis("study").reset_index()
        tables.append(table.assign(seed=training.seed))
    return pd.concat(tables, ignore_index=True)


def _recalls(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Mean R@1 of each study's queries, both ways."""
    means = table.groupby(["direction", "study"])["recall_1"].mean()
    return {"to_report": means[TO_REPORT], "to_video": means[TO_VIDEO]}


def fields_by_study(rows: pd.DataFrame) -> pd.Series:
    """Field F1 over all findings of a study's clips; 1 where neither report names any."""
    sums = rows.groupby("study")[["n_within_10", "n_true", "n_generated"]].sum()
    named = sums["n_true"] + sums["n_generated"]
    return (2 * sums["n_within_10"] / named.where(named > 0)).fillna(1.0)


def compare(study: AngiographyStudy, variant: str) -> dict[str, dict[str, Any]]:
    """Metric to the difference ``all objectives - variant``, above 0: all are better.

    Returns:
        ``estimate``: over seeds and studies with five seeds or more, else of the first seed, over studies
        alone (these very networks); ``p_value``, ``minimal_detectable`` (None with fewer seeds); ``verdict``
        by the margin of the parameters; ``seeds``. Metrics that the variant does not have are left out.
    """
    p = study.parameters
    mine, other = study_scores(study, ALL), study_scores(study, variant)
    pairs = mine.merge(other, on=["study", "seed"], suffixes=("", "_other"), validate="one_to_one")
    found = {}
    for metric in (name for name in COMPARED if name in mine and name in other):
        over = seeds_by_units(
            pairs[metric] - pairs[f"{metric}_other"], pairs["study"], pairs["seed"],
            n_resamples=p.n_bootstrap, seed=p.seed, unit="study",
        )  # fmt: skip
        enough = over.combined.low is not None
        margin = p.f1_margin if metric == "fields" else p.recall_margin
        found[metric] = {
            "estimate": over.combined if enough else over.per_seed[0],
            "p_value": over.p_value,
            "minimal_detectable": over.minimal_detectable,
            "verdict": verdict(over.combined, margin) if enough else "no verdict",
            "seeds": p.seeds,
        }
    return found


def with_holm(
    comparisons: Mapping[str, dict[str, dict[str, Any]]],
) -> Mapping[str, dict[str, dict[str, Any]]]:
    """``p_holm`` beside every p-value, corrected over all variants of one metric."""
    for metric in COMPARED:
        rows = [found[metric] for found in comparisons.values() if metric in found]
        for row, p in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
            row["p_holm"] = None if p != p else float(p)
    return comparisons


def figures_table(figures: Mapping[str, Mapping[str, Estimate]], column: str) -> pd.DataFrame:
    """A row per variant, its name under ``column``; a column per metric, None where a variant has none."""
    rows = [
        {column: shown_variant(variant), **{label: found.get(metric) for metric, label in COMPARED.items()}}
        for variant, found in figures.items()
    ]
    return pd.DataFrame(rows).astype(object)


def first_differences(
    differences: Mapping[str, Mapping[str, Mapping[str, Any]]], n: int = 2
) -> list[dict[str, Any]]:
    """``label`` and ``value`` of the first ``n`` differences, for the gallery's card."""
    named = [
        {"label": f"{COMPARED[metric]}, minus {shown_variant(variant)}", "value": row["estimate"]}
        for variant, found in differences.items()
        for metric, row in found.items()
    ]
    return named[:n]


def forest_rows(
    differences: Mapping[str, Mapping[str, Mapping[str, Any]]], own: Mapping[str, Estimate]
) -> list[dict[str, Any]]:
    """Rows of ``forest_plot``: every difference, or where nothing was compared the run's ``own`` figures."""
    rows = [
        {"label": f"{COMPARED[metric]}: minus {shown_variant(variant)}", "estimate": row["estimate"]}
        for variant, found in differences.items()
        for metric, row in found.items()
    ]
    return rows or [{"label": COMPARED[metric], "estimate": estimate} for metric, estimate in own.items()]


def metric_estimates(study: AngiographyStudy, variant: str) -> dict[str, Estimate]:
    """Means of a variant's metrics over test studies and seeds, with intervals over studies."""
    p, table = study.parameters, study_scores(study, variant)
    metrics = [metric for metric in COMPARED if metric in table]
    return mean_estimates(table, metrics, n_resamples=p.n_bootstrap, seed=p.seed)
