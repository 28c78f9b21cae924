"""Trivial baselines: values by hand, and each shows what it is supposed to expose."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mtl.errors import DataError, ProtocolError
from mtl.evaluation.brain_mri import (
    classification_table,
    fit_histogram_baseline,
    fit_mean_mask,
    histogram_features,
    histogram_predictions,
    label_baselines,
    mean_mask_predictions,
    segmentation_table,
)
from mtl.evaluation.segmentation import dice

HASH = "feed" * 16


@pytest.fixture(scope="module")
def folds(cases: pd.DataFrame) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    number = cases["group"].str[1:].astype(int) % 3
    return [(cases[number != fold], cases[number == fold]) for fold in range(3)]


def test_label_baselines_by_hand(folds: list, cases: pd.DataFrame) -> None:
    found = label_baselines(folds, HASH)
    assert found.groupby("stage").size().to_dict() == dict.fromkeys(
        ("all_positive", "majority", "source_only"), 84
    )
    overall = np.mean([train["cls"].mean() for train, _ in folds])
    majority = found.loc[found["stage"] == "majority", "tumor_prob"]
    assert majority.nunique() == 1 and majority.iloc[0] == pytest.approx(overall)
    assert set(found.loc[found["stage"] == "all_positive", "tumor_prob"]) == {1.0}
    by_source = found[found["stage"] == "source_only"].groupby("source")["tumor_prob"].unique()
    kaggle = np.mean([train.loc[train["source"] == "kaggle", "cls"].mean() for train, _ in folds])
    assert by_source["kaggle"] == pytest.approx([kaggle]) and by_source["lgg"] == pytest.approx([0.75])


def test_source_only_auc_shows_the_shortcut_and_vanishes_within_sources(
    folds: list, cases: pd.DataFrame
) -> None:
    found = classification_table(label_baselines(folds, HASH), n_resamples=50).set_index(
        ["stage", "source", "metric"]
    )
    value = found["value"]
    expected = roc_auc_score(cases["cls"], cases["source"] == "lgg")
    assert value["source_only", "pooled", "roc_auc"] == pytest.approx(expected) and expected > 0.5
    assert value["source_only", "pooled", "roc_auc_within_source"] == 0.5
    assert value["source_only", "kaggle", "roc_auc"] == 0.5  # fold-wise prevalences would fall below 0.5
    assert value["majority", "pooled", "roc_auc"] == value["all_positive", "lgg", "roc_auc"] == 0.5
    assert value["all_positive", "pooled", "specificity"] == 0
    assert value["majority", "pooled", "accuracy"] == pytest.approx(cases["cls"].mean())


def test_source_never_trained_on_gets_the_overall_prevalence(cases: pd.DataFrame) -> None:
    train, test = (cases[cases["source"] == name] for name in ("kaggle", "lgg"))
    found = label_baselines([(train, test)], HASH)
    only = found.loc[found["stage"] == "source_only", "tumor_prob"]
    assert only.to_numpy() == pytest.approx(np.full(len(test), train["cls"].mean()))


def test_histogram_by_hand() -> None:
    image = np.array([[-9.0, -5.0, -0.1], [0.1, 4.9, 9.0]])
    found = histogram_features(np.stack([image, image]), n_bins=2)
    assert found == pytest.approx(np.full((2, 2), 0.5))
    many = np.random.default_rng(0).normal(size=(3, 1, 16, 16))
    assert histogram_features(many).shape == (3, 32)
    assert histogram_features(many).sum(axis=1) == pytest.approx(np.ones(3))
    shuffled = np.random.default_rng(1).permuted(many.reshape(3, -1), axis=1).reshape(many.shape)
    assert histogram_features(shuffled) == pytest.approx(histogram_features(many))  # shape plays no part
    with pytest.raises(DataError, match="finite"):
        histogram_features(np.full((1, 4, 4), np.nan))
    with pytest.raises(DataError, match=r"\(4, 4\)"):
        histogram_features(np.zeros((4, 4)))


def test_histogram_baseline_finds_brightness_and_nothing_in_noise() -> None:
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 60)
    bright = histogram_features(rng.normal(0.6 * y[:, None, None], 1, (120, 12, 12)))
    noise = rng.normal(size=(120, 16))
    fit = lambda x: fit_histogram_baseline(x[:80], y[:80], x[80:])  # noqa: E731
    assert roc_auc_score(y[80:], fit(bright)) > 0.95
    # On noise the inner cross-validation shrinks towards the prevalence.
    assert np.abs(fit(noise) - 0.5).max() < 0.3
    assert (fit(bright) == fit(bright)).all()


def test_inner_folds_keep_groups_together() -> None:
    """Features that identify the group: row-wise inner folds choose no shrinkage, group-wise ones strong."""
    rng = np.random.default_rng(3)
    y_group = np.tile([0, 1], 10)
    groups = np.repeat(np.arange(20), 6)
    x = np.eye(20)[groups] + rng.normal(0, 0.01, (120, 20))
    new = rng.normal(0, 0.01, (40, 20)) + np.eye(20)[rng.integers(0, 20, 40)]
    grouped = fit_histogram_baseline(x, y_group[groups], new, groups)
    rowwise = fit_histogram_baseline(x, y_group[groups], new)
    assert np.abs(grouped - 0.5).mean() < 0.1 < 0.4 < np.abs(rowwise - 0.5).mean()


def test_histogram_baseline_needs_two_groups_of_each_class() -> None:
    with pytest.raises(ProtocolError, match="2 training groups of each class"):
        fit_histogram_baseline(np.zeros((4, 2)), [0, 1, 1, 1], np.zeros((1, 2)))
    with pytest.raises(ProtocolError, match="2 training groups"):
        fit_histogram_baseline(np.zeros((4, 2)), [0, 0, 1, 1], np.zeros((1, 2)), ["a", "a", "b", "c"])


def test_histogram_predictions_never_see_test_rows(folds: list, cases: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    features = {
        name: rng.normal(size=4) + label for name, label in zip(cases["id"], cases["cls"], strict=True)
    }
    first = histogram_predictions(folds[:1], features, HASH)
    flipped = [(folds[0][0], folds[0][1].assign(cls=1 - folds[0][1]["cls"]))]
    assert (histogram_predictions(flipped, features, HASH)["tumor_prob"] == first["tumor_prob"]).all()
    table = classification_table(histogram_predictions(folds, features, HASH), n_resamples=20)
    assert table.query("metric == 'roc_auc' and source == 'pooled'")["value"].item() > 0.8


def test_mean_mask_is_the_best_threshold_by_exhaustive_search() -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((12, 16, 16), bool)
    for mask in masks[:10]:
        top, left = rng.integers(2, 7, 2)
        mask[top : top + 6, left : left + 6] = True
    chosen = fit_mean_mask(masks)
    mean = masks[:10].mean(axis=0)
    score = lambda guess: np.mean([dice(guess, mask) for mask in masks[:10]])  # noqa: E731
    assert score(chosen) == pytest.approx(max(score(mean >= cut) for cut in np.unique(mean[mean > 0])))
    with pytest.raises(DataError, match="at least one filled mask"):
        fit_mean_mask(masks[10:])


def test_mean_mask_predictions_in_the_segmentation_table(folds: list, cases: pd.DataFrame) -> None:
    square = np.zeros((8, 8), np.uint8)
    square[2:6, 2:6] = 1
    masks = {row.id: square * row.cls for row in cases.itertuples()}
    found = mean_mask_predictions(folds, masks, HASH)
    assert set(found["source"]) == {"lgg"} and found["tumor_prob"].isna().all()
    values = (
        segmentation_table(found, n_resamples=20).query("source == 'pooled'").set_index("metric")["value"]
    )
    assert (values["dice_nonempty"], values["empty_falsely_marked"]) == (1.0, 1.0)
    assert classification_table(found).empty
