"""One image scored: a row of the table that every figure and interval is made from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl.errors import DataError
from mtl.evaluation.calibration import expected_calibration_error
from mtl.evaluation.contingency import contingency
from mtl.evaluation.histology.instances import aggregated_jaccard, centres, detection_counts
from mtl.evaluation.objects import count_objects, object_metrics
from mtl.evaluation.segmentation import dice
from mtl.evaluation.weighted import ratio

RADIUS = 6.0  # pixels: about the radius of a small nucleus at 20x
#: What a higher value of is better; ``ece`` and ``brier`` are errors.
IMAGE_METRICS = ("pq", "dq", "sq", "aji", "ap50", "f1", "dice", "ece", "brier")


def image_scores(
    predicted: NDArray[np.integer],
    truth: NDArray[np.integer],
    probability: NDArray[np.floating] | None = None,
    radius: float = RADIUS,
) -> dict[str, float | int]:
    """Every metric of one image, and the counts behind them.

    Args:
        predicted, truth: instance ids ``(H, W)``, 0 background.
        probability: ``(H, W)`` of nucleus, for ``ece`` and ``brier`` over the image's pixels.
        radius: of ``f1``, the detection by centres, in pixels.

    Returns:
        ``pq`` = ``dq`` * ``sq`` (IoU above one half), ``ap50`` = TP / (TP + FP + FN), ``aji``, ``f1``,
        ``dice`` of all nuclei as one mask, ``ece``, ``brier``; ``n_true``, ``n_predicted``. NaN where
        undefined: ``sq`` without a match, ``dq``, ``pq``, ``ap50``, ``aji`` and ``f1`` without a nucleus on
        either side.

    Raises:
        DataError: shapes differ, or a probability outside [0, 1].
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    table = contingency(predicted, truth, background="segment")
    objects = {name: float(value[0]) for name, value in object_metrics(count_objects(table)).items()}
    tp, fp, fn = detection_counts(centres(predicted), centres(truth), radius)
    scores: dict[str, float | int] = {
        "pq": objects["pq"],
        "dq": objects["rq"],
        "sq": objects["sq"],
        "aji": aggregated_jaccard(table),
        "ap50": objects["ap50"],
        "f1": float(ratio(np.array(2.0 * tp), np.array(2.0 * tp + fp + fn))),
        "dice": dice(predicted > 0, truth > 0),
        "n_true": int((table.truth_ids != 0).sum()),
        "n_predicted": int((table.predicted_ids != 0).sum()),
    }
    return scores if probability is None else scores | calibration_scores(probability, truth)


def calibration_scores(probability: NDArray[np.floating], truth: NDArray[np.integer]) -> dict[str, float]:
    """``ece`` and ``brier`` of one image over its pixels, whatever is decoded from the probability.

    Args:
        probability: ``(H, W)`` of nucleus; truth: instance ids ``(H, W)``, 0 background.

    Raises:
        DataError: shapes differ, or a probability outside [0, 1].
    """
    p, y = np.asarray(probability, float), (np.asarray(truth) > 0).astype(float)
    if p.shape != y.shape:
        raise DataError(f"probability {p.shape} and truth {y.shape}: expected one shape")
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError(f"probability from {p.min():g} to {p.max():g}: expected numbers in [0, 1]")
    return {
        "ece": expected_calibration_error(y.ravel(), p.ravel()),
        "brier": float(np.mean((p - y) ** 2)),
    }
