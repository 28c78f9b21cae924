r"""Figures of the source-shortcut laboratory, all from one test set.

**The dial of the test side.** Cases were drawn with $P(y \mid s) = \tfrac12$. A collection at $\rho$ has
$P_\rho(y=1 \mid s) = (1 + \ell_s \rho) / 2$ with $\ell_s = \pm 1$; importance weights

$$w(y, s) = \frac{P_\rho(y \mid s)}{P_0(y \mid s)} = 1 + \rho\, \ell_s (2y - 1)$$

turn one set into the other. Every pair (positive, negative) of *one* source has the weight
$(1+\rho)(1-\rho)$, whatever its source: the within-source AUC does not depend on the test side's $\rho$ at
all, while the mixed AUC does. At $\rho = 1$ no such pair is left in a collection; here it is still there to
be asked.

**Seeds.** With several networks per arm, a figure is the mean of theirs; its interval is over test patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtl.evaluation import weighted
from mtl.evaluation.statistics import Estimate, bootstrap

MIXED, DEPLOYED, WITHIN = "mixed", "deployed", "within source"
COLUMNS = ["arm", "rho", "figure", "value", "low", "high", "n", "unit", "reason"]


def dial_weights(cls: NDArray, source: NDArray, rho: float, leaning: Mapping[str, int]) -> NDArray:
    """Weights ``(n,)`` that turn balanced cases into a collection at ``rho``; see the module's text."""
    direction = np.array([leaning[name] for name in source])
    return 1 + rho * direction * (2 * np.asarray(cls) - 1)


def mixed_auc(
    cases: pd.DataFrame, rho: float, leaning: Mapping[str, int], n_resamples: int = 2000, seed: int = 0
) -> Estimate:
    """ROC-AUC on mixed sources at the test side's ``rho``.

    cases: one arm's rows with id, source, group, cls, seed, tumor_prob. Cases without weight are left out.
    """
    weight = dial_weights(cases["cls"].to_numpy(), cases["source"].to_numpy(), rho, leaning)
    kept = cases[weight > 0]
    return _estimate(
        kept, lambda y, p, s, w: weighted.roc_auc(y, p, w), weight[weight > 0], n_resamples, seed
    )


def within_source_auc(cases: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> Estimate:
    """ROC-AUC over pairs of one source only; the same at every ``rho`` of the test side."""
    return _estimate(cases, weighted.roc_auc_within, np.ones(len(cases)), n_resamples, seed)


def shortcut_table(
    predictions: pd.DataFrame, leaning: Mapping[str, int], n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Every arm and rho: ``mixed`` (tested at the same rho), ``deployed`` (at 0), ``within source``, sources.

    predictions: rows of all arms with arm, rho, seed, id, source, group, cls, tumor_prob. Returns tidy rows
    (`COLUMNS`), in order of appearance.
    """
    rows = []
    for (arm, rho), cases in predictions.groupby(["arm", "rho"], sort=False):
        settings = {"n_resamples": n_resamples, "seed": seed}
        found = {
            MIXED: mixed_auc(cases, rho, leaning, **settings),
            DEPLOYED: mixed_auc(cases, 0.0, leaning, **settings),
            WITHIN: within_source_auc(cases, **settings),
        }
        for source, part in cases.groupby("source"):
            found[str(source)] = within_source_auc(part, **settings)
        rows += [_row(arm, rho, name, estimate) for name, estimate in found.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def transfer_table(
    cases: pd.DataFrame, leaning: Mapping[str, int], n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """One arm: mixed AUC for every training rho (row) at every test rho (column ``tested_at``)."""
    dial = sorted(set(cases["rho"]))
    rows = []
    for trained_at, part in cases.groupby("rho"):
        for tested_at in dial:
            estimate = mixed_auc(part, tested_at, leaning, n_resamples, seed)
            rows.append({"trained_at": trained_at, "tested_at": tested_at, **estimate.to_dict()})
    return pd.DataFrame(rows).drop(columns="reason", errors="ignore")


def figure_of(table: pd.DataFrame, arm: str, rho: float, figure: str) -> dict[str, Any]:
    """One row of `shortcut_table` as ``{value, low, high, n, unit, reason}``. Raises KeyError."""
    rows = table[(table["arm"] == arm) & (table["rho"] == rho) & (table["figure"] == figure)]
    if len(rows) != 1:
        raise KeyError(f"no figure {figure!r} for arm {arm!r} at rho {rho:g}")
    found = rows.iloc[0][COLUMNS[3:]].to_dict()
    return found if isinstance(found["reason"], str) else {**found, "reason": None}


def figure_rows(table: pd.DataFrame, arm: str, figure: str) -> pd.DataFrame:
    """A figure of one arm along the dial, rho rising; empty where it is nowhere defined."""
    rows = table[(table["arm"] == arm) & (table["figure"] == figure)]
    return rows.sort_values("rho", ignore_index=True)


def _estimate(cases: pd.DataFrame, metric: Any, weight: NDArray, n_resamples: int, seed: int) -> Estimate:
    """Mean over seeds of a metric of (y, p, source, weights); groups are drawn within (source, class)."""
    keys = ["id", "source", "group", "cls"]
    rows = cases[[*keys, "seed", "tumor_prob"]].assign(weight=weight)
    wide = rows.pivot(index=[*keys, "weight"], columns="seed", values="tumor_prob").reset_index()
    seeds = sorted(set(cases["seed"]))

    def statistic(table: pd.DataFrame, counts: NDArray) -> NDArray:
        weights = counts * table["weight"].to_numpy()
        found = [metric(table["cls"], table[number], table["source"], weights) for number in seeds]
        return np.mean(found, axis=0)

    strata = wide["source"] + "|" + wide["cls"].astype(str)
    clusters = wide["source"] + "/" + wide["group"]
    return bootstrap(
        wide, statistic, clusters, n_resamples, seed, weighted=True, strata=strata, unit="patient"
    )


def _row(arm: str, rho: float, figure: str, estimate: Estimate) -> dict[str, Any]:
    return {"arm": arm, "rho": rho, "figure": figure, **{"reason": None, **estimate.to_dict()}}
