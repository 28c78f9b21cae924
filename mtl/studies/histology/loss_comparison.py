"""Arms against one another: paired by image, fold and seed; a verdict only over five seeds and more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mtl.errors import ProtocolError
from mtl.evaluation.comparison import holm, verdict
from mtl.evaluation.histology import summarise_images
from mtl.evaluation.seeds_by_units import seeds_by_units
from mtl.evaluation.statistics import Estimate, bootstrap
from mtl.evaluation.weighted import weighted_mean
from mtl.studies.histology.loss_sets import arm_name
from mtl.studies.histology.scoring import OTSU

#: What is compared, higher is better.
COMPARED = ("pq", "aji", "dice")
Arm = tuple[str, float]


def rows_of(table: pd.DataFrame, arm: Arm, part: str) -> pd.DataFrame:
    """Rows of one arm in one part (test or outside); the baseline has one "seed" and no share of labels."""
    losses, fraction = arm
    mine = (table["losses"] == losses) & (table["part"] == part)
    return table[mine if losses == OTSU else mine & (table["fraction"] == fraction)]


def arm_figures(
    table: pd.DataFrame, arms: Sequence[Arm], part: str, n_resamples: int, seed: int = 0
) -> dict[str, dict[str, Estimate]]:
    """Every metric of every arm: means over images, folds and seeds, with intervals over images."""
    return {
        arm_name(*arm): summarise_images(rows_of(table, arm, part), n_resamples=n_resamples, seed=seed)
        for arm in arms
    }


def compare(
    table: pd.DataFrame, first: Arm, second: Arm, part: str, margin: float, n_resamples: int, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Metric to the difference ``second - first``, above 0: the second is better.

    Returns:
        ``estimate``: over seeds and images with five seeds or more, else over images alone (these very
        networks); ``p_value``, ``minimal_detectable`` (None with fewer seeds); ``verdict`` by ``margin`` (of
        PQ; the other metrics have the same); ``seeds``.

    Raises:
        ProtocolError: the arms were not scored on the same images.
    """
    pairs = _paired(rows_of(table, first, part), rows_of(table, second, part))
    found = {}
    for metric in COMPARED:
        d = pairs[f"{metric}_2"] - pairs[f"{metric}_1"]
        undefined = set(pairs.loc[d.isna(), "image"])  # for one network: left out for all of them
        kept = pairs.assign(d=d)[~pairs["image"].isin(undefined)]
        over = seeds_by_units(
            kept["d"], kept["image"], kept["seed"], n_resamples=n_resamples, seed=seed, unit="image"
        )
        enough = over.combined.low is not None
        estimate = over.combined if enough else _over_images(kept, n_resamples, seed)
        found[metric] = {
            "estimate": estimate,
            "p_value": over.p_value,
            "minimal_detectable": over.minimal_detectable,
            "verdict": verdict(over.combined, margin) if enough else "no verdict",
            "seeds": int(kept["seed"].nunique()),
        }
    return found


def with_holm(comparisons: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """``p_holm`` beside every p-value, corrected over all comparisons of one metric."""
    for metric in COMPARED:
        rows = [found[metric] for found in comparisons.values()]
        for row, p in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
            row["p_holm"] = None if p != p else float(p)
    return comparisons


def _over_images(rows: pd.DataFrame, n_resamples: int, seed: int) -> Estimate:
    mean = lambda t, w: weighted_mean(t["d"].to_numpy(), w)  # noqa: E731
    rows = rows.reset_index(drop=True)
    return bootstrap(rows, mean, "image", n_resamples, seed, weighted=True, unit="image")


def _paired(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Both arms' metrics side by side, a row per image, fold and seed."""
    keys = ["image", "fold", "seed"]
    if (first["losses"] == OTSU).all():  # learns nothing: the same for every seed
        first = first.drop(columns="seed").merge(second[keys], on=["image", "fold"])
    columns = [*keys, *COMPARED]
    pairs = first[columns].merge(second[columns], on=keys, suffixes=("_1", "_2"), how="outer", indicator=True)
    if not len(pairs) or (pairs["_merge"] != "both").any():
        raise ProtocolError("the arms were not scored on the same images, folds and seeds")
    return pairs
