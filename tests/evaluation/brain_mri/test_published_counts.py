"""Published results recomputed from counts, against figures worked out by hand."""

from __future__ import annotations

import pytest
from sklearn.metrics import roc_auc_score

from mtl.errors import DataError
from mtl.evaluation.brain_mri.published_counts import (
    cases_of,
    confusion_from_rates,
    decisions,
    published_auc,
)
from mtl.evaluation.classification import classification_estimates
from mtl.evaluation.protocol import alarms


def test_source_only_auc_from_its_counts():
    """107 pairs-worth of positives win against all 21 negatives, 33 tie: (107 + 33/2) / 140."""
    cases = cases_of({"A": (107, 0), "B": (33, 21)})
    assert len(cases) == 161
    found = classification_estimates(cases["cls"], cases["source_score"], n_resamples=100)
    assert found["roc_auc"].value == pytest.approx((107 + 33 / 2) / 140)
    assert found["roc_auc"].value == pytest.approx(roc_auc_score(cases["cls"], cases["source_score"]))
    assert round(found["roc_auc"].value, 2) == 0.88


def test_all_positive_predictor_rings():
    cases = decisions(tp=131, fn=0, tn=0, fp=14)
    found = classification_estimates(cases["cls"], cases["predicted"], n_resamples=100)
    assert found["accuracy"].value == found["precision"].value == pytest.approx(131 / 145)
    assert (found["recall"].value, found["specificity"].value) == (1.0, 0.0)
    found["roc_auc"] = published_auc(0.43, 131, 14)
    codes = {alarm.code for alarm in alarms(found, allow_undefined=found)}
    assert {"all_positive", "auc_below_half", "precision_equals_accuracy", "constant_prediction"} <= codes


def test_accuracy_and_recall_fix_the_confusion_table():
    """136 of 140 positives; 147 of 161 right, so 11 of 21 negatives."""
    assert confusion_from_rates(0.913, 0.971, 140, 21) == {"tp": 136, "fn": 4, "tn": 11, "fp": 10}
    with pytest.raises(DataError, match="do not fit"):
        confusion_from_rates(0.5, 1.0, 140, 21)
    with pytest.raises(DataError, match="needs cases"):
        cases_of({"A": (0, 0)})


def test_hanley_mcneil_by_hand():
    """A = 0.9, 10 and 20 cases: Q1 = 9/11, Q2 = 1.62/1.9; the sum under the root is 0.5021..., by hand."""
    variance = (0.09 + 9 * (9 / 11 - 0.81) + 19 * (1.62 / 1.9 - 0.81)) / 200
    found = published_auc(0.9, 10, 20)
    assert found.high - found.low == pytest.approx(
        min(1.0, 0.9 + 1.959964 * variance**0.5) - 0.9 + 1.959964 * variance**0.5, rel=1e-5
    )
    assert found.n == 30
