r"""Published results recomputed from nothing but their counts.

A classifier that knows the source only, or that says yes to everything, has a full confusion table as soon as
the counts of cases are known. And an AUC with the counts of its classes has a standard error (Hanley and
McNeil, Radiology 1982): with $Q_1 = A/(2-A)$ and $Q_2 = 2A^2/(1+A)$,

$$\mathrm{SE}^2 = \frac{A(1-A) + (n_+ - 1)(Q_1 - A^2) + (n_- - 1)(Q_2 - A^2)}{n_+ n_-}.$$
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from scipy import stats

from mtl.errors import DataError
from mtl.evaluation.statistics import Estimate


def cases_of(counts: Mapping[str, tuple[int, int]]) -> pd.DataFrame:
    """A row per case from source -> (positives, negatives): columns source, cls, and ``source_score``.

    ``source_score`` is the share of positives in the case's source: all that a source-only classifier knows.
    Raises DataError for a negative or empty count.
    """
    if any(min(pair) < 0 or sum(pair) == 0 for pair in counts.values()):
        raise DataError(f"counts {dict(counts)}: every source needs cases, no count may be negative")
    labels = [(name, label) for name, (yes, no) in counts.items() for label in [1] * yes + [0] * no]
    table = pd.DataFrame(labels, columns=["source", "cls"])
    return table.assign(source_score=table.groupby("source")["cls"].transform("mean"))


def confusion_from_rates(accuracy: float, recall: float, positives: int, negatives: int) -> dict[str, int]:
    """The confusion table that published accuracy and recall imply: tp, fn, tn, fp, rounded to whole cases.

    Raises DataError where the rates do not fit the counts.
    """
    tp = round(recall * positives)
    tn = round(accuracy * (positives + negatives)) - tp
    if not (0 <= tp <= positives and 0 <= tn <= negatives):
        raise DataError(
            f"accuracy {accuracy} and recall {recall} do not fit {positives} positives, {negatives} negatives"
        )
    return {"tp": tp, "fn": positives - tp, "tn": tn, "fp": negatives - tn}


def decisions(tp: int, fn: int, tn: int, fp: int) -> pd.DataFrame:
    """A row per case of a confusion table: columns cls and ``predicted``."""
    rows = [(1, 1)] * tp + [(1, 0)] * fn + [(0, 0)] * tn + [(0, 1)] * fp
    return pd.DataFrame(rows, columns=["cls", "predicted"])


def published_auc(auc: float, positives: int, negatives: int, level: float = 0.95) -> Estimate:
    """A published AUC with the interval that its class counts allow (Hanley and McNeil; cut at 0 and 1)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    reach = stats.norm.ppf((1 + level) / 2) * math.sqrt(variance / (positives * negatives))
    low, high = max(0.0, auc - reach), min(1.0, auc + reach)
    return Estimate(auc, low, high, positives + negatives, "image", "Hanley and McNeil 1982, from the counts")
