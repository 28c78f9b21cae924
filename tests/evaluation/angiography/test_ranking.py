"""Ranks under ties against all orders of the tied candidates; retrieval against loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import DataError, ParameterError
from mtl.evaluation.angiography import (
    chance_levels,
    cosine_similarity,
    recall_curve,
    retrieve,
    summarise_retrieval,
)
from mtl.evaluation.angiography.ranking import chance, first_relevant, ndcg

KS = (1, 2, 3, 4, 5)


def all_orders(scores: np.ndarray) -> list[tuple[int, ...]]:
    """Every order of the candidates, best first, that the scores allow."""
    groups = [list(np.flatnonzero(scores == value)) for value in sorted(set(scores), reverse=True)]
    return [sum(map(tuple, parts), ()) for parts in itertools.product(*map(itertools.permutations, groups))]


def slow_measures(scores: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """Means over all orders of what the textbook says of one order."""
    found = []
    for order in all_orders(scores):
        hits = [bool(relevant[i]) for i in order]
        rank = 1 + hits.index(True)
        dcg = sum(hit / math.log2(place + 2) for place, hit in enumerate(hits[:3]))
        best = sum(1 / math.log2(place + 2) for place in range(min(3, sum(hits))))
        recalls = {f"recall_{k}": float(rank <= k) for k in KS}
        found.append({"rank": rank, "rr": 1 / rank, "ndcg": dcg / best} | recalls)
    return pd.DataFrame(found).mean().to_dict()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4))
def test_measures_are_means_over_all_orders_of_ties(seed: int, n: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (3, n)).astype(float)
    relevant = rng.random((3, n)) < 0.4
    relevant[np.arange(3), rng.integers(0, n, 3)] = True
    first, gains = first_relevant(scores, relevant), ndcg(scores, relevant, k=3)
    for query in range(3):
        slow = slow_measures(scores[query], relevant[query])
        assert first.rank[query] == pytest.approx(slow["rank"])
        assert first.reciprocal_rank()[query] == pytest.approx(slow["rr"])
        assert gains[query] == pytest.approx(slow["ndcg"])
        for k in KS:
            assert first.recall(k)[query] == pytest.approx(slow[f"recall_{k}"], abs=1e-12)


def test_without_ties_a_long_list_is_exact() -> None:
    """Log-factorials of large numbers must not leave rounding behind."""
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(2000.0), (5, 1)), axis=1)
    relevant = np.eye(5, 2000, dtype=bool)
    rank = 2000 - scores[np.arange(5), np.arange(5)]
    first = first_relevant(scores, relevant)
    np.testing.assert_allclose(first.rank, rank)
    np.testing.assert_allclose(first.reciprocal_rank(), 1 / rank)
    for k in (1, 10, int(rank.min()), int(rank.max())):
        np.testing.assert_allclose(first.recall(k), rank <= k, atol=1e-9)


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(DataError, match="expected one shape|expected \\(Q, C\\)"):
        first_relevant(np.zeros((2, 3)), np.ones((2, 2), bool))
    with pytest.raises(DataError, match="1 of 4 similarities are not finite"):
        first_relevant(np.array([[0, np.nan], [0, 0]]), np.ones((2, 2), bool))
    with pytest.raises(DataError, match="1 of 2 queries have no relevant candidate"):
        first_relevant(np.zeros((2, 2)), np.array([[True, False], [False, False]]))


# --- retrieval


REPORTS = ["a", "b", "a ", "c", "d", "b"]
STUDIES = ["s1", "s1", "s2", "s3", "s3", "s4"]


def test_identical_reports_are_one_candidate_and_one_query() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random((6, 6))
    table = retrieve(scores, REPORTS, STUDIES, ks=(1, 3, 5))
    to_report, to_video = (rows for _, rows in table.groupby("direction", sort=False))
    assert len(to_report) == 6 and set(to_report["n_candidates"]) == {4}
    assert len(to_video) == 4 and set(to_video["n_candidates"]) == {6}
    assert to_video["query"].tolist() == [0, 1, 3, 4] and to_video["n_relevant"].tolist() == [2, 2, 1, 1]
    assert to_video["study"].tolist() == ["s1", "s1", "s3", "s3"]
    assert to_report["recall_5"].isna().all() and to_video["recall_5"].notna().all(), "5 of 4 candidates"
    distinct = [0, 1, 3, 4]
    own = [0, 1, 0, 2, 3, 1]
    for clip in range(6):
        order = sorted(range(4), key=lambda j, clip=clip: -scores[clip, distinct[j]])
        assert to_report["rank"].iloc[clip] == 1 + order.index(own[clip])
    for query, column in enumerate(distinct):
        order = sorted(range(6), key=lambda i, column=column: -scores[i, column])
        assert to_video["rank"].iloc[query] == 1 + min(order.index(i) for i in range(6) if own[i] == query)


def test_other_views_of_a_study_can_count_as_relevant() -> None:
    scores = np.zeros((6, 6))
    table = retrieve(scores, REPORTS, STUDIES, relevance="study")
    n_relevant = table["n_relevant"].tolist()
    assert n_relevant[:6] == [2, 2, 1, 2, 2, 1], "clips: the reports of their study"
    assert n_relevant[6:] == [3, 3, 2, 2], "reports: the clips of every study that has them"
    scores[0, 1] = 1  # the clip's sister view's report is found first
    first = retrieve(scores, REPORTS, STUDIES, relevance="study").iloc[0]
    assert first["rank"] == 1 and retrieve(scores, REPORTS, STUDIES).iloc[0]["rank"] > 1


def test_a_constant_similarity_scores_chance_in_every_measure() -> None:
    rng = np.random.default_rng(2)
    reports = [f"r{i}" for i in rng.integers(0, 30, 60)]
    table = retrieve(np.full((60, 60), 0.3), reports, [f"s{i // 2}" for i in range(60)])
    summary, known = summarise_retrieval(table, n_resamples=50), chance_levels(table)
    for direction, metrics in summary.items():
        assert set(metrics) == set(known[direction]) >= {"recall_1", "mrr", "ndcg_5", "median_rank"}
        for name, estimate in metrics.items():
            assert estimate.value == pytest.approx(known[direction][name])
    n = table["n_candidates"].iloc[0]
    assert known["video to report"]["recall_1"] == pytest.approx(1 / n)
    assert known["video to report"]["recall_10"] == pytest.approx(10 / n)


def test_chance_is_what_random_similarities_get_on_average() -> None:
    rng = np.random.default_rng(3)
    relevant = np.tile(np.arange(12) < 3, (4000, 1))
    drawn, known = first_relevant(rng.random((4000, 12)), relevant), chance(relevant[:1])
    # Four standard errors of 4000 queries: 0.03 of a share (spread 0.5), 0.15 of a rank (spread 2.4).
    for k in (1, 5):
        assert drawn.recall(k).mean() == pytest.approx(known.recall(k)[0], abs=0.03)
    assert drawn.reciprocal_rank().mean() == pytest.approx(known.reciprocal_rank()[0], abs=0.03)
    assert drawn.rank.mean() == pytest.approx(known.rank[0], abs=0.15)


def test_a_perfect_similarity_is_perfect_and_intervals_are_over_studies() -> None:
    studies = [f"s{i // 2}" for i in range(40)]
    vectors = np.random.default_rng(4).normal(size=(40, 16))
    similarity = cosine_similarity(vectors, 3 * vectors)
    table = retrieve(similarity, [f"report {i}" for i in range(40)], studies)
    for metrics in summarise_retrieval(table, n_resamples=100).values():
        assert all(
            metrics[name].value == 1 for name in ("recall_1", "recall_10", "mrr", "ndcg_5", "median_rank")
        )
        assert "recall_50" not in metrics, "50 of 40 candidates"
        assert metrics["mrr"].n == 20 and metrics["mrr"].unit == "study"


def test_the_curve_has_a_row_for_each_way_and_k() -> None:
    table = retrieve(np.random.default_rng(0).random((6, 6)), REPORTS, STUDIES, ks=(1, 2, 4, 6))
    curve = recall_curve(table, n_resamples=50)
    assert curve.groupby("direction", sort=False)["k"].apply(list).tolist() == [[1, 2, 4], [1, 2, 4, 6]]
    assert (curve.groupby("direction")["value"].diff().dropna() >= 0).all(), "recall grows with K"
    assert curve["chance"].iloc[-1] == 1 and ((curve["low"] <= curve["value"]) | curve["low"].isna()).all()


def test_differences_below_float32_are_ties() -> None:
    one = np.ones((3, 4)) + 1e-8 * np.random.default_rng(0).random((3, 4))
    assert len(np.unique(cosine_similarity(one, one))) == 1


def test_errors_of_retrieval() -> None:
    with pytest.raises(DataError, match="columns of different lengths.*reports: 2"):
        retrieve(np.zeros((3, 3)), ["a", "b"], ["s"] * 3)
    with pytest.raises(DataError, match=r"similarity \(3, 2\): expected \(3, 3\)"):
        retrieve(np.zeros((3, 2)), ["a"] * 3, ["s"] * 3)
    with pytest.raises(ParameterError, match="relevance = 'patient'"):
        retrieve(np.zeros((1, 1)), ["a"], ["s"], relevance="patient")
    with pytest.raises(ParameterError, match="expected ranks of at least 1"):
        retrieve(np.zeros((1, 1)), ["a"], ["s"], ks=(0, 1))
    with pytest.raises(DataError, match="of one width"):
        cosine_similarity(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(DataError, match="1 embeddings are zero or not finite"):
        cosine_similarity(np.ones((2, 3)), np.array([[0, 0, 0], [1, 1, 1]]))
    with pytest.raises(DataError, match="no clip to evaluate"):
        retrieve(np.zeros((0, 0)), [], [])
