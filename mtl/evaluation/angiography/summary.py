"""Figures over studies: means of columns and statistics of tables, each with its interval.

A study's rows (its views) are drawn together; rows where a figure is undefined are left out of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from numpy.typing import NDArray

from mtl.errors import DataError
from mtl.evaluation.statistics import Estimate, WeightedStatistic, bootstrap
from mtl.evaluation.weighted import weighted_mean

UNIT = "study"


def mean_estimates(
    table: pd.DataFrame, columns: Sequence[str], *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, Estimate]:
    """Mean of each column over the rows where it is defined, with a cluster bootstrap over ``study``.

    table: a column ``study`` and ``columns``; one that the table lacks, or that is undefined in every row, is
    left out. ``Estimate.n`` counts the studies with a defined value.
    """
    found = {}
    for name in columns:
        if name not in table or table[name].isna().all():
            continue
        rows = table.loc[table[name].notna(), [UNIT, name]].reset_index(drop=True)
        found[name] = table_estimate(rows, _mean_of(name), n_resamples=n_resamples, seed=seed)
    return found


def table_estimate(
    table: pd.DataFrame, statistic: WeightedStatistic, *, n_resamples: int = 2000, seed: int = 0
) -> Estimate:
    """One statistic ``(table, weights (R, n)) -> (R,)`` with a cluster bootstrap over ``study``."""
    return bootstrap(table, statistic, UNIT, n_resamples, seed, weighted=True, unit=UNIT)


def table_estimates(
    table: pd.DataFrame,
    statistics: Mapping[str, WeightedStatistic],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Several statistics of one table, by name: ``table_estimate`` of each."""
    settings = {"n_resamples": n_resamples, "seed": seed}
    return {name: table_estimate(table, statistic, **settings) for name, statistic in statistics.items()}


def require_lengths(**columns: Sequence | NDArray) -> int:
    """The one length of all columns; raises DataError naming them where they differ or are empty."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise DataError(f"columns of different lengths ({listed}): expected a value of each for every clip")
    length = next(iter(lengths.values()))
    if length == 0:
        raise DataError(f"{', '.join(lengths)}: no clip to evaluate, expected at least one")
    return length


def _mean_of(name: str) -> WeightedStatistic:
    return lambda rows, weights: weighted_mean(rows[name].to_numpy(float), weights)
