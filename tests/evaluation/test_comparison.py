"""Comparisons against scipy, hand-worked tables and simulated power."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mtl.errors import ParameterError, ProtocolError
from mtl.evaluation.comparison import (
    clustered_error,
    holm,
    minimal_detectable_effect,
    paired_difference,
    relative_change,
    verdict,
)
from mtl.evaluation.seeds_by_units import seeds_by_units
from mtl.evaluation.statistics import Estimate, bootstrap
from mtl.evaluation.weighted import roc_auc, weighted_mean


def test_exact_sign_flip_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=10), rng.normal(0.6, 1, size=10)
    ours = paired_difference(a, b, None, n_resamples=2000)
    reference = stats.permutation_test((b - a,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert ours.p_value == pytest.approx(reference.pvalue)


def test_clusters_flip_together() -> None:
    """Four patients with three slices each: 16 sign patterns, enumerated by hand."""
    rng = np.random.default_rng(1)
    a, b, patient = rng.normal(size=12), rng.normal(1, 1, size=12), np.repeat(list("abcd"), 3)
    sums = [(b - a)[patient == name].sum() for name in "abcd"]
    patterns = [[1 if bits >> k & 1 else -1 for k in range(4)] for bits in range(16)]
    null = [abs(sum(s * d for s, d in zip(signs, sums, strict=True))) for signs in patterns]
    expected = sum(value >= abs(sum(sums)) - 1e-12 for value in null) / 16
    assert paired_difference(a, b, patient).p_value == pytest.approx(expected)


def test_random_exchange_agrees_with_t_test() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=60)
    b = a + rng.normal(0.25, 1, size=60)
    ours = paired_difference(a, b, None, n_resamples=8000)
    assert ours.p_value == pytest.approx(stats.ttest_rel(b, a).pvalue, abs=0.02)


def test_interval_of_a_mean_difference_is_the_bootstrap_of_the_differences() -> None:
    rng = np.random.default_rng(3)
    a, b, patient = rng.normal(size=40), rng.normal(size=40), np.repeat(np.arange(20), 2)
    paired = paired_difference(a, b, patient, seed=5).estimate
    single = bootstrap(b - a, weighted_mean, patient, seed=5, weighted=True)
    assert (paired.value, paired.low, paired.high) == pytest.approx((single.value, single.low, single.high))


def test_pairing_removes_what_the_arms_share() -> None:
    rng = np.random.default_rng(4)
    difficulty = rng.normal(0, 5, size=50)
    a, b = difficulty + rng.normal(0, 0.1, 50), difficulty + 0.2 + rng.normal(0, 0.1, 50)
    found = paired_difference(a, b, None)
    assert found.estimate.low > 0.1 and found.p_value < 0.01


def test_auc_difference_on_tables_against_a_naive_loop() -> None:
    rng = np.random.default_rng(6)
    y = np.r_[np.ones(12), np.zeros(12)]
    arms = [pd.DataFrame({"y": y, "p": y * gain + rng.normal(size=24)}) for gain in (0.5, 2.0)]
    statistic = lambda t, w: roc_auc(t["y"], t["p"], w)  # noqa: E731
    found = paired_difference(*arms, None, statistic=statistic, n_resamples=300, strata=y, seed=9)

    def auc(labels: np.ndarray, scores: np.ndarray) -> float:
        pairs = [(p > n) + (p == n) / 2 for p in scores[labels == 1] for n in scores[labels == 0]]
        return float(np.mean(pairs))

    first, second = (arm["p"].to_numpy() for arm in arms)
    observed = auc(y, second) - auc(y, first)
    generator = np.random.default_rng(9)
    for _ in range(2):  # the two strata's draws come first
        generator.multinomial(12, np.full(12, 1 / 12), 300)
    flips = generator.integers(0, 2, (300, 24)).astype(bool)
    null = [auc(y, np.where(f, first, second)) - auc(y, np.where(f, second, first)) for f in flips]
    assert found.estimate.value == pytest.approx(observed)
    assert found.p_value == pytest.approx((1 + sum(abs(v) >= abs(observed) - 1e-12 for v in null)) / 301)


def test_equal_arms_have_p_one_and_unequal_lengths_are_refused() -> None:
    same = paired_difference(np.arange(20.0), np.arange(20.0), None)
    assert same.p_value == 1 and same.estimate.value == 0 and "no information" in same.estimate.reason
    with pytest.raises(ProtocolError, match="20 and 19"):
        paired_difference(np.ones(20), np.ones(19), None)


def test_undefined_pair_makes_the_difference_undefined() -> None:
    a = np.r_[np.nan, np.ones(9)]
    found = paired_difference(a, np.ones(10), None)
    assert found.estimate.value is None and found.p_value is None
    assert found.to_dict()["minimal_detectable"] is None
    assert paired_difference([], [], None).estimate.reason == "no cases"


def test_false_positive_rate_of_the_exchange_test() -> None:
    """1000 null studies at 5 %: binomial sd 0.69 %, upper band of 3.5 sd."""
    rng = np.random.default_rng(8)
    patient = np.repeat(np.arange(15), 3)
    rejected = 0
    for study in range(1000):
        differences = rng.normal(size=15)[patient] + rng.normal(size=45)
        rejected += (
            paired_difference(np.zeros(45), differences, patient, n_resamples=199, seed=study).p_value <= 0.05
        )
    assert 0.026 <= rejected / 1000 <= 0.074


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04 -> x4 .02, x3 .03, x2 .06, x1 .04 -> made monotone .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert len(holm([])) == 0


def test_holm_counts_undefined_tests() -> None:
    adjusted = holm([0.01, None, 0.02])
    assert adjusted[[0, 2]] == pytest.approx([0.03, 0.04]) and math.isnan(adjusted[1])
    with pytest.raises(ParameterError, match=r"\[0, 1\]"):
        holm([0.5, 1.2])


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(probabilities, st.randoms(use_true_random=False))
def test_holm_is_monotone_bounded_and_equivariant(p: list[float], random) -> None:
    adjusted = holm(p)
    bonferroni = np.minimum(1, np.array(p) * len(p))
    assert (adjusted >= p).all() and (adjusted <= bonferroni + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
    order = random.sample(range(len(p)), len(p))
    assert holm([p[i] for i in order]) == pytest.approx(adjusted[order])


def test_clustered_error_of_singletons_is_the_textbook_error() -> None:
    x = np.random.default_rng(0).normal(size=30)
    assert clustered_error(x, None) == (pytest.approx(stats.sem(x)), 30)


def test_minimal_detectable_effect_has_the_promised_power() -> None:
    """2000 simulated t-tests at the detectable effect reject in 80 %: sd 0.9 %, band of 3.5 sd."""
    rng = np.random.default_rng(1)
    sample = rng.normal(size=20)
    effect = minimal_detectable_effect(sample / sample.std(ddof=1), None)
    studies = rng.normal(effect, 1.0, size=(2000, 20))
    power = (stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05).mean()
    assert power == pytest.approx(0.8, abs=0.032)


def test_minimal_detectable_effect_needs_two_clusters_and_sane_settings() -> None:
    assert minimal_detectable_effect([0.1, 0.2], ["a", "a"]) is None
    assert minimal_detectable_effect([0.1, math.nan], None) is None
    with pytest.raises(ParameterError, match="power"):
        minimal_detectable_effect([0.1, 0.2], None, power=0.01)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.05, "positive"),
        (-0.01, 0.05, "non-inferior"),
        (-0.015, -0.001, "non-inferior"),
        (0.0, 0.0, "non-inferior"),
        (-0.05, -0.001, "negative"),
        (-0.05, -0.03, "negative"),
        (-0.05, 0.01, "inconclusive"),
        (-0.02, 0.01, "inconclusive"),
        (-0.02, 0.0, "inconclusive"),
        (None, None, "no verdict"),
    ],
)
def test_verdict_by_a_margin_of_two_points(low: float | None, high: float | None, expected: str) -> None:
    assert verdict(Estimate(0.0, low, high, 10, "seed"), 0.02) == expected


@pytest.mark.parametrize("margin", [-0.01, math.nan, math.inf])
def test_margin_is_checked(margin: float) -> None:
    with pytest.raises(ParameterError, match="margin"):
        verdict(Estimate(0, -1, 1, 10, "seed"), margin)


def crossed(
    n_seeds: int, n_units: int, seed_sd: float, unit_sd: float, rng: np.random.Generator
) -> pd.DataFrame:
    frame = pd.MultiIndex.from_product([range(n_seeds), range(n_units)], names=["seed", "unit"]).to_frame(
        index=False
    )
    effects = rng.normal(0, seed_sd, n_seeds)[frame["seed"]] + rng.normal(0, unit_sd, n_units)[frame["unit"]]
    return frame.assign(d=effects + rng.normal(0, 0.5, len(frame)))


def test_seeds_by_units_against_its_formula() -> None:
    table = crossed(6, 20, 0.3, 1.0, np.random.default_rng(0))
    found = seeds_by_units(table["d"], table["unit"], table["seed"], n_resamples=200, unit="patient")
    seeds, units = table.groupby("seed")["d"].mean(), table.groupby("unit")["d"].mean()
    parts = np.array([seeds.var() / 6, units.var() / 20])
    freedom = parts.sum() ** 2 / (parts[0] ** 2 / 5 + parts[1] ** 2 / 19)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(parts.sum())
    assert found.combined.low == pytest.approx(table["d"].mean() - half)
    assert found.combined.high == pytest.approx(table["d"].mean() + half)
    assert found.over_seeds.low == pytest.approx(stats.ttest_1samp(seeds, 0).confidence_interval().low)
    assert [e.value for e in found.per_seed] == pytest.approx(seeds.tolist())


def test_coverage_over_seeds_and_units() -> None:
    """250 crossed studies, both effects random: the combined interval holds 95 % (errs towards wide), the
    interval over seeds alone does not, because the units are shared."""
    rng = np.random.default_rng(3)
    hits = {"combined": 0, "over_seeds": 0}
    for _ in range(250):
        table = crossed(5, 20, 0.2, 1.0, rng)
        found = seeds_by_units(table["d"], table["unit"], table["seed"], n_resamples=1)
        for name in hits:
            interval = getattr(found, name)
            hits[name] += interval.low <= 0 <= interval.high
    assert hits["combined"] / 250 >= 0.95 - 3.5 * math.sqrt(0.05 * 0.95 / 250)
    assert hits["over_seeds"] / 250 < 0.9


def test_few_seeds_have_no_verdict_and_unequal_units_are_refused() -> None:
    table = crossed(3, 10, 0.2, 1.0, np.random.default_rng(0))
    found = seeds_by_units(table["d"], table["unit"], table["seed"], n_resamples=50)
    assert verdict(found.over_seeds, 0.02) == verdict(found.combined, 0.02) == "no verdict"
    assert all(estimate.low is not None for estimate in found.per_seed)
    with pytest.raises(ProtocolError, match="different units"):
        seeds_by_units(table["d"][1:], table["unit"][1:], table["seed"][1:])


def test_relative_change_by_hand() -> None:
    multi, single = {"dice": 0.88, "hd95": 9.0}, {"dice": 0.80, "hd95": 10.0}
    assert relative_change(multi, single, ["hd95"]) == pytest.approx((0.1 + 0.1) / 2)
    with pytest.raises(ProtocolError, match="tasks differ"):
        relative_change({"dice": 1.0}, single)
    with pytest.raises(ProtocolError, match="hd95"):
        relative_change(multi, {"dice": 0.8, "hd95": 0.0})
    with pytest.raises(ParameterError, match="loss"):
        relative_change(multi, single, ["loss"])
