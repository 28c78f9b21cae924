"""Temperature and threshold of a checkpoint: from validation, beside the weights, found by the predictor."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from mtl.inference.brain_mri import Calibration
from mtl.studies.brain_mri import predictions
from mtl.studies.brain_mri.calibration import calibrate


@pytest.fixture
def validation() -> pd.DataFrame:
    """Predictions three times as sure as they should be."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, 800)
    labels = (rng.random(800) < expit(logits)).astype(int)
    return pd.DataFrame({"cls": labels, "tumor_prob": expit(3 * logits)})


def test_the_temperature_is_that_of_a_logistic_regression(tmp_path, validation):
    found = calibrate(tmp_path, validation, "hash")
    gaps = logit(validation["tumor_prob"].clip(1e-7, 1 - 1e-7)).to_numpy()[:, None]
    peer = LogisticRegression(C=np.inf, fit_intercept=False).fit(gaps, validation["cls"])
    assert found.temperature == pytest.approx(1 / peer.coef_[0, 0], rel=1e-3)
    assert 2 < found.temperature < 4
    assert (found.n, found.split_hash) == (800, "hash") and Calibration.of(tmp_path) == found


def test_the_threshold_is_the_best_on_calibrated_probabilities(tmp_path, validation):
    found = calibrate(tmp_path, validation, "hash")
    p = expit(logit(validation["tumor_prob"].clip(1e-7, 1 - 1e-7)) / found.temperature)
    best = max(balanced_accuracy_score(validation["cls"], p >= t) for t in np.linspace(0, 1, 201))
    reached = balanced_accuracy_score(validation["cls"], p >= found.classification_threshold)
    assert best - 1e-12 <= reached < best + 0.01


def test_classes_that_are_told_apart_without_an_error_stay_at_temperature_one(tmp_path):
    table = pd.DataFrame({"cls": [0, 0, 1, 1], "tumor_prob": [0.0, 0.2, 0.7, 1.0]})
    found = calibrate(tmp_path, table, "hash")
    assert found.temperature == 1.0 and 0.2 < found.classification_threshold < 0.7


def test_one_class_leaves_no_file_not_even_an_old_one(tmp_path, validation):
    calibrate(tmp_path, validation, "hash")
    assert calibrate(tmp_path, validation[validation["cls"] == 1], "hash") is None
    assert list(tmp_path.iterdir()) == [] and Calibration.of(tmp_path) == Calibration()


@pytest.mark.parametrize("stage", ["head", "joint"])
def test_the_joint_stage_is_calibrated_on_its_validation_part_alone(monkeypatch, tmp_path, validation, stage):
    """Test predictions are all wrong here: had they been looked at, the temperature would not be found."""
    wrong = validation.assign(cls=1 - validation["cls"])
    tables = {"v": validation, "t": wrong}
    monkeypatch.setattr(predictions, "predict", lambda study, stage, ids, fold: tables[ids])
    fold = SimpleNamespace(validation="v", test="t")
    study = SimpleNamespace(
        split=SimpleNamespace(folds=[fold], hash="the split", test_hash=""),
        run=SimpleNamespace(stage=lambda *_: tmp_path, write_predictions=lambda *_: None),
        folds_of=lambda _: [0],
        fingerprint=lambda *_: "",
    )
    (tmp_path / "best").mkdir()
    predictions.write_test_predictions(study, stage)
    found = Calibration.of(tmp_path / "best")
    expected = calibrate(tmp_path, validation, "the split")
    assert found == (expected if stage == "joint" else Calibration())
