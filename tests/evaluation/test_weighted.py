"""Weighted metrics equal scikit-learn's, with unit weights, with sample weights, and on repeated rows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mtl.evaluation import weighted

BY_DECISION = {
    weighted.accuracy: metrics.accuracy_score,
    weighted.balanced_accuracy: metrics.balanced_accuracy_score,
    weighted.f1: metrics.f1_score,
    weighted.mcc: metrics.matthews_corrcoef,
}
BY_SCORE = {
    weighted.roc_auc: metrics.roc_auc_score,
    weighted.average_precision: metrics.average_precision_score,
    weighted.brier: metrics.brier_score_loss,
}


def sample(seed: int, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return y, np.round(np.clip(0.3 * y + 0.7 * rng.random(n), 0, 1), 1)  # rounded: many ties


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ours", [*BY_DECISION, *BY_SCORE], ids=lambda f: f.__name__)
def test_equal_to_scikit_learn_under_row_weights(ours: Callable, seed: int) -> None:
    y, p = sample(seed)
    scores = p >= 0.5 if ours in BY_DECISION else p
    reference = {**BY_DECISION, **BY_SCORE}[ours]
    weights = np.vstack([np.ones(80), np.random.default_rng(seed).integers(0, 4, (5, 80))]).astype(float)
    expected = [reference(y, scores, sample_weight=row) for row in weights]
    assert ours(y, scores, weights) == pytest.approx(expected)


def test_integer_weights_are_repeated_rows() -> None:
    y, p = sample(3)
    counts = np.random.default_rng(0).integers(0, 3, 80)
    repeated = np.repeat(np.arange(80), counts)
    assert weighted.roc_auc(y, p, counts[None].astype(float))[0] == pytest.approx(
        metrics.roc_auc_score(y[repeated], p[repeated])
    )
    values = np.random.default_rng(1).normal(size=80)
    medians = weighted.weighted_median(values, np.vstack([counts, np.ones(80)]).astype(float))
    assert medians == pytest.approx([np.median(values[repeated]), np.median(values)])


def test_auc_within_strata_against_pairs() -> None:
    y, p = sample(4)
    source = np.random.default_rng(5).choice(list("abc"), 80)
    pairs = [
        (p[i] > p[j]) + 0.5 * (p[i] == p[j])
        for i in range(80)
        for j in range(80)
        if y[i] == 1 and y[j] == 0 and source[i] == source[j]
    ]
    assert weighted.roc_auc_within(y, p, source, np.ones((1, 80)))[0] == pytest.approx(np.mean(pairs))
    per_source = [metrics.roc_auc_score(y[source == s], p[source == s]) for s in "abc"]
    assert weighted.mean_roc_auc(y, p, source, np.ones((1, 80)))[0] == pytest.approx(np.mean(per_source))


def test_undefined_is_nan_and_silent() -> None:
    y, ones = np.ones(4), np.ones((1, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in (weighted.roc_auc, weighted.balanced_accuracy, weighted.mcc):
            assert math.isnan(metric(y, np.ones(4), ones)[0])
        assert math.isnan(weighted.average_precision(0 * y, np.ones(4), ones)[0])
        assert math.isnan(weighted.f1(0 * y, np.zeros(4), ones)[0])
        assert math.isnan(weighted.weighted_mean(y, 0 * ones)[0])
        assert math.isnan(weighted.weighted_median(y, 0 * ones)[0])


@pytest.mark.parametrize("metric", [*BY_DECISION, *BY_SCORE], ids=lambda f: f.__name__)
def test_an_undefined_score_makes_the_metric_undefined(metric: Callable) -> None:
    y, p = np.array([0, 1, 0, 1]), np.array([0.0, 1.0, np.nan, 1.0])
    assert math.isnan(metric(y, p, np.ones((1, 4)))[0])


labelled = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1000)), min_size=2, max_size=40)


@settings(max_examples=60, deadline=None)
@given(labelled)
def test_auc_is_invariant_under_monotone_maps_and_reverses_with_the_score(
    rows: list[tuple[int, int]],
) -> None:
    y, p = (np.array(column) for column in zip(*rows, strict=True))
    ones = np.ones((1, len(y)))
    auc = weighted.roc_auc(y, p, ones)[0]
    if len(set(y.tolist())) < 2:
        assert math.isnan(auc)
        return
    assert weighted.roc_auc(y, np.log1p(p) * 3 - 1, ones)[0] == pytest.approx(auc)
    assert weighted.roc_auc(y, -p, ones)[0] == pytest.approx(1 - auc)
    assert weighted.roc_auc(1 - y, p, ones)[0] == pytest.approx(1 - auc)
