r"""Arms trained with several seeds, compared with a baseline arm on one frozen test set.

A metric such as ROC-AUC is no mean over cases, so its difference is linearised: every case gets the value

.. math:: x_i = T + n \, \partial T / \partial w_i

(infinitesimal jackknife, Jaeckel 1972; for the AUC these are the structural components of DeLong 1988). The
mean of the :math:`x_i` is exactly T, because T does not change when all weights are scaled. What
``comparison.seeds_by_units`` says of a mean then holds for every metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtl.errors import ParameterError, ProtocolError
from mtl.evaluation.brain_mri.stages import METRICS, Metric, cases_by_arm, filled_masks
from mtl.evaluation.brain_mri.tables import POOLED, check_test_sets, cluster_labels
from mtl.evaluation.comparison import holm, verdict
from mtl.evaluation.seeds_by_units import seeds_by_units
from mtl.evaluation.statistics import in_chunks, t_interval

STEP = 1e-4  # of the central differences; their error is of its square


def case_values(metric: Metric, cases: pd.DataFrame) -> NDArray[np.float64]:
    """Values (n,) whose mean is the metric over ``cases`` and whose scatter is its sampling error."""
    n = len(cases)
    nudge = STEP * np.eye(n)
    slope = in_chunks(lambda weights: metric.statistic(cases, weights), np.vstack([1 + nudge, 1 - nudge]), n)
    value = float(metric.statistic(cases, np.ones((1, n)))[0])
    values = value + n * (slope[:n] - slope[n:]) / (2 * STEP)
    return values - values.mean() + value


def arm_values(predictions: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """The metrics of every trained network, pooled and per source.

    predictions: the prediction table of one stage with the columns ``arm`` and ``seed``. Returns columns
    metric, source, arm, seed, value. Raises ProtocolError where test sets differ.
    """
    rows = [
        {"metric": name, "source": source, "arm": arm, "seed": seed, "value": float(values.mean())}
        for name, source in planned(predictions, metrics)
        for arm, seeds in _values(predictions, name, source).items()
        for seed, (values, _) in seeds.items()
    ]
    return pd.DataFrame(rows, columns=["metric", "source", "arm", "seed", "value"])


def arm_means(values: pd.DataFrame) -> pd.DataFrame:
    """``arm_values`` averaged over seeds: columns metric, source, arm, estimate (t-interval over seeds)."""
    keys = ["metric", "source", "arm"]
    rows = [
        {**dict(zip(keys, key, strict=True)), "estimate": t_interval(list(part["value"])).to_dict()}
        for key, part in values.groupby(keys, sort=False)
    ]
    return pd.DataFrame(rows)


def compare_with_baseline(
    predictions: pd.DataFrame,
    baseline: str,
    metrics: Sequence[str],
    margins: Mapping[str, float],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Paired differences arm - baseline over seeds and units, one row per metric, source and arm.

    predictions: as in ``arm_values``; seeds are paired (the same seed trained both arms). Columns: metric,
    source, arm, baseline, value; seeds_low, seeds_high (t-interval of the per-seed differences: training
    again, these test cases); low, high (seeds x units: training again, other cases); n, unit, seeds,
    per_seed (a list of estimates, cluster bootstrap over units: these very networks), p_value (t-test with
    the error of seeds x units), p_holm (over all rows), minimal_detectable, margin, verdict (of low, high;
    ``no verdict`` with fewer than 5 seeds), reason.
    Raises ProtocolError where test sets or seeds differ, ParameterError for an unknown arm, metric or margin.
    """
    _check_request(predictions, baseline, metrics, margins)
    settings = {"n_resamples": n_resamples, "seed": seed, "unit": "group"}
    rows = []
    for name, source in planned(predictions, metrics):
        found = _values(predictions, name, source)
        for arm in (arm for arm in found if arm != baseline):
            pairs = _paired(found[baseline], found[arm])
            keys = {"metric": name, "source": source, "arm": arm, "baseline": baseline}
            rows.append({**keys, **_over_seeds(pairs, margins[name], settings)})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p_value"].tolist())) if rows else table


def planned(predictions: pd.DataFrame, metrics: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(metric, source) wherever the cases have what the metric needs: pooled, then source by source."""
    by_source = dict(list(predictions.groupby("source")))
    for name in metrics:
        within = name == "roc_auc_within_source"
        wanted = [part for part in by_source.values() if _defined(name, part)]
        if (wanted and within) or (not within and _defined(name, predictions)):
            yield name, POOLED
        if len(by_source) > 1 and not within:
            yield from ((name, source) for source, part in by_source.items() if _defined(name, part))


def _defined(name: str, cases: pd.DataFrame) -> bool:
    masks, classes = bool(filled_masks(cases).any()), cases["cls"].nunique() > 1
    return masks if METRICS[name].masked_only else (classes and (masks or name != "combined"))


def _values(
    predictions: pd.DataFrame, name: str, source: str
) -> dict[str, dict[int, tuple[pd.Series, pd.Series]]]:
    """Arm -> seed -> (case values, clusters), both indexed by id."""
    metric, found = METRICS[name], {}
    for seed, rows in predictions.groupby("seed"):
        arms = cases_by_arm(rows.assign(stage=rows["arm"]), None if source == POOLED else source)
        for arm, cases in arms.items():
            cases = cases[filled_masks(cases)] if metric.masked_only else cases
            values = pd.Series(case_values(metric, cases), index=cases["id"])
            clusters = cluster_labels(cases, "group").set_axis(cases["id"])
            found.setdefault(arm, {})[int(seed)] = (values, clusters)
    return found


def _paired(first: Mapping[int, Any], second: Mapping[int, Any]) -> pd.DataFrame:
    """Rows seed, cluster, d (second - first) of the same cases."""
    parts = []
    for seed, (values, clusters) in second.items():
        if list(first[seed][0].index) != list(values.index):
            raise ProtocolError(f"seed {seed}: the arms were not scored on the same cases")
        parts.append(pd.DataFrame({"d": values - first[seed][0], "cluster": clusters, "seed": seed}))
    return pd.concat(parts, ignore_index=True)


def _over_seeds(pairs: pd.DataFrame, margin: float, settings: Mapping[str, Any]) -> dict[str, Any]:
    found = seeds_by_units(pairs["d"], pairs["cluster"], pairs["seed"], **settings)
    both, over_seeds = found.combined, found.over_seeds
    return {
        "value": over_seeds.value,
        "seeds_low": over_seeds.low,
        "seeds_high": over_seeds.high,
        "low": both.low,
        "high": both.high,
        "n": both.n,
        "unit": "group",
        "seeds": len(found.per_seed),
        "per_seed": [estimate.to_dict() for estimate in found.per_seed],
        "p_value": found.p_value,
        "minimal_detectable": found.minimal_detectable,
        "margin": margin,
        "verdict": verdict(both, margin),
        "reason": both.reason or "",
    }


def _check_request(
    predictions: pd.DataFrame, baseline: str, metrics: Sequence[str], margins: Mapping[str, float]
) -> None:
    check_test_sets(predictions.assign(stage=predictions["arm"]))
    seeds = predictions.groupby("arm")["seed"].agg(lambda column: tuple(sorted(set(column))))
    if baseline not in seeds:
        raise ParameterError(f"baseline {baseline!r}: the arms are {', '.join(seeds.index)}")
    if unknown := [name for name in metrics if name not in METRICS]:
        raise ParameterError(f"metric {unknown}: expected some of {', '.join(METRICS)}")
    if missing := [name for name in metrics if name not in margins]:
        raise ParameterError(f"no margin for {missing}")
    if differing := [arm for arm in seeds.index if seeds[arm] != seeds[baseline]]:
        raise ProtocolError(
            f"arm {differing[0]!r} has seeds {seeds[differing[0]]}, the baseline {seeds[baseline]}: "
            "differences are paired by seed"
        )
