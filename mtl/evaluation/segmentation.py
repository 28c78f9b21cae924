r"""Segmentation, case by case: Dice, IoU, HD95, and summaries over patients.

For prediction P and truth T (sets of pixels) and their surfaces (mask minus its erosion):

.. math:: Dice = \frac{2|P \cap T|}{|P|+|T|}, \qquad IoU = \frac{|P \cap T|}{|P \cup T|}

HD95 is the larger of the two directed 95th percentiles of surface distances (MONAI's definition).

**Empty-mask rule.** Both empty: Dice and IoU are 1; one empty: 0. Averages are therefore given over cases
whose truth is *not* empty; cases with an empty truth have figures of their own (falsely marked or not). HD95
is undefined (NaN) where either mask is empty: such cases are counted, never dropped in silence.
Cases are scored one by one, never pooled over a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from mtl.errors import DataError
from mtl.evaluation.statistics import Estimate, WeightedStatistic, bootstrap, proportion
from mtl.evaluation.weighted import weighted_mean, weighted_median

WHY_UNDEFINED = {
    "dice_nonempty": "no case with a non-empty truth",
    "iou_nonempty": "no case with a non-empty truth",
    "hd95_undefined": "no case with a non-empty truth",
    "hd95": "no case with both masks filled",
    "empty_falsely_marked": "no case with an empty truth",
}


def dice(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Dice overlap of two masks of one shape; 1 where both are empty."""
    predicted, truth = _masks(predicted, truth)
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0


def iou(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Intersection over union of two masks of one shape; 1 where both are empty."""
    predicted, truth = _masks(predicted, truth)
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 1.0


def hd95(predicted: ArrayLike, truth: ArrayLike, spacing: float | Sequence[float] = 1.0) -> float:
    """95th percentile Hausdorff distance in units of ``spacing`` (one, or per axis); NaN if one is empty."""
    predicted, truth = _masks(predicted, truth)
    if not (predicted.any() and truth.any()):
        return float("nan")
    sampling = np.broadcast_to(np.asarray(spacing, dtype=float), predicted.ndim)
    surfaces = _surface(predicted), _surface(truth)
    distances = [ndimage.distance_transform_edt(~surface, sampling=sampling) for surface in surfaces]
    return float(
        max(np.percentile(distances[1][surfaces[0]], 95), np.percentile(distances[0][surfaces[1]], 95))
    )


def case_scores(
    predicted: ArrayLike, truth: ArrayLike, spacing: float | Sequence[float] = 1.0
) -> dict[str, float | int]:
    """dice, iou, hd95, mask_pixels, predicted_pixels of one case: the columns of the prediction table.

    predicted, truth: boolean or 0/1 arrays of one shape (H,W) or (D,H,W). Raises DataError otherwise.
    """
    predicted, truth = _masks(predicted, truth)
    return {
        "dice": dice(predicted, truth),
        "iou": iou(predicted, truth),
        "hd95": hd95(predicted, truth, spacing),
        "mask_pixels": int(truth.sum()),
        "predicted_pixels": int(predicted.sum()),
    }


def summarise_cases(
    table: pd.DataFrame,
    clusters: str = "patient",
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Figures over cases, clustered by patient.

    table: one row per case with dice, iou, hd95, mask_pixels and the cluster column.

    ``dice_nonempty``, ``iou_nonempty``: means over cases whose truth is not empty.
    ``hd95``: median over those where it is defined; ``hd95_undefined``: share of them where it is not
    (nothing predicted), without which the median flatters.
    ``empty_falsely_marked``: share of empty-truth cases where something was predicted.
    ``empty_empty``: share of *all* cases that score 1 because both masks are empty; ``dice_all``: the mean
    that counts them in, for comparison with published figures only.
    Raises DataError where dice or iou is undefined for some case (counted).
    """
    for name in ("dice", "iou"):
        if bad := int(table[name].isna().sum()):
            raise DataError(f"{name} is undefined for {bad} of {len(table)} cases with a mask")
    settings = {"n_resamples": n_resamples, "seed": seed, "level": level}
    filled, empty = table[table["mask_pixels"] > 0], table[table["mask_pixels"] == 0]
    measured = filled[filled["hd95"].notna()]
    found = {
        "dice_nonempty": _summary(filled, "dice", clusters, weighted_mean, settings),
        "iou_nonempty": _summary(filled, "iou", clusters, weighted_mean, settings),
        "hd95": _summary(measured, "hd95", clusters, weighted_median, settings),
        "hd95_undefined": _share(filled, filled["hd95"].isna(), clusters, settings),
        # dice is 1 or 0 where the truth is empty, so these also hold for averages over folds.
        "empty_falsely_marked": _share(empty, 1 - empty["dice"], clusters, settings),
        "empty_empty": _share(table, table["dice"].where(table["mask_pixels"] == 0, 0.0), clusters, settings),
        "dice_all": _summary(table, "dice", clusters, weighted_mean, settings),
    }
    return {name: _explained(name, estimate) for name, estimate in found.items()}


def _summary(
    table: pd.DataFrame, column: str, clusters: str, statistic: WeightedStatistic, settings: dict
) -> Estimate:
    of_column = lambda t, w: statistic(t[column].to_numpy(), w)  # noqa: E731
    return bootstrap(table, of_column, clusters, weighted=True, **settings)


def _share(table: pd.DataFrame, successes: pd.Series, clusters: str, settings: dict) -> Estimate:
    return proportion(successes, table[clusters], unit=clusters, **settings)


def _explained(name: str, estimate: Estimate) -> Estimate:
    if estimate.value is not None:
        return estimate
    return replace(estimate, reason=WHY_UNDEFINED.get(name, estimate.reason))


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & ~ndimage.binary_erosion(mask)


def _masks(predicted: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    arrays = np.asarray(predicted), np.asarray(truth)
    if arrays[0].shape != arrays[1].shape:
        raise DataError(f"prediction {arrays[0].shape} and truth {arrays[1].shape}: expected one shape")
    for array in arrays:
        # A probability map cast to bool would be all foreground; a 0/255 mask has not been thresholded.
        if array.dtype != bool and not np.isin(array, (0, 1)).all():
            raise DataError("masks must be boolean or hold only 0 and 1: threshold them first")
    return arrays[0].astype(bool), arrays[1].astype(bool)
