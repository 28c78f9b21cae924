"""Saved predictions of a run: written per stage, read back only if they belong to what is there now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import nn

from mtl.errors import ProtocolError
from mtl.evaluation.brain_mri.baselines import (
    histogram_features,
    histogram_predictions,
    label_baselines,
    mean_mask_predictions,
)
from mtl.evaluation.classification import choose_threshold
from mtl.files import sha256_of
from mtl.studies.brain_mri import stages
from mtl.studies.brain_mri.calibration import calibrate
from mtl.studies.brain_mri.data import in_order
from mtl.studies.brain_mri.predict import predict_cases
from mtl.studies.brain_mri.study import EVALUATION_BATCH, BrainMriStudy

BASELINES = "baselines"
_NOTEBOOK = stages.NOTEBOOK | {BASELINES: "01_data_and_sources"}


def predict(
    study: BrainMriStudy, stage: str, ids: Sequence[str], fold: int, keep_masks: bool = False
) -> pd.DataFrame:
    """Predictions of a fold's best checkpoint for ``ids``, in float32; see ``predict_cases``."""
    model = study.model(stage, fold)
    return predict_with(study, model, stage, ids, fold, stage in stages.CLASSIFIES, keep_masks)


def predict_with(
    study: BrainMriStudy,
    model: nn.Module,
    name: str,
    ids: Sequence[str],
    fold: int = 0,
    classifies: bool = True,
    keep_masks: bool = False,
) -> pd.DataFrame:
    """As ``predict``, with a given network; ``name`` stands in the column stage."""
    table = predict_cases(
        model.to(study.fabric.device).eval(),
        in_order(study.dataset, ids, EVALUATION_BATCH),
        classifies=classifies,
        min_tumor_pixels=study.parameters.min_tumor_pixels,
        device=study.fabric.device,
        keep_masks=keep_masks,
    )
    groups = study.dataset.table.set_index("id")["group"]
    return table.assign(
        group=groups.loc[table["id"]].to_numpy(), fold=fold, stage=name, test_hash=study.split.test_hash
    )


def write_test_predictions(study: BrainMriStudy, stage: str) -> pd.DataFrame:
    """Predict every fold's test part, with the threshold chosen on its validation part; save and return.

    A case of a cross-validated source has one row (out of fold), one of the fixed test part a row per fold.
    Where validation has one class only, no threshold can be chosen and 0.5 is used. The checkpoints of the
    joint stage get their ``calibration.json`` from the same validation predictions.
    """
    parts = []
    for fold in study.folds_of(stage):
        validation = predict(study, stage, study.split.folds[fold].validation, fold)
        test = predict(study, stage, study.split.folds[fold].test, fold)
        if stage == stages.JOINT:
            calibrate(study.run.stage(fold, stage) / "best", validation, study.split.hash)
        parts.append(test.assign(threshold=threshold_of(validation), made_by=study.fingerprint(stage, fold)))
    table = pd.concat(parts, ignore_index=True)
    study.run.write_predictions(stage, table)
    return table


def write_baseline_predictions(study: BrainMriStudy) -> pd.DataFrame:
    """Trivial baselines on the same test parts (majority, source only, histogram, mean mask); saved.

    The mean mask is left out where no training slice has a filled mask.
    """
    folds = [(study.rows(fold, "train"), study.rows(fold, "test")) for fold in study.folds]
    ids = sorted({name for rows in folds for part in rows for name in part["id"]})
    samples = dict(zip(ids, study.samples(ids), strict=True))
    images = np.stack([samples[name]["image"].numpy() for name in ids])
    features = dict(zip(ids, histogram_features(images), strict=True))
    masks = {
        name: sample["mask"][0].numpy() for name, sample in samples.items() if sample["mask"] is not None
    }
    hash_ = study.split.test_hash
    tables = [label_baselines(folds, hash_), histogram_predictions(folds, features, hash_)]
    if all((train["has_mask"] & (train["cls"] == 1)).any() for train, _ in folds):
        tables.append(mean_mask_predictions(folds, masks, hash_))
    table = pd.concat(tables, ignore_index=True).assign(made_by=_data_state(study))
    study.run.write_predictions(BASELINES, table)
    return table


def read_predictions(study: BrainMriStudy, names: Sequence[str]) -> pd.DataFrame:
    """Saved predictions of several stages (or ``baselines``), one below the other.

    Raises:
        MissingArtefactError: one is missing; the notebook that writes it is named.
        ProtocolError: they were made on another test set, or by another model than the run has now.
    """
    tables = []
    for name in names:
        table = study.run.read_predictions(name, _NOTEBOOK[name])
        if set(table["test_hash"]) != {study.split.test_hash}:
            raise ProtocolError(
                f"predictions of {name!r} were made on another test set: run {_NOTEBOOK[name]} again"
            )
        if set(table["made_by"]) != _expected_makers(study, name):
            raise ProtocolError(
                f"predictions of {name!r} were made with other parameters, data or code: "
                f"run {_NOTEBOOK[name]} again"
            )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _expected_makers(study: BrainMriStudy, name: str) -> set[str]:
    if name == BASELINES:
        return {_data_state(study)}
    return {study.fingerprint(name, fold) for fold in study.folds_of(name)}


def _data_state(study: BrainMriStudy) -> str:
    return sha256_of(study.data_fingerprint, study.split.hash)


def threshold_of(validation: pd.DataFrame) -> float:
    """The operating point that validation predictions choose; 0.5 where they have one class only."""
    if validation["cls"].nunique() < 2:
        return 0.5
    return choose_threshold(validation["cls"], validation["tumor_prob"])
