r"""Calibration: temperature scaling, the reliability table, expected calibration error.

Temperature scaling (Guo et al. 2017) divides logits by one T > 0 that minimises the validation set's negative
log-likelihood; it changes confidence, never the order of cases, hence neither AUC nor the decision at 0.5.

Expected calibration error over **equal-mass** bins (edges at quantiles of p; equal scores stay together):

.. math:: ECE = \sum_b \frac{n_b}{n} \left| \bar y_b - \bar p_b \right|

Equal mass, because equal-width bins are mostly empty for a confident network. The plug-in value is biased
upwards, more so with few cases; its interval is centred for that reason (``statistics.bootstrap``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from mtl.errors import DataError, ProtocolError

TEMPERATURES = (0.05, 20.0)
N_BINS = 10


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Temperature fitted on validation data, within 0.05 .. 20.

    logits: (n, C) of any base; labels: (n,) int. On data that the network separates perfectly the likelihood
    has no minimum and the lower bound is returned.
    Raises DataError for shapes or undefined logits, ProtocolError where only one class is present.
    """
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not np.isfinite(logits).all():
        raise DataError(f"logits {logits.shape}, labels {labels.shape}: expected finite (n, C) and (n,)")
    if len(np.unique(labels)) < 2:
        raise ProtocolError(f"no temperature can be fitted on {len(labels)} validation cases of one class")

    def loss(log_temperature: float) -> float:
        scaled = special.log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scaled[np.arange(len(labels)), labels].mean())

    found = optimize.minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    ends = (*np.log(TEMPERATURES), found.x)  # the bounded search stops just short of an end
    return float(np.exp(min(ends, key=loss)))


def apply_temperature(logits: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Probabilities (n, C) of logits (n, C) at a temperature. Raises DataError unless it is positive."""
    if not temperature > 0:
        raise DataError(f"temperature = {temperature}, expected a positive number")
    return special.softmax(np.asarray(logits, dtype=float) / temperature, axis=1)


def equal_mass_bins(p: ArrayLike, n_bins: int = N_BINS) -> NDArray[np.intp]:
    """Bin number (n,) of every score: about equally many per bin, equal scores in one bin."""
    p = np.asarray(p, dtype=float)
    if len(p) == 0:
        return np.zeros(0, dtype=np.intp)
    edges = np.unique(np.quantile(p, np.linspace(0, 1, n_bins + 1)[1:-1]))
    return np.searchsorted(edges, p, side="right")


def calibration_error(y: ArrayLike, p: ArrayLike, bins: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """ECE (R,) under row weights (R,n), for bins fixed beforehand. NaN where all weights are 0."""
    gaps = np.asarray(y, dtype=float) - np.asarray(p, dtype=float)
    membership = np.asarray(bins)[:, None] == np.unique(bins)[None, :]
    total = weights.sum(axis=1)
    per_bin = np.abs(weights @ (gaps[:, None] * membership)).sum(axis=1)
    return np.divide(per_bin, total, out=np.full(len(total), np.nan), where=total > 0)


def expected_calibration_error(y: ArrayLike, p: ArrayLike, n_bins: int = N_BINS) -> float:
    """ECE of labels y (n,) in 0/1 and probabilities p (n,) over equal-mass bins."""
    return float(calibration_error(y, p, equal_mass_bins(p, n_bins), np.ones((1, len(np.asarray(p)))))[0])


def reliability_table(y: ArrayLike, p: ArrayLike, n_bins: int = N_BINS, level: float = 0.95) -> pd.DataFrame:
    """One row per bin: count, p_min, p_max, predicted, observed, low, high (Wilson, rows as independent)."""
    rows = pd.DataFrame(
        {"y": np.asarray(y), "p": np.asarray(p, dtype=float), "bin": equal_mass_bins(p, n_bins)}
    )
    found = []
    for number, part in rows.groupby("bin"):
        interval = stats.binomtest(int(part["y"].sum()), len(part)).proportion_ci(level, method="wilson")
        found.append(
            {"bin": number, "count": len(part), "p_min": part["p"].min(), "p_max": part["p"].max(),
             "predicted": part["p"].mean(), "observed": part["y"].mean(),
             "low": interval.low, "high": interval.high}
        )  # fmt: skip
    return pd.DataFrame(found)
