"""Differences over seeds and units: what training again would change, and what other units would."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from mtl.errors import ProtocolError
from mtl.evaluation.comparison import clustered_error, effect_from_error
from mtl.evaluation.statistics import Estimate, bootstrap, t_interval
from mtl.evaluation.weighted import weighted_mean


@dataclass(frozen=True)
class SeedsByUnits:
    """Differences over seeds and units.

    ``per_seed``: mean difference of each seed, cluster bootstrap over units (this trained pair of networks);
    ``over_seeds``: t-interval of the per-seed means (retraining, on these very test units);
    ``combined``: both sources of variation (retraining, on other units), with the two-sided ``p_value`` of
    its t-test and the ``minimal_detectable`` effect; None with fewer than 5 seeds or where nothing varies.
    """

    per_seed: tuple[Estimate, ...]
    over_seeds: Estimate
    combined: Estimate
    p_value: float | None
    minimal_detectable: float | None


def seeds_by_units(
    differences: ArrayLike,
    clusters: ArrayLike,
    seeds: ArrayLike,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    unit: str = "case",
) -> SeedsByUnits:
    r"""Intervals of a mean paired difference over seeds x units.

    differences, clusters, seeds: (n,), one row per seed and case. The combined interval is a t-interval with
    :math:`se^2 = s_{seed}^2/S + s_{unit}^2/U` (units: seed-averaged, cluster-robust) and Satterthwaite's
    degrees of freedom; the interaction is counted twice, so it errs towards wide. Fewer than 5 seeds: means
    without interval. Raises ProtocolError unless every seed has the same number of rows per cluster.
    """
    rows = pd.DataFrame({"d": np.asarray(differences, dtype=float), "cluster": clusters, "seed": seeds})
    sizes = rows.groupby(["cluster", "seed"]).size().unstack(fill_value=0)
    if sizes.nunique(axis=1).gt(1).any():
        raise ProtocolError("seeds were evaluated on different units: every seed needs the same test cases")
    parts = [part for _, part in rows.groupby("seed")]
    settings = {"n_resamples": n_resamples, "seed": seed, "level": level, "weighted": True, "unit": unit}
    columns = [(part["d"].to_numpy(), part["cluster"]) for part in parts]
    per_seed = tuple(bootstrap(values, weighted_mean, cluster, **settings) for values, cluster in columns)
    means = [float(values.mean()) for values, _ in columns]
    over_seeds = t_interval(means, level)
    return SeedsByUnits(per_seed, over_seeds, *_combined(rows, len(means), over_seeds, level, unit))


def combined_error(rows: pd.DataFrame) -> tuple[float, float]:
    """Standard error of a mean over seeds and units, and its degrees of freedom (``seeds_by_units``).

    rows: columns d, cluster, seed. NaN where there are fewer than 2 clusters or seeds; (0, NaN) where nothing
    varies.
    """
    means = rows.groupby("seed")["d"].mean()
    error, n_units = clustered_error(rows["d"].to_numpy(), rows["cluster"])
    if n_units < 2 or len(means) < 2:
        return math.nan, math.nan
    from_seeds, from_units = means.var(ddof=1) / len(means), error**2
    total = from_seeds + from_units
    if total == 0:
        return 0.0, math.nan
    freedom = total**2 / (from_seeds**2 / (len(means) - 1) + from_units**2 / (n_units - 1))
    return math.sqrt(total), freedom


def _combined(
    rows: pd.DataFrame, n_seeds: int, over_seeds: Estimate, level: float, unit: str
) -> tuple[Estimate, float | None, float | None]:
    """Estimate, p-value and minimal detectable effect over seeds and units."""
    label, n, value = f"{unit} (x {n_seeds} seeds)", rows["cluster"].nunique(), over_seeds.value
    if over_seeds.low is None or n < 2:
        reason = over_seeds.reason if over_seeds.low is None else "a single unit has no interval"
        return Estimate(value, None, None, n, label, reason), None, None
    error, freedom = combined_error(rows)
    if error == 0:
        return Estimate(value, value, value, n, label, "no variation at all"), None, None
    half = stats.t.ppf((1 + level) / 2, freedom) * error
    p_value = float(2 * stats.t.sf(abs(value) / error, freedom))
    return Estimate(value, value - half, value + half, n, label), p_value, effect_from_error(error, freedom)
