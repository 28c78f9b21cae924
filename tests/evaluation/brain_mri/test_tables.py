"""Result tables against direct computation with scikit-learn and pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mtl.errors import DataError, ProtocolError
from mtl.evaluation.brain_mri import (
    average_over_folds,
    classification_table,
    readable_rows,
    segmentation_table,
    table_alarms,
)
from mtl.evaluation.statistics import Estimate


@pytest.fixture(scope="module")
def table(predictions: pd.DataFrame) -> pd.DataFrame:
    return classification_table(predictions, n_resamples=200)


def cell(table: pd.DataFrame, **keys: str) -> pd.Series:
    rows = table[np.logical_and.reduce([table[name] == value for name, value in keys.items()])]
    assert len(rows) == 1
    return rows.iloc[0]


def test_every_case_counts_once_per_stage(predictions: pd.DataFrame, cases: pd.DataFrame) -> None:
    averaged = average_over_folds(predictions)
    assert len(averaged) == 3 * len(cases) and not averaged.duplicated(["stage", "id"]).any()
    assert averaged.groupby("source")["folds"].unique().map(list).to_dict() == {"kaggle": [1], "lgg": [3]}
    assert (averaged.loc[averaged["source"] == "lgg", "fold"] == -1).all()
    assert set(averaged.loc[averaged["source"] == "kaggle", "fold"]) == {0, 1, 2}
    some = averaged[(averaged["stage"] == "joint") & (averaged["source"] == "lgg")].iloc[5]
    raw = predictions[(predictions["stage"] == "joint") & (predictions["id"] == some["id"])]
    assert some["tumor_prob"] == pytest.approx(raw["tumor_prob"].mean())
    assert some["dice"] == pytest.approx(raw["dice"].mean())


def test_averaging_twice_changes_nothing(predictions: pd.DataFrame) -> None:
    once = average_over_folds(predictions)
    columns = ["stage", "id", "tumor_prob", "dice", "hd95"]
    pd.testing.assert_frame_equal(average_over_folds(once)[columns], once[columns])


def test_a_figure_undefined_in_one_fold_stays_undefined(predictions: pd.DataFrame) -> None:
    first = predictions[predictions["hd95"].notna()].index[0]
    changed = predictions.copy()
    changed.loc[first, "hd95"] = np.nan
    before, after = (average_over_folds(t)["hd95"].isna().sum() for t in (predictions, changed))
    assert after == before + 1


def test_case_twice_in_a_fold_or_with_two_labels_is_refused(predictions: pd.DataFrame) -> None:
    with pytest.raises(ProtocolError, match=r"1 case\(s\) occur twice"):
        average_over_folds(pd.concat([predictions, predictions.iloc[[0]]]))
    changed = predictions.copy()
    row = changed[changed["source"] == "lgg"].index[0]
    changed.loc[row, "cls"] = 1 - changed.loc[row, "cls"]
    with pytest.raises(ProtocolError, match=f"cls of {changed.loc[row, 'id']} differs"):
        average_over_folds(changed)


def test_missing_column_and_missing_group_are_named(predictions: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="lacks the column.*dice, test_hash"):
        classification_table(predictions.drop(columns=["dice", "test_hash"]))
    with pytest.raises(DataError, match="group is missing in 1 of"):
        classification_table(
            predictions.assign(group=predictions["group"].where(predictions["id"] != "kaggle/0"))
        )


def test_blocks_and_metrics(table: pd.DataFrame) -> None:
    assert table.groupby("stage", sort=False)["source"].unique().map(list).to_dict() == {
        stage: ["kaggle", "lgg", "pooled"] for stage in ("warm-up", "head", "joint")
    }
    per_block = table.groupby("source")["metric"].unique().map(set)
    assert per_block["pooled"] - per_block["kaggle"] == {"roc_auc_within_source"}
    assert "roc_auc_mean_of_folds" in per_block["kaggle"]
    assert table["value"].notna().all() and table["low"].notna().all()


def test_out_of_fold_and_mean_of_fold_auc(table: pd.DataFrame, predictions: pd.DataFrame) -> None:
    rows = predictions[(predictions["stage"] == "head") & (predictions["source"] == "kaggle")]
    pooled = cell(table, stage="head", source="kaggle", metric="roc_auc")
    assert pooled["value"] == pytest.approx(roc_auc_score(rows["cls"], rows["tumor_prob"]))
    means = [roc_auc_score(part["cls"], part["tumor_prob"]) for _, part in rows.groupby("fold")]
    averaged = cell(table, stage="head", source="kaggle", metric="roc_auc_mean_of_folds")
    assert averaged["value"] == pytest.approx(np.mean(means))
    assert (pooled["n"], pooled["cases"], pooled["unit"]) == (30, 36, "group")


def test_patients_of_two_sources_with_one_name_are_two_units(table: pd.DataFrame) -> None:
    assert cell(table, stage="joint", source="pooled", metric="roc_auc")["n"] == 42


def test_lgg_values_come_from_fold_averages(table: pd.DataFrame, predictions: pd.DataFrame) -> None:
    rows = predictions[(predictions["stage"] == "joint") & (predictions["source"] == "lgg")]
    means = rows.groupby("id")[["cls", "tumor_prob"]].mean()
    found = cell(table, stage="joint", source="lgg", metric="accuracy")
    assert found["value"] == pytest.approx(((means["tumor_prob"] >= 0.5) == means["cls"]).mean())
    assert (found["n"], found["cases"]) == (12, 48)


def test_threshold_column_wins_and_its_gaps_take_the_argument(predictions: pd.DataFrame) -> None:
    rows = predictions[predictions["stage"] == "head"]
    column = rows.assign(threshold=np.where(rows["source"] == "kaggle", 0.3, np.nan))
    found = classification_table(column, threshold=0.6, n_resamples=10)
    for source, cut in (("kaggle", 0.3), ("lgg", 0.6)):
        expected = classification_table(rows[rows["source"] == source], threshold=cut, n_resamples=10)
        for metric in ("recall", "specificity"):
            values = [cell(t, source=source, metric=metric)["value"] for t in (found, expected)]
            assert values[0] == values[1]


def test_different_test_sets_are_refused(predictions: pd.DataFrame) -> None:
    changed = predictions.assign(test_hash=np.where(predictions["stage"] == "head", "beef", "feed"))
    for function in (classification_table, segmentation_table):
        with pytest.raises(ProtocolError, match="head: beef"):
            function(changed)
    mixed = predictions.assign(test_hash=np.where(predictions["source"] == "lgg", "beef", "feed"))
    with pytest.raises(ProtocolError, match=r"joint \(part 2\)"):
        classification_table(mixed)


def test_segmentation_table_against_pandas(predictions: pd.DataFrame) -> None:
    found = segmentation_table(predictions, n_resamples=100)
    assert set(found["source"]) == {"lgg", "pooled"}  # kaggle has no masks
    rows = predictions[(predictions["stage"] == "joint") & predictions["has_mask"]]
    means = rows.groupby("id")[["dice", "mask_pixels"]].mean()
    filled = means["mask_pixels"] > 0
    value = lambda metric: cell(found, stage="joint", source="lgg", metric=metric)["value"]  # noqa: E731
    assert value("dice_nonempty") == pytest.approx(means.loc[filled, "dice"].mean())
    wrong = rows[rows["mask_pixels"] == 0].groupby("id")["dice"].apply(lambda d: (d == 0).mean())
    assert value("empty_falsely_marked") == pytest.approx(wrong.mean())


def test_stages_without_masks_or_without_probabilities_are_left_out(predictions: pd.DataFrame) -> None:
    head, warm = predictions["stage"] == "head", predictions["stage"] == "warm-up"
    changed = predictions.assign(
        dice=predictions["dice"].mask(head), tumor_prob=predictions["tumor_prob"].mask(warm)
    )
    assert set(segmentation_table(changed, n_resamples=10)["stage"]) == {"warm-up", "joint"}
    assert set(classification_table(changed, n_resamples=10)["stage"]) == {"head", "joint"}


def test_a_stage_that_scored_only_some_cases_is_refused(predictions: pd.DataFrame) -> None:
    one = predictions["id"] == "lgg/40"
    with pytest.raises(DataError, match="dice is undefined for 1 of 48"):
        segmentation_table(predictions.assign(dice=predictions["dice"].mask(one)), n_resamples=10)
    with pytest.raises(DataError, match="1 of 48 probabilities are undefined"):
        classification_table(
            predictions.assign(tumor_prob=predictions["tumor_prob"].mask(one)), n_resamples=10
        )


def test_alarms_of_a_table(predictions: pd.DataFrame) -> None:
    blind = predictions.assign(tumor_prob=0.9)
    blind = blind[blind["stage"] == "joint"]
    found = table_alarms(classification_table(blind, n_resamples=10), blind)
    codes = found.groupby("source")["code"].agg(set)
    for source in ("kaggle", "lgg", "pooled"):
        assert {"all_positive", "precision_equals_accuracy", "constant_prediction"} <= codes[source]
    assert "few_units" in codes["lgg"]  # 12 patients
    listed = found.query("source == 'pooled' and code == 'few_units'")["message"].str.cat()
    assert "recall (" not in listed and "specificity (" in listed  # 30 and 24 groups have such cases
    assert "the same score" in found["message"].str.cat()


def test_deterministic_in_seed(predictions: pd.DataFrame) -> None:
    part = predictions[predictions["stage"] == "joint"]
    first, again = (classification_table(part, n_resamples=50, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert (classification_table(part, n_resamples=50, seed=4)["low"] != first["low"]).any()


def test_readable_rows_have_a_column_per_metric_and_none_where_there_is_none() -> None:
    auc = Estimate(0.9, 0.8, 0.95, n=10, unit="group")
    found = {"joint": {"lgg": {"roc_auc": auc}, "pooled": {"roc_auc": auc, "mcc": auc}}}
    rows = readable_rows(found, {"roc_auc": "ROC-AUC", "mcc": "MCC"})
    assert rows == [
        {"stage": "joint", "source": "lgg", "ROC-AUC": auc, "MCC": None},
        {"stage": "joint", "source": "pooled", "ROC-AUC": auc, "MCC": auc},
    ]
