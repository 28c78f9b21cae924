"""The evaluation protocol as checks: what must hold raises ProtocolError, what is suspicious is an Alarm."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mtl.errors import ProtocolError
from mtl.evaluation.statistics import Estimate

MIN_UNITS = 30
MIN_SPECIFICITY = 0.05


@dataclass(frozen=True)
class Alarm:
    """A finding that a report must print beside its figures: a code for tests, a sentence for readers."""

    code: str
    message: str


def require_same_test_set(hashes: Mapping[str, str]) -> str:
    """The one test hash that all arms share.

    hashes: arm -> hash of its frozen test set. Raises ProtocolError naming the arms and their hashes where
    they differ, where a hash is missing, or where there is no arm.
    """
    if not hashes:
        raise ProtocolError("no arm to compare")
    if missing := sorted(arm for arm, value in hashes.items() if not isinstance(value, str) or not value):
        raise ProtocolError(f"no test hash for {', '.join(missing)}: evaluate on a frozen split")
    if len(set(hashes.values())) > 1:
        listed = ", ".join(f"{arm}: {value[:12]}" for arm, value in sorted(hashes.items()))
        raise ProtocolError(f"arms were evaluated on different test sets and cannot be compared ({listed})")
    return next(iter(hashes.values()))


def check_group_disjoint(parts: Mapping[str, Iterable[str]]) -> None:
    """Raise ProtocolError where a group (patient, near-duplicate group) lies in two parts of a split.

    parts: name (train, validation, test) -> the groups of its rows.
    """
    groups = {name: set(values) for name, values in parts.items()}
    for first, second in itertools.combinations(groups, 2):
        if shared := sorted(groups[first] & groups[second], key=str):
            shown = ", ".join(map(str, shared[:3]))
            raise ProtocolError(f"{len(shared)} group(s) lie in both {first} and {second}: {shown}")


def alarms(
    metrics: Mapping[str, Estimate],
    scores: ArrayLike | None = None,
    *,
    min_units: int = MIN_UNITS,
    allow_undefined: Iterable[str] = (),
) -> list[Alarm]:
    """Alarms of one classifier or segmentation on one test set, in a fixed order.

    metrics: name -> Estimate (classification's names; other figures take part in the checks on units and on
    undefined values); scores: (n,) the classifier's probabilities. Codes: all_positive, auc_below_half,
    precision_equals_accuracy, constant_prediction, few_units, undefined.
    """
    value = {name: estimate.value for name, estimate in metrics.items() if estimate.value is not None}
    found = [_all_positive(value), _auc_below_half(value), _precision_equals_accuracy(value)]
    found += [_constant_prediction(value, scores), _few_units(metrics, min_units)]
    found.append(_undefined(metrics, set(allow_undefined)))
    return [alarm for alarm in found if alarm]


def _all_positive(value: dict[str, float]) -> Alarm | None:
    recall, specificity = value.get("recall", 0.0), value.get("specificity", 1.0)
    if recall < 1 or specificity >= MIN_SPECIFICITY:
        return None
    return Alarm(
        "all_positive",
        f"recall is 1 but specificity {specificity:.3f}: (almost) everything is called positive",
    )


def _auc_below_half(value: dict[str, float]) -> Alarm | None:
    below = {name: v for name, v in value.items() if name.startswith("roc_auc") and v < 0.5}
    if not below:
        return None
    listed = ", ".join(f"{name} {v:.3f}" for name, v in below.items())
    return Alarm("auc_below_half", f"worse than chance: {listed}; are the labels or classes swapped?")


def _precision_equals_accuracy(value: dict[str, float]) -> Alarm | None:
    precision, accuracy = value.get("precision"), value.get("accuracy")
    if precision is None or accuracy is None or precision == 1:  # both 1 is a perfect classifier
        return None
    if not math.isclose(precision, accuracy, abs_tol=1e-12):
        return None
    return Alarm(
        "precision_equals_accuracy", f"precision = accuracy = {accuracy:.3f}: both are the prevalence"
    )


def _constant_prediction(value: dict[str, float], scores: ArrayLike | None) -> Alarm | None:
    same_score = scores is not None and len(np.unique(np.asarray(scores))) == 1
    same_decision = value.get("predicted_positive") in (0.0, 1.0)
    if not (same_score or same_decision):
        return None
    what = "the same score" if same_score else "the same decision"
    return Alarm("constant_prediction", f"every case gets {what}")


def _few_units(metrics: Mapping[str, Estimate], min_units: int) -> Alarm | None:
    few = {name: estimate for name, estimate in metrics.items() if estimate.n < min_units}
    if not few:
        return None
    listed = ", ".join(f"{name} ({estimate.n} {estimate.unit}s)" for name, estimate in few.items())
    return Alarm("few_units", f"fewer than {min_units} units behind {listed}")


def _undefined(metrics: Mapping[str, Estimate], allowed: set[str]) -> Alarm | None:
    missing = {name: e for name, e in metrics.items() if e.value is None and name not in allowed}
    if not missing:
        return None
    listed = ", ".join(f"{name} ({estimate.reason})" for name, estimate in missing.items())
    return Alarm("undefined", f"no value for {listed}")
