"""Arms x seeds against scikit-learn, naive loops and the comparison of means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from mtl.errors import ParameterError, ProtocolError
from mtl.evaluation.brain_mri.arms import arm_means, arm_values, case_values, compare_with_baseline
from mtl.evaluation.brain_mri.stages import METRICS, cases_by_arm
from mtl.evaluation.comparison import clustered_error, holm
from mtl.evaluation.seeds_by_units import seeds_by_units

MARGINS = {"roc_auc": 0.05, "dice_nonempty": 0.02}


def one_fold(seed: int, skill: float) -> pd.DataFrame:
    """30 cases of source a without masks, 30 of source b with masks; 20 groups each of unequal size."""
    rng = np.random.default_rng(7)  # the same cases for every seed
    cases = pd.DataFrame({"source": ["a"] * 30 + ["b"] * 30, "cls": rng.integers(0, 2, 60)})
    cases["group"] = [f"g{g}" for g in rng.integers(0, 20, 60)]
    cases["id"], cases["patient"], cases["slice"] = [f"c{i}" for i in range(60)], cases["group"], 0
    cases["has_mask"] = cases["source"] == "b"
    cases["mask_pixels"] = np.where(cases["cls"] == 1, 50.0, 0.0)
    rng = np.random.default_rng(seed)
    noise = rng.random((2, 60))
    dice = pd.Series(np.clip(skill + 0.2 * noise[1], 0, 1)).where(cases["has_mask"])
    return cases.assign(
        tumor_prob=(skill * cases["cls"] + noise[0]).round(1) / 2, dice=dice, iou=dice / 2, hd95=1.0, fold=0,
        predicted_pixels=1.0, stage="joint", threshold=0.5, test_hash="feed", seed=seed,
    )  # fmt: skip


def arms(seeds: int, **skills: float) -> pd.DataFrame:
    numbered = enumerate(skills.items())
    tables = [
        one_fold(seed, skill).assign(arm=arm).assign(tumor_prob=one_fold(100 * n + seed, skill)["tumor_prob"])
        for n, (arm, skill) in numbered
        for seed in range(seeds)
    ]
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def six_seeds() -> pd.DataFrame:
    return arms(6, plain=0.3, better=0.6)


def test_case_values_average_to_the_metric_and_scatter_as_delong_says():
    cases = cases_by_arm(one_fold(3, 0.4))["joint"]
    y, score = cases["cls"].to_numpy(), cases["tumor_prob"].to_numpy()
    values = case_values(METRICS["roc_auc"], cases)
    assert values.mean() == pytest.approx(roc_auc_score(y, score))
    wins = np.array([[(p > q) + 0.5 * (p == q) for q in score[y == 0]] for p in score[y == 1]])
    auc, (m, n) = wins.mean(), wins.shape
    spread = ((wins.mean(1) - auc) ** 2).sum() / m**2 + ((wins.mean(0) - auc) ** 2).sum() / n**2
    error, _ = clustered_error(values, None)
    assert error == pytest.approx(np.sqrt(spread * 60 / 59), rel=1e-5)
    decided = case_values(METRICS["balanced_accuracy"], cases)
    assert decided.mean() == pytest.approx(balanced_accuracy_score(y, score >= 0.5))


def test_values_of_every_network_against_scikit_learn(six_seeds):
    table = arm_values(six_seeds, ["roc_auc", "dice_nonempty"]).set_index(["metric", "source", "arm", "seed"])
    rows = six_seeds[(six_seeds["arm"] == "better") & (six_seeds["seed"] == 2)]
    of_a = rows[rows["source"] == "a"]
    found = table["value"]
    assert found["roc_auc", "pooled", "better", 2] == pytest.approx(
        roc_auc_score(rows["cls"], rows["tumor_prob"])
    )
    assert found["roc_auc", "a", "better", 2] == pytest.approx(roc_auc_score(of_a["cls"], of_a["tumor_prob"]))
    filled = rows[rows["has_mask"] & (rows["mask_pixels"] > 0)]
    assert found["dice_nonempty", "b", "better", 2] == pytest.approx(filled["dice"].mean())
    assert ("dice_nonempty", "a") not in {key[:2] for key in table.index}
    means = arm_means(table.reset_index()).set_index(["metric", "source", "arm"])["estimate"]
    low, high = stats.t.interval(0.95, 5, *_mean_and_error(found["roc_auc", "pooled", "plain"]))
    assert (means["roc_auc", "pooled", "plain"]["low"], means["roc_auc", "pooled", "plain"]["high"]) == (
        pytest.approx(low), pytest.approx(high),
    )  # fmt: skip


def _mean_and_error(values: pd.Series) -> tuple[float, float]:
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def test_a_difference_of_means_is_what_seeds_by_units_says(six_seeds):
    table = compare_with_baseline(six_seeds, "plain", ["roc_auc", "dice_nonempty"], MARGINS, n_resamples=200)
    row = table[(table["metric"] == "dice_nonempty") & (table["source"] == "b")].iloc[0]
    kept = six_seeds[six_seeds["has_mask"] & (six_seeds["mask_pixels"] > 0)]
    wide = kept.pivot(index=["seed", "id", "group"], columns="arm", values="dice").reset_index()
    expected = seeds_by_units(wide["better"] - wide["plain"], wide["group"], wide["seed"], n_resamples=200)
    assert (row["value"], row["low"], row["high"]) == pytest.approx(
        (expected.combined.value, expected.combined.low, expected.combined.high), abs=1e-6
    )
    assert (row["seeds_low"], row["seeds_high"]) == pytest.approx(
        (expected.over_seeds.low, expected.over_seeds.high), abs=1e-6
    )
    assert row["verdict"] == "positive" and row["seeds"] == len(row["per_seed"]) == 6
    assert (row["p_value"] < 0.05) == (row["low"] > 0 or row["high"] < 0)
    assert table["p_holm"].tolist() == pytest.approx(holm(table["p_value"].tolist()).tolist())


def test_four_seeds_have_no_interval_and_no_verdict():
    table = compare_with_baseline(arms(4, plain=0.3, better=0.9), "plain", ["roc_auc"], MARGINS)
    assert set(table["verdict"]) == {"no verdict"} and table["low"].isna().all()
    assert table["value"].gt(0).all() and "5 needed" in table["reason"].iloc[0]


def test_arms_that_cannot_be_compared_are_refused(six_seeds):
    better = six_seeds["arm"] == "better"
    moved = six_seeds.assign(test_hash=np.where(better, "beef", "feed"))
    with pytest.raises(ProtocolError, match="different test sets.*beef.*feed"):
        compare_with_baseline(moved, "plain", ["roc_auc"], MARGINS)
    fewer = six_seeds[~(better & (six_seeds["seed"] == 5))]
    with pytest.raises(ProtocolError, match="'better' has seeds .*paired by seed"):
        compare_with_baseline(fewer, "plain", ["roc_auc"], MARGINS)
    with pytest.raises(ParameterError, match="baseline 'gone': the arms are better, plain"):
        compare_with_baseline(six_seeds, "gone", ["roc_auc"], MARGINS)
