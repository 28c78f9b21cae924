"""Figures of maps over cases: means with intervals by group, and paired differences between two kinds of map.

The input is one row per case, fold, kind of ``map`` and random ``draw``, with the columns id, source, group,
cls, has_mask, mask_pixels, the figures of ``explanation.map_figures``, ``chance`` and ``spearman``. Folds and
draws of a case are averaged first, so that it counts once. Maps that point nowhere have no figures; they are
left out of means, and their share is a figure of its own (``undefined``). Because leaving them out flatters
whoever keeps silent where it is hard, ``pointing_hit_strict`` counts them as misses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mtl.errors import DataError, ProtocolError
from mtl.evaluation.brain_mri.tables import POOLED, cluster_labels
from mtl.evaluation.comparison import paired_difference
from mtl.evaluation.statistics import Estimate, bootstrap, proportion
from mtl.evaluation.weighted import weighted_mean

#: Figures about the tumour: only cases with a known, non-empty mask have them.
ON_TUMOUR = ("pointing_hit", "pointing_hit_strict", "pointing_hit_near", "iou", "energy_inside", "chance")
#: Figures that every case has.
ON_ALL = ("energy_outside_head", "undefined", "spearman")
_SHARES = ("pointing_hit", "pointing_hit_strict", "pointing_hit_near", "undefined")
_IDENTITY = ["source", "group", "cls", "has_mask", "mask_pixels"]


def average_maps(table: pd.DataFrame) -> pd.DataFrame:
    """One row per (map, id): figures averaged over the folds and draws in which they are defined.

    ``undefined`` becomes the share of a case's maps that point nowhere. Raises ProtocolError where a map of a
    case occurs twice in one fold and draw.
    """
    if twice := int(table.duplicated(["map", "id", "fold", "draw"]).sum()):
        raise ProtocolError(f"{twice} map(s) occur twice in one fold and draw: each counts once")
    strict = table["pointing_hit"].where(table["undefined"] == 0, 0.0).where(table["mask_pixels"] > 0)
    figures = [name for name in (*ON_TUMOUR, *ON_ALL) if name != "pointing_hit_strict"]
    grouped = table.assign(pointing_hit_strict=strict).groupby(["map", "id"], sort=False)
    means = grouped[[*figures, "pointing_hit_strict"]].mean()
    return pd.concat([grouped[_IDENTITY].first(), means], axis=1).reset_index()


def map_estimates(
    cases: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """``{map: {source or "pooled": {figure: Estimate}}}`` from ``average_maps``, clustered by group."""
    settings = {"n_resamples": n_resamples, "seed": seed}
    return {
        str(name): {
            source: {figure: _estimate(rows, figure, settings) for figure in (*ON_TUMOUR, *ON_ALL)}
            for source, rows in _sources(part)
        }
        for name, part in cases.groupby("map", sort=False)
    }


def map_differences(
    cases: pd.DataFrame,
    figures: Sequence[str],
    first: str,
    second: str,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, dict[str, Any]]]:
    """``{figure: {source or "pooled": {value, low, high, n, unit, cases, left_out}}}`` of second - first.

    Paired by case, clustered by group; ``left_out`` counts cases on which one of the two is undefined.
    Raises DataError where a kind of map is not in the table.
    """
    if missing := {first, second} - set(cases["map"]):
        raise DataError(f"no maps {', '.join(sorted(missing))} in the table")
    both = [cases[cases["map"] == name].set_index("id") for name in (first, second)]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for figure in figures:
        rows = both[1].assign(first=both[0][figure], second=both[1][figure])
        for source, part in _sources(_asked(rows, figure)):
            defined = part.dropna(subset=["first", "second"])
            clusters = cluster_labels(defined, "group")
            difference = paired_difference(
                defined["first"].to_numpy(), defined["second"].to_numpy(), clusters,
                n_resamples=n_resamples, seed=seed, unit="group",
            )  # fmt: skip
            counts = {"cases": len(defined), "left_out": len(part) - len(defined)}
            found.setdefault(figure, {})[source] = difference.estimate.to_dict() | counts
    return found


def range_over_draws(
    table: pd.DataFrame, name: str, figures: Sequence[str]
) -> dict[str, dict[str, float | int]]:
    """``{figure: {lowest, highest, draws}}``: means of single random draws of a kind of map.

    table: rows as they are; the cases of a draw are averaged over folds where it is defined. The intervals of
    ``map_estimates`` are about the cases; this is how much the luck of the weights matters.
    """
    rows = table[table["map"] == name]
    found: dict[str, dict[str, float | int]] = {}
    for figure in figures:
        means = _asked(rows, figure).groupby(["draw", "id"])[figure].mean().groupby("draw").mean()
        found[figure] = {"lowest": means.min(), "highest": means.max(), "draws": len(means)}
    return found


def reading(difference: Mapping[str, Any]) -> str:
    """What an interval of second - first says, the figure being better when higher: one rule for all runs.

    "better" where it lies above zero, "worse" where it lies below, else "no difference shown".
    """
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return "not defined"
    return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def _asked(rows: pd.DataFrame, figure: str) -> pd.DataFrame:
    """The cases that a figure is about."""
    return rows[rows["mask_pixels"] > 0] if figure in ON_TUMOUR else rows


def _sources(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [*((str(name), part) for name, part in rows.groupby("source", sort=True)), (POOLED, rows)]


def _estimate(rows: pd.DataFrame, figure: str, settings: dict[str, int]) -> Estimate:
    defined = _asked(rows, figure).dropna(subset=[figure])
    values, clusters = defined[figure].to_numpy(), cluster_labels(defined, "group")
    if not len(defined):
        return Estimate(None, None, None, 0, "group", "no case on which it is defined")
    if figure in _SHARES:
        return proportion(values, clusters, unit="group", **settings)
    return bootstrap(values, weighted_mean, clusters, weighted=True, unit="group", **settings)
