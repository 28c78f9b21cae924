"""AJI and detection against loops, known cases, and the scores of one image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import DataError
from mtl.evaluation.contingency import contingency
from mtl.evaluation.histology import aggregated_jaccard, detection_counts, image_scores
from mtl.evaluation.histology.instances import centres


def random_instances(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    instances = np.zeros((12, 14), np.int32)
    for number in range(1, rng.integers(1, 8)):
        y, x, h, w = rng.integers(0, [11, 13, 5, 5])
        instances[y : y + h + 1, x : x + w + 1] = number * 3
    return instances


def aji(predicted: np.ndarray, truth: np.ndarray) -> float:
    return aggregated_jaccard(contingency(predicted, truth, background="segment"))


def slow_aji(predicted: np.ndarray, truth: np.ndarray) -> float:
    taken, inter, union = set(), 0, 0
    for i in set(np.unique(truth)) - {0}:
        g = truth == i
        partners = [
            (np.sum(g & (predicted == j)) / np.sum(g | (predicted == j)), -j)
            for j in set(np.unique(predicted[g])) - {0}
        ]
        if not partners:
            union += g.sum()
            continue
        best = -max(partners)[1]
        inter += np.sum(g & (predicted == best))
        union += np.sum(g | (predicted == best))
        taken.add(best)
    union += sum(np.sum(predicted == j) for j in set(np.unique(predicted)) - {0} - taken)
    return inter / union if union else float("nan")


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_aji_equals_the_loop(one: int, other: int) -> None:
    predicted, truth = random_instances(one), random_instances(other)
    assert aji(predicted, truth) == pytest.approx(slow_aji(predicted, truth), nan_ok=True)


def test_aji_of_known_cases() -> None:
    truth = random_instances(3)
    assert aji(truth, truth) == 1
    assert aji(np.zeros_like(truth), truth) == 0
    assert np.isnan(aji(np.zeros_like(truth), np.zeros_like(truth)))
    halves = np.zeros((4, 8), np.int32)
    halves[:, :4], halves[:, 4:] = 1, 2
    assert aji(np.ones_like(halves), halves) == pytest.approx(2 * 16 / (2 * 32)), "both take the one"


def slow_detection(predicted: np.ndarray, truth: np.ndarray, radius: float) -> int:
    """Most matches over all ways to match."""
    if len(predicted) > len(truth):
        predicted, truth = truth, predicted
    best = 0
    for chosen in itertools.permutations(range(len(truth)), len(predicted)):
        near = [np.linalg.norm(p - truth[j]) <= radius for p, j in zip(predicted, chosen, strict=True)]
        best = max(best, sum(near))
    return best


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_detection_matches_as_many_as_possible(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, truth = (
        rng.uniform(0, 12, (rng.integers(0, 5), 2)),
        rng.uniform(0, 12, (rng.integers(0, 6), 2)),
    )
    tp, fp, fn = detection_counts(predicted, truth, 3.0)
    assert tp == slow_detection(predicted, truth, 3.0)
    assert (fp, fn) == (len(predicted) - tp, len(truth) - tp)


def test_centres_are_mean_positions_by_rising_id() -> None:
    instances = np.zeros((5, 6), int)
    instances[1:3, 1:4], instances[4, 5] = 9, 2
    np.testing.assert_allclose(centres(instances), [[4, 5], [1.5, 2]])
    assert centres(np.zeros((3, 3), int)).shape == (0, 2)


def test_scores_of_a_perfect_and_of_an_empty_prediction() -> None:
    truth = random_instances(5)
    perfect = image_scores(truth, truth, (truth > 0).astype(float))
    assert all(perfect[name] == 1 for name in ("pq", "dq", "sq", "aji", "ap50", "f1", "dice"))
    assert perfect["ece"] == perfect["brier"] == 0
    empty = image_scores(np.zeros_like(truth), truth)
    assert all(empty[name] == 0 for name in ("pq", "dq", "aji", "ap50", "f1", "dice")) and np.isnan(
        empty["sq"]
    )
    assert empty["n_predicted"] == 0 and "ece" not in empty


def test_a_nucleus_cut_in_half_is_one_match_and_one_false_alarm() -> None:
    truth = np.zeros((10, 20), int)
    truth[2:8, 2:18] = 1
    predicted = np.zeros_like(truth)
    predicted[2:8, 2:12], predicted[2:8, 12:18] = 1, 2
    scores = image_scores(predicted, truth)
    assert scores["sq"] == pytest.approx(10 / 16) and scores["ap50"] == 0.5
    assert scores["pq"] == pytest.approx((10 / 16) / 1.5) and scores["dice"] == 1


def test_probabilities_out_of_range_and_other_shapes_are_refused() -> None:
    truth = random_instances(5)
    with pytest.raises(DataError, match="expected numbers in"):
        image_scores(truth, truth, truth.astype(float) * 2)
    with pytest.raises(DataError, match="expected one shape"):
        image_scores(truth, truth, np.zeros((3, 3)))
    with pytest.raises(DataError, match="expected one shape"):
        image_scores(truth[1:], truth)
