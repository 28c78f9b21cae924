"""Stage comparison: values, pairing, Holm and the protocol's refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from mtl.errors import ParameterError, ProtocolError
from mtl.evaluation.brain_mri import average_over_folds, compare_stages
from mtl.evaluation.comparison import holm, verdict
from mtl.evaluation.statistics import Estimate

ALL = ["roc_auc", "roc_auc_within_source", "balanced_accuracy", "accuracy", "dice_nonempty", "combined"]


@pytest.fixture(scope="module")
def compared(predictions: pd.DataFrame) -> pd.DataFrame:
    return compare_stages(predictions, ALL, 0.02, n_resamples=300)


def test_values_against_scikit_learn(compared: pd.DataFrame, predictions: pd.DataFrame) -> None:
    averaged = average_over_folds(predictions)
    arms = {stage: rows for stage, rows in averaged.groupby("stage")}

    def expected(stage: str) -> dict[str, float]:
        rows = arms[stage]
        called = rows["tumor_prob"] >= 0.5
        overlap = rows.loc[rows["has_mask"] & (rows["mask_pixels"] > 0), "dice"].mean()
        return {
            "roc_auc": roc_auc_score(rows["cls"], rows["tumor_prob"]),
            "balanced_accuracy": balanced_accuracy_score(rows["cls"], called),
            "accuracy": (called == rows["cls"]).mean(),
            "dice_nonempty": overlap,
            "combined": (overlap + (called == rows["cls"]).mean()) / 2,
        }

    for row in compared[compared["metric"] != "roc_auc_within_source"].itertuples():
        first, second = expected(row.first)[row.metric], expected(row.second)[row.metric]
        assert (row.first_value, row.second_value) == (pytest.approx(first), pytest.approx(second))
        assert row.value == pytest.approx(second - first)


def test_pairs_follow_the_order_of_stages(compared: pd.DataFrame) -> None:
    pairs = compared.loc[compared["metric"] == "roc_auc", ["first", "second"]].to_numpy().tolist()
    assert pairs == [["warm-up", "head"], ["warm-up", "joint"], ["head", "joint"]]


def test_holm_spans_the_whole_table_and_verdicts_follow_the_interval(compared: pd.DataFrame) -> None:
    assert compared["p_holm"].tolist() == pytest.approx(holm(compared["p_value"].tolist()).tolist())
    for row in compared.itertuples():
        assert row.verdict == verdict(Estimate(row.value, row.low, row.high, row.n, row.unit), 0.02)
    best = compared.query("metric == 'dice_nonempty' and first == 'warm-up' and second == 'joint'").iloc[0]
    assert best["verdict"] == "positive" and best["p_value"] < 0.05 and best["minimal_detectable"] > 0


def test_units_are_patients_behind_the_metric(compared: pd.DataFrame) -> None:
    assert compared.groupby("metric")["n"].unique().map(list).to_dict() == {
        "roc_auc": [42],
        "roc_auc_within_source": [42],
        "balanced_accuracy": [42],
        "accuracy": [42],
        "dice_nonempty": [12],
        "combined": [42],
    }


def test_one_source_and_chosen_pairs(predictions: pd.DataFrame) -> None:
    found = compare_stages(
        predictions,
        "roc_auc",
        {"roc_auc": 0.05},
        source="kaggle",
        pairs=[("joint", "warm-up")],
        n_resamples=50,
    )
    assert (len(found), found.loc[0, "n"], found.loc[0, "source"]) == (1, 30, "kaggle")
    assert found.loc[0, "value"] < 0 and found.loc[0, "margin"] == 0.05


def test_a_monotone_map_of_one_arm_changes_nothing_about_auc(predictions: pd.DataFrame) -> None:
    # LGG is averaged over folds, where a map of the parts is no map of the mean: kaggle cases only.
    rows = predictions[(predictions["source"] == "kaggle") & (predictions["stage"] != "head")]
    warped = rows.assign(
        tumor_prob=rows["tumor_prob"].mask(rows["stage"] == "joint", rows["tumor_prob"] ** 3 / 10)
    )
    plain, mapped = (compare_stages(t, "roc_auc", 0.02, n_resamples=100) for t in (rows, warped))
    pd.testing.assert_frame_equal(plain, mapped)


def test_different_test_sets_or_cases_are_refused(predictions: pd.DataFrame) -> None:
    changed = predictions.assign(test_hash=np.where(predictions["stage"] == "joint", "beef", "feed"))
    with pytest.raises(ProtocolError, match="joint: beef.*warm-up: feed"):
        compare_stages(changed, "roc_auc", 0.02)
    missing = predictions[~((predictions["stage"] == "joint") & (predictions["id"] == "lgg/50"))]
    with pytest.raises(ProtocolError, match="warm-up and joint were not scored on the same cases"):
        compare_stages(missing, "roc_auc", 0.02, n_resamples=20)


def test_a_stage_without_classifier_gets_no_verdict(predictions: pd.DataFrame) -> None:
    blind = predictions.assign(tumor_prob=predictions["tumor_prob"].mask(predictions["stage"] == "warm-up"))
    found = compare_stages(blind, ["roc_auc", "accuracy", "dice_nonempty"], 0.02, n_resamples=50)
    involved = (found["first"] == "warm-up") & (found["metric"] != "dice_nonempty")
    assert (found.loc[involved, "verdict"] == "no verdict").all() and found.loc[
        involved, "p_holm"
    ].isna().all()
    assert found.loc[involved, "reason"].str.contains("undefined").all()
    assert found.loc[~involved, "value"].notna().all()


def test_unknown_names_are_refused(predictions: pd.DataFrame) -> None:
    with pytest.raises(ParameterError, match="auroc.*roc_auc"):
        compare_stages(predictions, "auroc", 0.02)
    with pytest.raises(ParameterError, match="no margin for .*accuracy"):
        compare_stages(predictions, ["roc_auc", "accuracy"], {"roc_auc": 0.02})
    with pytest.raises(ParameterError, match="'brats'.*kaggle, lgg"):
        compare_stages(predictions, "roc_auc", 0.02, source="brats")
    with pytest.raises(ParameterError, match="finetune.*warm-up, head, joint"):
        compare_stages(predictions, "roc_auc", 0.02, pairs=[("head", "finetune")])
