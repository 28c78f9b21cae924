"""Binary classification: the operating point, and every metric with its interval over units.

Labels ``y`` (n,) are 0/1, ``p`` (n,) is the probability of class 1; a case is called positive where
``p >= threshold``. The threshold is chosen on validation data (``choose_threshold``), never on test. It may
be one number or one per row, since in cross-validation every fold has its own.

Point values equal scikit-learn's, except that a metric that is 0/0 is undefined (None with a reason), not 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mtl.errors import DataError, ParameterError, ProtocolError
from mtl.evaluation import weighted
from mtl.evaluation.calibration import calibration_error, equal_mass_bins
from mtl.evaluation.statistics import Estimate, bootstrap, cluster_codes, proportion

CRITERIA: dict[str, Callable[[NDArray, NDArray, NDArray], NDArray]] = {
    "accuracy": weighted.accuracy,
    "balanced_accuracy": weighted.balanced_accuracy,
    "f1": weighted.f1,
    "mcc": weighted.mcc,
}

# A resample without one of the classes (of one source) leaves these undefined: they are drawn within strata.
STRATA = {
    "balanced_accuracy": ["y"],
    "roc_auc": ["y"],
    "roc_auc_within_source": ["source", "y"],
}

WHY_UNDEFINED = {
    "precision": "nothing was called positive",
    "recall": "no positive case",
    "specificity": "no negative case",
    "balanced_accuracy": "only one class among the cases",
    "f1": "no positive case and nothing called positive",
    "mcc": "only one class among the cases or among the decisions",
    "roc_auc": "only one class among the cases",
    "roc_auc_within_source": "no source has both classes",
    "pr_auc": "no positive case",
}

METRICS = (
    "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "mcc",
    "roc_auc", "pr_auc", "brier", "ece",
)  # fmt: skip


def check_binary(y: ArrayLike, p: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """``y`` as int64 and ``p`` as float64, checked.

    Raises DataError for different lengths, labels other than 0/1, or undefined or out-of-range probabilities
    (counted in the message: they are never dropped).
    """
    y, p = np.asarray(y), np.asarray(p, dtype=float)
    if y.ndim != 1 or y.shape != p.shape:
        raise DataError(f"labels {y.shape} and probabilities {p.shape}: expected two vectors of one length")
    if not np.isin(y, (0, 1)).all():
        raise DataError(f"labels {sorted(set(y.tolist()))[:5]}: expected 0 and 1 only")
    if bad := int((~((p >= 0) & (p <= 1))).sum()):
        raise DataError(f"{bad} of {len(p)} probabilities are undefined or outside [0, 1]")
    return y.astype(np.int64), p


def choose_threshold(y_val: ArrayLike, p_val: ArrayLike, criterion: str = "balanced_accuracy") -> float:
    """Threshold that maximises a criterion on validation data; among equals the one nearest 0.5.

    Candidates are 0 (all positive) and the midpoints between neighbouring scores, so that a small shift of
    the scores does not flip cases. criterion: accuracy, balanced_accuracy, f1 or mcc.
    Raises ParameterError for another criterion, ProtocolError where validation data has one class only.
    """
    if criterion not in CRITERIA:
        raise ParameterError(f"criterion {criterion!r}: expected one of {', '.join(CRITERIA)}")
    y, p = check_binary(y_val, p_val)
    if len(np.unique(y)) < 2:
        raise ProtocolError(f"no threshold can be chosen on {len(y)} validation cases of one class")
    scores = np.unique(p)
    candidates = np.r_[0.0, (scores[1:] + scores[:-1]) / 2]
    unit_weights = np.ones((1, len(y)))
    values = np.array([CRITERIA[criterion](y, p >= threshold, unit_weights)[0] for threshold in candidates])
    best = candidates[values >= np.nanmax(values) - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])


def classification_estimates(
    y: ArrayLike,
    p: ArrayLike,
    threshold: float | ArrayLike = 0.5,
    clusters: ArrayLike | None = None,
    *,
    sources: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    unit: str = "case",
) -> dict[str, Estimate]:
    """Every metric of ``METRICS``, and ``predicted_positive`` (share called positive), with intervals.

    y, p, clusters, sources: (n,); threshold: a number or (n,).
    With ``sources``, ``roc_auc_within_source`` is added: pairs of one source only, so that knowing the
    source is worth nothing. Metrics that need both classes are resampled within classes, that one within
    source x class.
    Precision, recall, specificity: resampled among the rows they are about, so their ``n`` counts only those
    clusters. Raises DataError for invalid input (``check_binary``).
    """
    y, p = check_binary(y, p)
    table = pd.DataFrame({"y": y, "p": p, "predicted": p >= np.asarray(threshold)})
    table["cluster"] = cluster_codes(table, clusters)[0]
    table["source"] = "all" if sources is None else np.asarray(sources)
    settings = {"n_resamples": n_resamples, "seed": seed, "level": level, "unit": unit}
    found = _proportions(table, settings)
    for name, (statistic, centred) in _statistics(table, sources is not None).items():
        strata = table.groupby(STRATA[name]).ngroup() if name in STRATA else None
        options = {"weighted": True, "strata": strata, "centred": centred, **settings}
        found[name] = _explained(name, bootstrap(table, statistic, "cluster", **options))
    if found["ece"].low is not None:
        found["ece"] = replace(found["ece"], low=max(0.0, found["ece"].low))
    order = [*METRICS, "roc_auc_within_source", "predicted_positive"]
    return {name: found[name] for name in order if name in found}


def _proportions(table: pd.DataFrame, settings: dict[str, Any]) -> dict[str, Estimate]:
    right, clusters = (table["y"] == table["predicted"]).to_numpy(), table["cluster"].to_numpy()
    rows = {
        "accuracy": slice(None),
        "precision": table["predicted"].to_numpy(),
        "recall": table["y"].to_numpy() == 1,
        "specificity": table["y"].to_numpy() == 0,
    }
    found = {
        name: _explained(name, proportion(right[chosen], clusters[chosen], **settings))
        for name, chosen in rows.items()
    }
    return {**found, "predicted_positive": proportion(table["predicted"], clusters, **settings)}


def _statistics(table: pd.DataFrame, has_sources: bool) -> dict[str, tuple[Callable[..., NDArray], bool]]:
    """Weighted statistics of the table by name, and whether the interval is to be centred."""
    bins = equal_mass_bins(table["p"].to_numpy())
    found: dict[str, tuple[Callable[..., NDArray], bool]] = {
        "balanced_accuracy": (lambda t, w: weighted.balanced_accuracy(t["y"], t["predicted"], w), False),
        "f1": (lambda t, w: weighted.f1(t["y"], t["predicted"], w), False),
        "mcc": (lambda t, w: weighted.mcc(t["y"], t["predicted"], w), False),
        "roc_auc": (lambda t, w: weighted.roc_auc(t["y"], t["p"], w), False),
        "pr_auc": (lambda t, w: weighted.average_precision(t["y"], t["p"], w), False),
        "brier": (lambda t, w: weighted.brier(t["y"], t["p"], w), False),
        "ece": (lambda t, w: calibration_error(t["y"], t["p"], bins, w), True),
    }
    if has_sources:
        within = lambda t, w: weighted.roc_auc_within(t["y"], t["p"], t["source"], w)  # noqa: E731
        found["roc_auc_within_source"] = (within, False)
    return found


def _explained(name: str, estimate: Estimate) -> Estimate:
    if estimate.value is None and name in WHY_UNDEFINED:
        return replace(estimate, reason=WHY_UNDEFINED[name])
    return estimate
