"""Intervals against naive loops, closed forms, and simulated coverage."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from mtl.errors import DataError, ParameterError
from mtl.evaluation.statistics import (
    Estimate,
    bootstrap,
    cluster_strata,
    draw_counts,
    expanded_tails,
    proportion,
    t_interval,
)
from mtl.evaluation.weighted import roc_auc, weighted_mean


def clustered(n_clusters: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(n_clusters), rng.integers(1, 6, n_clusters))
    return pd.DataFrame(
        {"cluster": cluster, "x": rng.normal(size=n_clusters)[cluster] + rng.normal(size=len(cluster))}
    )


def test_weighted_path_equals_the_naive_loop_over_the_same_draws() -> None:
    table = clustered(12, 0)
    fast = bootstrap(table, lambda t, w: weighted_mean(t["x"], w), "cluster", 300, seed=4, weighted=True)
    counts = draw_counts(np.zeros(12, dtype=int), 300, np.random.default_rng(4))
    members = [table.loc[table["cluster"] == c, "x"].tolist() for c in range(12)]
    values = []
    for draw in counts:
        rows = [x for c in range(12) for _ in range(int(draw[c])) for x in members[c]]
        values.append(sum(rows) / len(rows))
    low, high = np.quantile(values, expanded_tails(0.95, 12))
    assert (fast.value, fast.low, fast.high) == pytest.approx((table["x"].mean(), low, high))
    assert (fast.n, fast.unit) == (12, "cluster")


def test_row_path_equals_weighted_path() -> None:
    table = clustered(15, 1)
    slow = bootstrap(table, lambda rows: rows["x"].mean(), "cluster", 200, seed=7)
    fast = bootstrap(table, lambda t, w: weighted_mean(t["x"], w), "cluster", 200, seed=7, weighted=True)
    assert (slow.value, slow.low, slow.high) == pytest.approx((fast.value, fast.low, fast.high))


def test_row_path_takes_any_library_metric_on_arrays() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    pairs = np.column_stack([y, y + rng.normal(size=60)])
    slow = bootstrap(pairs, lambda rows: roc_auc_score(rows[:, 0], rows[:, 1]), None, 150, strata=y)
    fast = bootstrap(pairs, lambda t, w: roc_auc(t[:, 0], t[:, 1], w), None, 150, strata=y, weighted=True)
    assert (slow.value, slow.low, slow.high) == pytest.approx((fast.value, fast.low, fast.high))


def test_whole_clusters_are_drawn() -> None:
    """Two copies of every row in one cluster carry no information: the interval must not shrink."""
    x = np.random.default_rng(2).normal(size=40)
    single = bootstrap(x, weighted_mean, np.arange(40), weighted=True)
    doubled = bootstrap(np.repeat(x, 2), weighted_mean, np.repeat(np.arange(40), 2), weighted=True)
    as_rows = bootstrap(np.repeat(x, 2), weighted_mean, None, weighted=True)
    assert doubled.low == pytest.approx(single.low) and doubled.high == pytest.approx(single.high)
    assert as_rows.high - as_rows.low < 0.8 * (doubled.high - doubled.low)


def test_interval_of_a_mean_has_the_width_of_the_t_interval() -> None:
    x = np.random.default_rng(3).normal(size=25)
    found = bootstrap(x, weighted_mean, None, 20000, weighted=True)
    # The bootstrap's spread is sqrt((n-1)/n) of the textbook error; the expansion restores it.
    low, high = stats.ttest_1samp(x, 0).confidence_interval()
    assert found.high - found.low == pytest.approx(high - low, rel=0.04)


def test_expanded_tails_by_hand() -> None:
    # t(.025; 9) = -2.262157, times sqrt(10/9) = -2.384520, Phi of it = .008551
    assert expanded_tails(0.95, 10) == pytest.approx((0.008551, 0.991449), abs=1e-6)
    assert expanded_tails(0.9, 10**7) == pytest.approx((0.05, 0.95), abs=1e-6)


def test_coverage_of_the_cluster_bootstrap() -> None:
    """400 simulated studies of 25 patients: with 95 % coverage, hits are binomial with sd 1.1 %.

    The band of 3.5 sd (91.2 .. 98.8 %) would be missed by chance once in 2000 seeds; treating rows as units
    covers about 80 % here and must fall below it.
    """
    rng = np.random.default_rng(11)
    hits = {"cluster": 0, "row": 0}
    for study in range(400):
        cluster = np.repeat(np.arange(25), 4)
        x = rng.normal(size=25)[cluster] + rng.normal(size=100)
        for kind, labels in (("cluster", cluster), ("row", None)):
            found = bootstrap(x, weighted_mean, labels, 400, seed=study, weighted=True)
            hits[kind] += found.low <= 0 <= found.high
    assert 0.912 <= hits["cluster"] / 400 <= 0.988
    assert hits["row"] / 400 < 0.9


def test_coverage_of_the_stratified_auc_interval() -> None:
    """AUC of two normals 1.5 apart is Phi(1.5/sqrt 2).

    300 studies: band of 3.5 binomial sd (1.26 %) below 95 %.
    """
    truth, rng, hits = stats.norm.cdf(1.5 / math.sqrt(2)), np.random.default_rng(5), 0
    y = np.r_[np.ones(40), np.zeros(40)]
    for study in range(300):
        p = rng.normal(size=80) + 1.5 * y
        found = bootstrap(p, lambda t, w: roc_auc(y, t, w), None, 400, seed=study, weighted=True, strata=y)
        hits += found.low <= truth <= found.high
    assert 0.906 <= hits / 300 <= 0.99


def test_coverage_of_the_t_interval() -> None:
    """4000 experiments of 5 seeds: sd 0.34 %, band of 3.5 sd."""
    means = np.random.default_rng(0).normal(size=(4000, 5))
    found = [t_interval(row) for row in means]
    assert sum(e.low <= 0 <= e.high for e in found) / 4000 == pytest.approx(0.95, abs=0.012)


def test_t_interval_by_hand() -> None:
    found = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3 - half, 3 + half))
    assert (found.n, found.unit) == (5, "seed")


def test_fewer_than_five_seeds_get_no_interval() -> None:
    found = t_interval([0.1, 0.2, 0.3, 0.4])
    assert found.value == pytest.approx(0.25) and found.low is None and "no verdict" in found.reason


def test_t_interval_counts_undefined_seeds_and_notices_identical_ones() -> None:
    assert t_interval([0.1, math.nan, 0.2, 0.3, 0.4]).reason == "1 of 5 seeds undefined"
    assert t_interval([]).value is None
    same = t_interval([0.2] * 5)
    assert (same.low, same.high) == (0.2, 0.2) and "no information" in same.reason


def test_stratified_draws_keep_class_counts() -> None:
    y = np.r_[np.ones(3), np.zeros(20)]
    strata = cluster_strata(y, np.arange(23), 23)
    counts = draw_counts(strata, 500, np.random.default_rng(0))
    assert (counts[:, :3].sum(axis=1) == 3).all() and (counts[:, 3:].sum(axis=1) == 20).all()


def test_cluster_strata_are_sets_and_singletons_join_the_largest() -> None:
    codes = np.array([0, 0, 1, 2, 2, 3, 4, 5])
    y = np.array([1, 0, 1, 0, 1, 1, 1, 0])  # sets {0,1}, {1}, {0,1}, {1}, {1}, {0}
    strata = cluster_strata(y, codes, 6)
    assert strata[0] == strata[2] != strata[1]
    assert strata[1] == strata[3] == strata[4] == strata[5]


def test_single_negative_still_varies_and_is_counted() -> None:
    y = np.r_[np.ones(20), 0]
    found = bootstrap(y, lambda t, w: roc_auc(t, np.arange(21), w), None, 1000, weighted=True, strata=y)
    # The one negative is missing from a resample with probability (20/21)^21 = 0.359.
    assert found.undefined / 1000 == pytest.approx(0.359, abs=0.06)
    assert found.value == 0 and found.low is None and str(found.undefined) in found.reason


def test_undefined_figure_has_a_reason_and_null() -> None:
    found = bootstrap(np.ones(5), lambda t, w: roc_auc(t, np.arange(5), w), None, weighted=True)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["value"] is None
    assert "undefined" in found.reason and str(found).startswith("undefined (")


def test_empty_and_single_unit() -> None:
    assert bootstrap(np.zeros(0), weighted_mean, None, weighted=True).reason == "no cases"
    one = bootstrap(np.ones(4), weighted_mean, np.zeros(4), weighted=True)
    assert (one.value, one.low, one.n) == (1.0, None, 1)


def test_deterministic_in_seed() -> None:
    x = np.random.default_rng(0).normal(size=30)
    first, again, other = (bootstrap(x, weighted_mean, None, weighted=True, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_centred_interval_moves_by_the_bias() -> None:
    x = np.random.default_rng(0).normal(size=50)
    variance = lambda t, w: weighted_mean(t**2, w) - weighted_mean(t, w) ** 2  # noqa: E731
    plain, centred = (bootstrap(x, variance, None, weighted=True, centred=c) for c in (False, True))
    # The plug-in variance of a resample is (n-1)/n of the sample's on average.
    assert centred.low - plain.low == pytest.approx(plain.value / 50, rel=0.5)
    assert centred.high - plain.high == pytest.approx(centred.low - plain.low)


def test_missing_cluster_label_and_bad_settings_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 3 rows have no cluster label"):
        bootstrap(np.ones(3), weighted_mean, ["a", None, "b"], weighted=True)
    with pytest.raises(DataError, match="2 labels for 3 rows"):
        bootstrap(np.ones(3), weighted_mean, ["a", "b"], weighted=True)
    with pytest.raises(ParameterError, match="n_resamples"):
        bootstrap(np.ones(3), weighted_mean, None, 0, weighted=True)
    with pytest.raises(ParameterError, match="level"):
        bootstrap(np.ones(3), weighted_mean, None, level=95, weighted=True)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_proportion_at_the_boundary_is_clopper_pearson_over_units(share: float) -> None:
    found = proportion(np.full(28, share), np.repeat(np.arange(14), 2), unit="patient")
    bound = 1 - 0.025 ** (1 / 14)  # closed form for 0 of 14
    assert (found.low, found.high) == pytest.approx((0, bound) if share == 0 else (1 - bound, 1))
    assert found.n == 14 and "Clopper-Pearson" in found.reason


def test_proportion_inside_agrees_with_wilson_on_independent_rows() -> None:
    found = proportion(np.r_[np.ones(60), np.zeros(40)], n_resamples=8000)
    wilson = stats.binomtest(60, 100).proportion_ci(method="wilson")
    assert found.low == pytest.approx(wilson.low, abs=0.015) and found.high == pytest.approx(
        wilson.high, abs=0.015
    )


def test_estimate_text_and_json() -> None:
    estimate = Estimate(0.931, 0.9, 0.9512, 40, "patient")
    assert str(estimate) == "0.93 [0.90, 0.95]" and f"{estimate:.3f}" == "0.931 [0.900, 0.951]"
    assert set(estimate.to_dict()) == {"value", "low", "high", "n", "unit"}
    assert str(Estimate(0.5, None, None, 1, "seed", "one seed")) == "0.50 [no interval: one seed]"
    assert Estimate(math.nan, math.inf, None, 1, "x").to_dict()["value"] is None
    with pytest.raises(DataError, match="not an estimate"):
        Estimate.from_dict({"value": 1, "lower": 0})


numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@settings(max_examples=40, deadline=None)
@given(numbers, numbers, numbers, st.integers(0, 99), st.text(max_size=5), st.integers(0, 9))
def test_estimate_round_trip(value, low, high, n, reason, undefined) -> None:
    estimate = Estimate(value, low, high, n, "patient", reason or None, undefined)
    assert Estimate.from_dict(json.loads(json.dumps(estimate.to_dict()))) == estimate


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=8, max_size=40), st.integers(0, 5))
def test_interval_of_a_mean_contains_it_and_stays_in_range(values: list[float], seed: int) -> None:
    x = np.array(values)
    found = bootstrap(x, weighted_mean, None, 400, seed=seed, weighted=True)
    slack = 1e-9 * (1 + np.abs(x).max())
    assert x.min() - slack <= found.low <= found.value + slack
    assert found.value - slack <= found.high <= x.max() + slack
