"""Means over images with 95 % intervals, all together and per appearance; what a report must warn of."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mtl.evaluation.histology.images import IMAGE_METRICS
from mtl.evaluation.protocol import MIN_UNITS, Alarm
from mtl.evaluation.statistics import Estimate, bootstrap
from mtl.evaluation.weighted import weighted_mean

ALL = "all"
FEW_FOUND = 0.1  # of the true number of nuclei


def summarise_images(
    table: pd.DataFrame,
    metrics: Sequence[str] = IMAGE_METRICS,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Mean of every metric over the images where it is defined; the image is the unit.

    table: one row per image (of several trainings: their rows of an image are drawn together), with ``image``
    and the metrics. A metric that the table lacks is left out.
    """
    found = {}
    for name in metrics:
        if name not in table:
            continue
        rows = table[table[name].notna()].reset_index(drop=True)
        mean = lambda t, w, name=name: weighted_mean(t[name].to_numpy(), w)  # noqa: E731
        found[name] = bootstrap(rows, mean, "image", n_resamples, seed, weighted=True, unit="image")
    return found


def alarms(table: pd.DataFrame) -> list[Alarm]:
    """What is suspicious in the rows of one method: ``image``, ``n_true``, ``n_predicted``, ``ap50``.

    Of several networks an image counts once, where it holds for any of them.

    Codes: few_units, nothing_found, one_blob, undefined.
    """
    found = []
    images = table["image"].nunique()
    if images < MIN_UNITS:
        found.append(Alarm("few_units", f"{images} images, fewer than {MIN_UNITS}"))
    empty, few = table["n_predicted"] == 0, table["n_predicted"] < FEW_FOUND * table["n_true"]
    if nothing := table.loc[empty, "image"].nunique():
        found.append(Alarm("nothing_found", f"no nucleus at all is found in {nothing} of {images} images"))
    if merged := table.loc[few & ~empty, "image"].nunique():
        found.append(Alarm("one_blob", f"in {merged} of {images} images ten nuclei and more become one"))
    if missing := table.loc[table["ap50"].isna(), "image"].nunique():
        found.append(Alarm("undefined", f"{missing} images hold no nucleus, neither true nor found"))
    return found
