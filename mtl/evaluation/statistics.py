r"""Estimates with intervals: the cluster bootstrap over units and the t-interval over seeds.

**Cluster bootstrap.** Units (patients, image groups) are drawn with replacement, all rows of a drawn
unit come along. A resample is a vector of counts per unit, so a statistic that accepts row weights is
evaluated on all resamples by matrix products.

**Which interval.** The percentile interval: it keeps the statistic's range, is invariant under monotone
maps, and needs no jackknife, which BCa does and which fails for medians. Plain percentiles are too narrow
with few units, so the tails are expanded (Hesterberg 2015, *The American Statistician* 69:371) to

.. math:: \alpha' = \Phi\!\left(\sqrt{n/(n-1)}\; t_{\alpha/2,\,n-1}\right),

which makes the interval of a mean as wide as the t-interval to first order.

**Undefined.** A figure that cannot be computed has ``value None`` and a reason. Resamples on which the
statistic is NaN are counted in ``Estimate.undefined``; where they exceed a tenth there is no interval,
because the rest would be a biased sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mtl.errors import DataError, ParameterError
from mtl.evaluation.weighted import weighted_mean

MAX_UNDEFINED_SHARE = 0.1
MIN_SEEDS = 5
CHUNK_ELEMENTS = 2**21  # weights per chunk: 16 MiB, small enough to stay near the cache

Table = pd.DataFrame | NDArray[np.float64]
WeightedStatistic = Callable[[Any, NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """One figure with its interval; ``n`` counts independent units of kind ``unit``.

    ``value``, ``low``, ``high`` are floats or None (NaN and infinity become None, so that JSON holds null);
    ``reason`` says why something is missing or how an unusual interval was made; ``undefined`` counts the
    resamples on which the statistic could not be computed.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    reason: str | None = None
    undefined: int = 0

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            finite = number is not None and math.isfinite(number)
            object.__setattr__(self, name, float(number) if finite else None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: value, low, high, n, unit; reason and undefined where there is something to say."""
        data = {"value": self.value, "low": self.low, "high": self.high, "n": int(self.n), "unit": self.unit}
        if self.reason:
            data["reason"] = self.reason
        if self.undefined:
            data["undefined"] = int(self.undefined)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Estimate:
        """Inverse of ``to_dict``; raises DataError where a key is missing or unknown."""
        try:
            return cls(**data)
        except TypeError as error:
            raise DataError(f"not an estimate: {data!r} (expected value, low, high, n, unit)") from error

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        if self.value is None:
            return f"undefined ({self.reason})" if self.reason else "undefined"
        if self.low is None or self.high is None:
            return f"{self.value:{spec}} [no interval{f': {self.reason}' if self.reason else ''}]"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self, "")


def bootstrap(
    table: Table,
    statistic: Callable[..., Any],
    clusters: str | ArrayLike | None,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    *,
    weighted: bool = False,
    strata: str | ArrayLike | None = None,
    unit: str | None = None,
    centred: bool = False,
) -> Estimate:
    """Cluster-bootstrap interval of a statistic (expanded percentiles, see the module's text).

    table: n rows (DataFrame, or array with rows first); clusters, strata: column name or n values
    (``clusters=None``: every row is a unit of its own).
    statistic: ``weighted=False``: ``statistic(rows) -> float``, called once per resample (slow);
    ``weighted=True``: ``statistic(table, weights (R,n)) -> (R,)``, called on chunks. NaN means undefined.
    strata: clusters are drawn within strata, so that every resample has both classes. A cluster's stratum is
    the set of its rows' values; a stratum of a single cluster joins the largest, since it would never vary.
    centred: subtract the bootstrap's own estimate of bias from both ends (for statistics such as ECE, whose
    resamples lie above the sample's value by construction).
    Raises ParameterError for impossible settings, DataError for missing cluster labels.
    """
    _check_settings(n_resamples, level)
    codes, n_clusters = cluster_codes(table, clusters)
    unit = unit or (clusters if isinstance(clusters, str) else "case")
    if n_clusters == 0:
        return Estimate(None, None, None, 0, unit, "no cases")
    evaluate = _weighted_evaluator(statistic) if weighted else _row_evaluator(statistic)
    value = float(evaluate(table, np.ones((1, n_clusters)), codes)[0])
    if not math.isfinite(value):
        return Estimate(None, None, None, n_clusters, unit, "the statistic is undefined on this sample")
    groups = cluster_strata(_column(table, strata), codes, n_clusters)
    counts = draw_counts(groups, n_resamples, np.random.default_rng(seed))
    replicates = evaluate(table, counts, codes)
    return interval_of(value, replicates, n_clusters, unit, level, centred=centred)


def interval_of(
    value: float, replicates: NDArray, n: int, unit: str, level: float = 0.95, *, centred: bool = False
) -> Estimate:
    """Expanded-percentile interval from bootstrap replicates (R,), NaN where undefined."""
    defined = replicates[np.isfinite(replicates)]
    undefined = len(replicates) - len(defined)
    plain = Estimate(value, None, None, n, unit, undefined=undefined)
    if n < 2:
        return replace(plain, reason="a single unit has no interval")
    if undefined > MAX_UNDEFINED_SHARE * len(replicates):
        return replace(plain, reason=f"undefined on {undefined} of {len(replicates)} resamples")
    low, high = np.quantile(defined, expanded_tails(level, n))
    bias = defined.mean() - value if centred else 0.0
    note = "all resamples agree: the interval carries no information" if np.ptp(defined) == 0 else None
    return replace(plain, low=low - bias, high=high - bias, reason=note)


def expanded_tails(level: float, n: int) -> tuple[float, float]:
    """Tail probabilities of the expanded percentile interval for n units (Hesterberg 2015)."""
    quantile = stats.t.ppf((1 - level) / 2, n - 1) * math.sqrt(n / (n - 1))
    tail = float(stats.norm.cdf(quantile))
    return tail, 1 - tail


def proportion(
    successes: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    unit: str = "case",
) -> Estimate:
    """Share of rows that succeed (n values in [0,1]), by cluster bootstrap.

    At exactly 0 or 1 every resample agrees; there the Clopper-Pearson interval with the number of clusters as
    n is given instead (conservative when a cluster has several rows), and ``reason`` says so.
    """
    rows = np.asarray(successes, dtype=float)
    settings = {"n_resamples": n_resamples, "seed": seed, "level": level, "unit": unit}
    estimate = bootstrap(rows, weighted_mean, clusters, weighted=True, **settings)
    if estimate.value not in (0.0, 1.0):
        return estimate
    exact = stats.binomtest(int(estimate.value) * estimate.n, estimate.n).proportion_ci(level, method="exact")
    reason = "Clopper-Pearson over units: the bootstrap is degenerate at 0 and 1"
    return replace(estimate, low=exact.low, high=exact.high, reason=reason)


def t_interval(per_seed_means: Sequence[float], level: float = 0.95, unit: str = "seed") -> Estimate:
    """Student t-interval of the mean over seeds; with fewer than 5 seeds the mean alone (no verdict).

    A percentile bootstrap of 3 seeds would cover 73 %, not 95 %.
    """
    means = np.asarray(per_seed_means, dtype=float)
    n = len(means)
    missing = int((~np.isfinite(means)).sum())
    if n == 0 or missing:
        return Estimate(None, None, None, n, unit, f"{missing} of {n} seeds undefined")
    value = float(means.mean())
    if n < MIN_SEEDS:
        return Estimate(value, None, None, n, unit, f"{n} seeds, {MIN_SEEDS} needed: no verdict")
    if np.ptp(means) == 0:
        return Estimate(value, value, value, n, unit, "all seeds agree: the interval carries no information")
    low, high = stats.ttest_1samp(means, 0.0).confidence_interval(level)
    return Estimate(value, low, high, n, unit)


def cluster_codes(table: Table, clusters: str | ArrayLike | None) -> tuple[NDArray[np.intp], int]:
    """Rows' cluster numbers (n,) in 0..C-1, in order of first appearance, and C."""
    if clusters is None:
        return np.arange(len(table)), len(table)
    labels = _column(table, clusters)
    codes, names = pd.factorize(labels)
    if missing := int((codes < 0).sum()):
        raise DataError(f"{missing} of {len(codes)} rows have no cluster label (patient, group)")
    return codes, len(names)


def cluster_strata(strata: NDArray | None, codes: NDArray, n_clusters: int) -> NDArray[np.intp]:
    """Stratum number (C,) of each cluster: the set of its rows' values; singletons join the largest."""
    if strata is None:
        return np.zeros(n_clusters, dtype=np.intp)
    values, _ = pd.factorize(np.asarray(strata))
    sets = pd.Series(values).groupby(codes).agg(lambda rows: tuple(sorted(set(rows))))
    numbers, names = pd.factorize(sets.sort_index())
    sizes = np.bincount(numbers, minlength=len(names))
    numbers[sizes[numbers] == 1] = sizes.argmax()
    return numbers


def draw_counts(strata: NDArray[np.intp], n_resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each cluster is drawn (R, C): multinomial within every stratum."""
    counts = np.zeros((n_resamples, len(strata)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        size = len(members)
        counts[:, members] = rng.multinomial(size, np.full(size, 1 / size), n_resamples)
    return counts


def in_chunks(function: Callable[[NDArray], NDArray], counts: NDArray, row_length: int) -> NDArray:
    """``function`` of (R, C) counts, evaluated on blocks whose expanded weights fit in memory."""
    step = max(1, CHUNK_ELEMENTS // max(1, row_length))
    return np.concatenate([function(counts[start : start + step]) for start in range(0, len(counts), step)])


def _weighted_evaluator(statistic: WeightedStatistic) -> Callable[[Table, NDArray, NDArray], NDArray]:
    def evaluate(table: Table, counts: NDArray, codes: NDArray) -> NDArray:
        return in_chunks(lambda part: statistic(table, part[:, codes]), counts, len(codes))

    return evaluate


def _row_evaluator(statistic: Callable[[Any], float]) -> Callable[[Table, NDArray, NDArray], NDArray]:
    def evaluate(table: Table, counts: NDArray, codes: NDArray) -> NDArray:
        rows = (np.repeat(np.arange(len(codes)), row.astype(int)[codes]) for row in counts)
        return np.array([float(statistic(_take(table, chosen))) for chosen in rows])

    return evaluate


def _take(table: Table, rows: NDArray) -> Table:
    return table.iloc[rows] if isinstance(table, pd.DataFrame) else np.asarray(table)[rows]


def _column(table: Table, column: str | ArrayLike | None) -> NDArray | None:
    if column is None:
        return None
    values = np.asarray(table[column] if isinstance(column, str) else column)
    if len(values) != len(table):
        raise DataError(f"{len(values)} labels for {len(table)} rows")
    return values


def _check_settings(n_resamples: int, level: float) -> None:
    if n_resamples < 1:
        raise ParameterError(f"n_resamples = {n_resamples}, expected at least 1")
    if not 0 < level < 1:
        raise ParameterError(f"level = {level}, expected a number between 0 and 1")
