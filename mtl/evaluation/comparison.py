r"""Comparisons: paired differences by unit, Holm, and verdicts by a margin fixed beforehand.

The convention is d = second arm - first arm (multi-task minus single-task), higher is better; negate metrics
such as HD95 before comparing. A difference of zero inside the interval is not evidence of equality: the
minimal detectable effect beside it says what could have been seen at all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from mtl.errors import ParameterError, ProtocolError
from mtl.evaluation.statistics import (
    Estimate,
    Table,
    WeightedStatistic,
    cluster_codes,
    cluster_strata,
    draw_counts,
    in_chunks,
    interval_of,
)
from mtl.evaluation.weighted import weighted_mean

Verdict = Literal["negative", "positive", "non-inferior", "inconclusive", "no verdict"]


@dataclass(frozen=True)
class Difference:
    """A paired difference (second - first): estimate, two-sided p-value, minimal detectable effect."""

    estimate: Estimate
    p_value: float | None
    minimal_detectable: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the estimate's keys, ``p_value`` and ``minimal_detectable`` (null where undefined)."""
        extra = {"p_value": self.p_value, "minimal_detectable": self.minimal_detectable}
        return {**self.estimate.to_dict(), **extra}


def paired_difference(
    first: Table | ArrayLike,
    second: Table | ArrayLike,
    clusters: ArrayLike | None,
    *,
    statistic: WeightedStatistic = weighted_mean,
    n_resamples: int = 2000,
    n_exchanges: int | None = None,
    seed: int = 0,
    level: float = 0.95,
    strata: ArrayLike | None = None,
    unit: str = "case",
) -> Difference:
    """statistic(second) - statistic(first), paired by row: interval and p-value over clusters.

    first, second: n rows each, row i of both is the same case (arrays, or DataFrames with equal columns);
    statistic: ``statistic(table, weights (R,n)) -> (R,)``.
    Interval: cluster bootstrap with the same draw for both arms. p-value: randomisation test that exchanges
    the two arms within whole clusters (a sign flip, for a mean), exact where all exchanges fit into
    ``n_exchanges`` (default: ``n_resamples``), otherwise (1 + hits) / (1 + draws). Its null hypothesis is
    exchangeability of the arms, so for rank statistics hand in ranks within each arm (Venkatraman and Begg
    1996). Raises ProtocolError where the arms have different lengths.
    """
    if len(first) != len(second):
        raise ProtocolError(f"arms of {len(first)} and {len(second)} rows cannot be paired")
    codes, n_clusters = cluster_codes(first, clusters)
    if n_clusters == 0:
        return Difference(Estimate(None, None, None, 0, unit, "no cases"), None, None)
    contrast = _contrast_of(first, second, codes, statistic)
    untouched = np.zeros((1, n_clusters))
    value = float(contrast(np.ones((1, n_clusters)), untouched)[0])
    if not math.isfinite(value):
        reason = "the statistic is undefined on this sample"
        return Difference(Estimate(None, None, None, n_clusters, unit, reason), None, None)
    rng = np.random.default_rng(seed)
    groups = cluster_strata(None if strata is None else np.asarray(strata), codes, n_clusters)
    replicates = contrast(draw_counts(groups, n_resamples, rng), untouched)
    flips = exchanges(n_clusters, n_exchanges or n_resamples, rng)
    null = contrast(np.ones((1, n_clusters)), flips)
    p_value = _randomisation_p(value, null, exact=len(flips) == 2**n_clusters)
    spread = float(np.nanstd(replicates, ddof=1)) if np.isfinite(replicates).sum() > 1 else math.nan
    estimate = interval_of(value, replicates, n_clusters, unit, level)
    return Difference(estimate, p_value, effect_from_error(spread, n_clusters - 1))


def exchanges(n_clusters: int, n_draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Which clusters' arms are exchanged (R, C), 0/1: all 2^C patterns where they fit, else draws."""
    if n_clusters < 60 and 2**n_clusters <= n_draws:
        return np.array(list(itertools.product((0.0, 1.0), repeat=n_clusters)))
    return rng.integers(0, 2, (n_draws, n_clusters)).astype(float)


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Holm's step-down adjusted p-values (m,), in the order given (Holm 1979).

    An undefined p-value (NaN or None) stays NaN but counts as a test. Raises ParameterError outside [0,1].
    """
    p = np.array([math.nan if value is None else value for value in p_values], dtype=float)
    if ((p < 0) | (p > 1)).any():
        raise ParameterError(f"p-values {p.tolist()}: expected numbers in [0, 1]")
    order = np.argsort(p)  # NaN sorts last: it takes the largest ranks, so the defined ones face all m tests
    adjusted = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    result = np.empty_like(p)
    result[order] = adjusted
    return result


def clustered_error(values: ArrayLike, clusters: ArrayLike | None) -> tuple[float, int]:
    """Cluster-robust standard error of a mean (ratio estimator) and the number of clusters."""
    values = np.asarray(values, dtype=float)
    codes, n = cluster_codes(values, clusters)
    if n < 2:
        return math.nan, n
    residuals = np.bincount(codes, weights=values - values.mean(), minlength=n)
    return float(math.sqrt(n / (n - 1) * (residuals**2).sum()) / len(values)), n


def minimal_detectable_effect(
    differences: ArrayLike, clusters: ArrayLike | None, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """Smallest true mean difference a two-sided test over these clusters finds with the given power.

    Same unit as the differences; None where there are fewer than 2 clusters or undefined differences.
    """
    error, n = clustered_error(differences, clusters)
    return effect_from_error(error, n - 1, power, alpha)


def effect_from_error(error: float, freedom: int, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """Detectable effect of a t-test: the noncentrality that gives the power, times the standard error."""
    if not (0 < alpha < power < 1):
        raise ParameterError(f"power = {power}, alpha = {alpha}: expected 0 < alpha < power < 1")
    if freedom < 1 or not math.isfinite(error):
        return None
    critical = stats.t.ppf(1 - alpha / 2, freedom)
    shortfall = lambda shift: stats.nct.sf(critical, freedom, shift) - power  # noqa: E731
    # The noncentral t lies near its shift: three times the critical value and more is beyond any power asked.
    return float(error * optimize.brentq(shortfall, 0.0, 3 * critical + 10))


def verdict(interval: Estimate, margin: float) -> Verdict:
    """What the interval of d = multi - single says (higher is better, margin > 0 in the metric's unit).

    In this order, so that exactly one holds:

    1. ``no verdict``    no interval (fewer than 5 seeds, undefined figure)
    2. ``positive``      low > 0: better
    3. ``non-inferior``  -margin < low <= 0: a loss as large as the margin is excluded (even where high < 0, a
       loss smaller than what was declared to matter)
    4. ``negative``      low <= -margin and high < 0: worse, and a loss that matters is not excluded
    5. ``inconclusive``  low <= -margin and high >= 0: the data cannot tell; see the minimal detectable effect

    Raises ParameterError for a negative or non-finite margin.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise ParameterError(f"margin = {margin}, expected a finite number >= 0, fixed before the comparison")
    if interval.low is None or interval.high is None:
        return "no verdict"
    if interval.low > 0:
        return "positive"
    if interval.low > -margin:
        return "non-inferior"
    return "negative" if interval.high < 0 else "inconclusive"


def relative_change(
    multi: Mapping[str, float], single: Mapping[str, float], lower_is_better: Collection[str] = ()
) -> float:
    r"""Mean relative change over tasks (Maninis et al. 2019), as a fraction; positive means multi-task is
    better.

    .. math:: \Delta_m = \frac{1}{K} \sum_k (-1)^{l_k} \frac{M_k^{multi} - M_k^{single}}{M_k^{single}}

    with :math:`l_k = 1` where lower is better. Raises ProtocolError for different tasks or a baseline of 0.
    """
    if set(multi) != set(single) or not multi:
        raise ProtocolError(f"tasks differ: {sorted(multi)} against {sorted(single)}")
    if unknown := set(lower_is_better) - set(multi):
        raise ParameterError(f"lower_is_better names {sorted(unknown)}; the tasks are {sorted(multi)}")
    if zero := [task for task, value in single.items() if value == 0]:
        raise ProtocolError(f"relative change is undefined: the single-task score of {zero} is 0")
    signs = {task: -1 if task in lower_is_better else 1 for task in multi}
    return float(np.mean([signs[task] * (multi[task] - single[task]) / single[task] for task in multi]))


def _contrast_of(
    first: Table | ArrayLike, second: Table | ArrayLike, codes: NDArray, statistic: WeightedStatistic
) -> Callable[[NDArray, NDArray], NDArray]:
    """(counts (R,C), exchanged (R,C)) -> T(second) - T(first), from one table that holds both arms' rows."""
    both, length = _stack(first, second), len(codes)

    def block(packed: NDArray) -> NDArray:
        counts, flips = np.split(packed, 2, axis=1)
        keep, swapped = (counts * (1 - flips))[:, codes], (counts * flips)[:, codes]
        return statistic(both, np.hstack([swapped, keep])) - statistic(both, np.hstack([keep, swapped]))

    def contrast(counts: NDArray, flips: NDArray) -> NDArray:
        return in_chunks(block, np.hstack(np.broadcast_arrays(counts, flips)), 2 * length)

    return contrast


def _stack(first: Table | ArrayLike, second: Table | ArrayLike) -> Table:
    if isinstance(first, pd.DataFrame):
        return pd.concat([first, second], ignore_index=True)
    return np.concatenate([np.asarray(first, dtype=float), np.asarray(second, dtype=float)])


def _randomisation_p(value: float, null: NDArray, *, exact: bool) -> float:
    # An exchange that leaves the statistic undefined counts as a hit: it must not make p smaller.
    hits = int((~(np.abs(null) < abs(value) - 1e-12)).sum())
    return hits / len(null) if exact else (1 + hits) / (1 + len(null))
