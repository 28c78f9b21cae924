"""Metrics with intervals: scikit-learn's values, operating points, the published traps from their counts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from mtl.errors import DataError, ParameterError, ProtocolError
from mtl.evaluation.calibration import calibration_error, equal_mass_bins
from mtl.evaluation.classification import METRICS, choose_threshold, classification_estimates
from mtl.evaluation.protocol import alarms
from mtl.evaluation.statistics import bootstrap


def sample(seed: int = 0, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return y, np.clip(0.35 * y + 0.65 * rng.random(n), 0, 1)


def test_values_equal_scikit_learn() -> None:
    y, p = sample()
    called = p >= 0.4
    found = classification_estimates(y, p, 0.4, n_resamples=100)
    expected = {
        "accuracy": metrics.accuracy_score(y, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, called),
        "precision": metrics.precision_score(y, called),
        "recall": metrics.recall_score(y, called),
        "specificity": metrics.recall_score(y, called, pos_label=0),
        "f1": metrics.f1_score(y, called),
        "mcc": metrics.matthews_corrcoef(y, called),
        "roc_auc": metrics.roc_auc_score(y, p),
        "pr_auc": metrics.average_precision_score(y, p),
        "brier": metrics.brier_score_loss(y, p),
    }
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    assert list(found) == [*METRICS, "predicted_positive"]
    assert all(e.low < e.value < e.high and e.n > 30 and e.undefined == 0 for e in found.values())


def test_cases_of_one_patient_are_resampled_together() -> None:
    y, p = sample()
    copies = [np.repeat(column, 3) for column in (y, p, np.arange(150))]
    alone = classification_estimates(y, p, n_resamples=400)
    together = classification_estimates(*copies[:2], clusters=copies[2], n_resamples=400)
    for name in METRICS:
        assert together[name].n == alone[name].n
        assert together[name].low == pytest.approx(alone[name].low, abs=1e-9), name


def test_interval_of_ece_is_centred_and_not_negative() -> None:
    rng = np.random.default_rng(4)
    p = rng.random(200)
    y = (rng.random(200) < p).astype(int)
    bins = equal_mass_bins(p)
    statistic = lambda t, w: calibration_error(y, t, bins, w)  # noqa: E731
    plain, centred = (bootstrap(p, statistic, None, weighted=True, centred=c) for c in (False, True))
    found = classification_estimates(y, p)["ece"]
    assert found.high == pytest.approx(centred.high) and centred.high < plain.high  # resamples lie above
    assert found.low == max(0.0, centred.low) <= found.value


def test_threshold_per_row() -> None:
    y, p = sample()
    cut = np.where(np.arange(150) % 2, 0.3, 0.6)
    found = classification_estimates(y, p, cut, n_resamples=10)
    assert found["accuracy"].value == pytest.approx(((p >= cut) == y).mean())


def test_all_positive_predictor_of_131_in_145() -> None:
    """Published as accuracy = precision = 90.3 %, recall 100 %: specificity is 0, and the alarms say so."""
    y = np.r_[np.ones(131, int), np.zeros(14, int)]
    p = np.full(145, 0.97)
    found = classification_estimates(y, p)
    assert found["accuracy"].value == found["precision"].value == pytest.approx(131 / 145)
    assert f"{found['accuracy'].value:.3f}" == "0.903"
    assert (found["recall"].value, found["specificity"].value) == (1, 0)
    assert found["balanced_accuracy"].value == found["roc_auc"].value == 0.5
    assert found["mcc"].value is None and "one class" in found["mcc"].reason
    assert found["specificity"].high == pytest.approx(1 - 0.025 ** (1 / 14)) and found["specificity"].n == 14
    codes = [alarm.code for alarm in alarms(found, p)]
    expected = ["all_positive", "precision_equals_accuracy", "constant_prediction", "few_units", "undefined"]
    assert codes == expected


def test_all_positive_with_a_ranking_below_chance_raises_the_auc_alarm() -> None:
    """The same 145 cases with AUC 0.43: every case above the threshold, negatives a little higher."""
    y = np.r_[np.ones(131, int), np.zeros(14, int)]
    p = np.r_[np.where(np.arange(131) < 56, 0.9, 0.7), np.full(14, 0.8)]
    found = classification_estimates(y, p, n_resamples=200)
    assert found["roc_auc"].value == pytest.approx(56 / 131) and f"{found['roc_auc'].value:.2f}" == "0.43"
    codes = [alarm.code for alarm in alarms(found, p)]
    assert {"all_positive", "auc_below_half", "precision_equals_accuracy", "constant_prediction"} <= set(
        codes
    )


def test_source_only_classifier_on_161_images() -> None:
    """107 positives of source A; 33 positives and 21 negatives of source B: AUC 0.88 without looking."""
    y = np.r_[np.ones(140, int), np.zeros(21, int)]
    source = np.r_[np.full(107, "A"), np.full(54, "B")]
    p = np.where(source == "A", 1.0, 33 / 54)
    found = classification_estimates(y, p, sources=source)
    by_hand = (107 * 21 + 0.5 * 33 * 21) / (140 * 21)  # A above B; within B all ties
    assert found["roc_auc"].value == pytest.approx(by_hand) and f"{by_hand:.2f}" == "0.88"
    assert found["roc_auc"].low < 0.86 < 0.9 < found["roc_auc"].high
    assert found["roc_auc_within_source"].value == 0.5


def test_perfect_classifier_raises_no_alarm() -> None:
    y = np.r_[np.ones(40, int), np.zeros(40, int)]
    found = classification_estimates(y, y * 0.9 + 0.05, n_resamples=100)
    assert alarms(found, y * 0.9 + 0.05) == []
    assert found["specificity"].low == pytest.approx(0.025 ** (1 / 40))
    assert "no information" in found["roc_auc"].reason


def test_single_class_is_undefined_with_reasons_not_an_error() -> None:
    found = classification_estimates(np.ones(10, int), np.linspace(0, 1, 10), n_resamples=50)
    undefined = {name: e.reason for name, e in found.items() if e.value is None}
    assert undefined["roc_auc"] == "only one class among the cases"
    assert undefined["specificity"] == "no negative case"
    assert set(undefined) == {"balanced_accuracy", "specificity", "mcc", "roc_auc"}


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1], [0.5], "one length"),
        ([0, 2], [0.5, 0.5], "0 and 1 only"),
        ([0, 1], [np.nan, 0.5], "1 of 2 probabilities"),
        ([0, 1], [1.5, -0.5], "2 of 2 probabilities"),
    ],
)
def test_invalid_input_is_refused(y: list, p: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        classification_estimates(y, p)


@pytest.mark.parametrize("criterion", ["accuracy", "balanced_accuracy", "f1", "mcc"])
def test_threshold_is_the_best_of_an_exhaustive_search(criterion: str) -> None:
    reference = {
        "accuracy": metrics.accuracy_score,
        "balanced_accuracy": metrics.balanced_accuracy_score,
        "f1": metrics.f1_score,
        "mcc": metrics.matthews_corrcoef,
    }[criterion]
    y, p = sample(2, 60)
    chosen = choose_threshold(y, p, criterion)
    best = max(reference(y, p >= cut) for cut in [0.0, *p])
    assert reference(y, p >= chosen) == pytest.approx(best)


def test_threshold_lies_between_scores_and_near_one_half() -> None:
    assert choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == pytest.approx(0.5)
    # Two equally good cuts each: 0.4 and 0.8, 0.2 and 0.6.
    assert choose_threshold([0, 1, 0, 1], [0.1, 0.7, 0.7, 0.9]) == pytest.approx(0.4)
    assert choose_threshold([0, 1, 0, 1], [0.1, 0.3, 0.3, 0.9]) == pytest.approx(0.6)


def test_threshold_needs_both_classes_and_a_known_criterion() -> None:
    with pytest.raises(ProtocolError, match="3 validation cases of one class"):
        choose_threshold([1, 1, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ParameterError, match="balanced_accuracy"):
        choose_threshold([0, 1], [0.1, 0.2], "auc")
