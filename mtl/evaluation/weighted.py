r"""Metrics under row weights: one call evaluates every bootstrap resample.

Everywhere ``y`` (n,) holds 0/1, ``p`` (n,) scores, ``weights`` (R,n) non-negative row weights, one row per
resample; the result is (R,), NaN where a resample leaves the metric undefined (no division is faked by 0).
An undefined score or decision makes the metric undefined. With unit weights these are scikit-learn's
figures, but for F1 and MCC, which scikit-learn sets to 0 when 0/0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element-wise quotient, NaN where the denominator is 0."""
    missing = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=missing, where=denominator != 0)


def weighted_mean(values: NDArray, weights: Floats) -> Floats:
    """Mean of values (n,) under weights (R,n)."""
    return ratio(weights @ np.asarray(values, dtype=float), weights.sum(axis=1))


def weighted_median(values: NDArray, weights: Floats) -> Floats:
    """Median of values (n,) under integer weights (R,n); the mean of the middle two where they are even."""
    values = np.asarray(values, dtype=float)
    order = np.argsort(values, kind="stable")
    sorted_values, cumulative = values[order], weights[:, order].cumsum(axis=1)
    half = cumulative[:, -1:] / 2
    lower = np.argmax(cumulative >= half, axis=1)
    upper = np.argmax(cumulative > half, axis=1)
    median = (sorted_values[lower] + sorted_values[upper]) / 2
    return np.where(half[:, 0] > 0, median, np.nan)


def confusion(y: NDArray, predicted: NDArray, weights: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Weighted true positives, false positives, false negatives, true negatives, each (R,)."""
    y, predicted = np.asarray(y, dtype=float), np.asarray(predicted, dtype=float)
    right, left = [predicted, predicted, 1 - predicted, 1 - predicted], [y, 1 - y, y, 1 - y]
    tp, fp, fn, tn = (weights @ (np.array(left) * np.array(right)).T).T
    return tp, fp, fn, tn


def accuracy(y: NDArray, predicted: NDArray, weights: Floats) -> Floats:
    """Share of right decisions."""
    tp, fp, fn, tn = confusion(y, predicted, weights)
    return ratio(tp + tn, tp + fp + fn + tn)


def balanced_accuracy(y: NDArray, predicted: NDArray, weights: Floats) -> Floats:
    """Mean of recall and specificity."""
    tp, fp, fn, tn = confusion(y, predicted, weights)
    return (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2


def f1(y: NDArray, predicted: NDArray, weights: Floats) -> Floats:
    """F1 = 2 TP / (2 TP + FP + FN)."""
    tp, fp, fn, _ = confusion(y, predicted, weights)
    return ratio(2 * tp, 2 * tp + fp + fn)


def mcc(y: NDArray, predicted: NDArray, weights: Floats) -> Floats:
    """Matthews correlation coefficient; NaN where a row or column of the confusion table is empty."""
    tp, fp, fn, tn = confusion(y, predicted, weights)
    return ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


def roc_auc(y: NDArray, p: NDArray, weights: Floats) -> Floats:
    """Area under the ROC curve: share of (positive, negative) pairs in the right order, ties count half."""
    return ratio(*ordered_pairs(y, p, weights))


def roc_auc_within(y: NDArray, p: NDArray, strata: NDArray, weights: Floats) -> Floats:
    """ROC-AUC from pairs within one stratum only (for example one source), pooled over strata by pairs.

    A score that only tells strata apart reaches 0.5 here, whatever its pooled AUC.
    """
    y, p, strata = (np.asarray(column) for column in (y, p, strata))
    parts = [strata == name for name in np.unique(strata)]
    pairs = [ordered_pairs(y[part], p[part], weights[:, part]) for part in parts]
    return ratio(sum(right for right, _ in pairs), sum(total for _, total in pairs))


def mean_roc_auc(y: NDArray, p: NDArray, strata: NDArray, weights: Floats) -> Floats:
    """Mean over strata (for example folds) of the AUC within each; NaN where one has a single class."""
    y, p, strata = (np.asarray(column) for column in (y, p, strata))
    parts = [strata == name for name in np.unique(strata)]
    return np.mean([roc_auc(y[part], p[part], weights[:, part]) for part in parts], axis=0)


def ordered_pairs(y: NDArray, p: NDArray, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of rightly ordered (positive, negative) pairs (ties half) and of all such pairs, each (R,)."""
    positives, negatives = _by_score(y, p, weights)
    below = negatives.cumsum(axis=1) - negatives / 2
    return (positives * below).sum(axis=1), positives.sum(axis=1) * negatives.sum(axis=1)


def average_precision(y: NDArray, p: NDArray, weights: Floats) -> Floats:
    """PR-AUC as average precision: sum of (recall step) x precision over falling thresholds."""
    positives, negatives = (part[:, ::-1] for part in _by_score(y, p, weights))
    marked = (positives + negatives).cumsum(axis=1)
    precision = np.nan_to_num(ratio(positives.cumsum(axis=1), marked))  # 0/0 only where the recall step is 0
    return ratio((positives * precision).sum(axis=1), positives.sum(axis=1))


def brier(y: NDArray, p: NDArray, weights: Floats) -> Floats:
    """Mean squared difference of probability and outcome."""
    return weighted_mean((np.asarray(p, dtype=float) - np.asarray(y)) ** 2, weights)


def _by_score(y: NDArray, p: NDArray, weights: Floats) -> tuple[Floats, Floats]:
    """Weights of positives and of negatives per distinct score, rising: two arrays (R, G)."""
    p = np.asarray(p)
    order = np.argsort(p, kind="stable")
    scores, labels = p[order], np.asarray(y, dtype=float)[order]
    if len(scores) == 0 or np.isnan(scores).any():  # an undefined score has no place in any order
        nothing = np.full((len(weights), 1), np.nan if len(scores) else 0.0)
        return nothing, nothing
    starts = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])
    ordered = weights[:, order]
    positives = np.add.reduceat(ordered * labels, starts, axis=1)
    return positives, np.add.reduceat(ordered * (1 - labels), starts, axis=1)
