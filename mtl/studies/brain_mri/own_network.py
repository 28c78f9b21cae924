"""The joint stage with a network of one's own: everything but the network is the study's."""

from __future__ import annotations

from functools import partial

import pandas as pd
import torch
from torch import nn

from mtl.model_folder import class_name
from mtl.models.brain_mri import MultiTaskModel
from mtl.studies.brain_mri.calibration import calibrate
from mtl.studies.brain_mri.model_card import model_card
from mtl.studies.brain_mri.predictions import predict_with, threshold_of
from mtl.studies.brain_mri.stages import JOINT
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.studies.own_code import network_code_fingerprint, own_code_fingerprint
from mtl.training.loop import StageTrainer
from mtl.training.stage_result import StageResult


def new_network(study: BrainMriStudy, model_class: type[MultiTaskModel] = MultiTaskModel) -> MultiTaskModel:
    """A network with random weights of the study's seed and size; the same call gives the same weights.

    In the plain memory layout whatever ``channels_last`` says: gradients of strided 1x1 convolutions of few
    channels crash torch 2.13 on a CPU in that layout, and a backbone of one's own may have such.
    """
    torch.manual_seed(study.parameters.seed)
    return model_class(**study.network_arguments)


def train_network(study: BrainMriStudy, name: str, model: nn.Module) -> StageResult:
    """Train ``model`` as the study trains its joint stage: same objective, split, batches, steps, selection.

    All parts train, from the weights that the model has; what was finished from the same start is taken from
    its folder, ``<run>/checkpoints/fold_0/<name>``. The model ends with the weights of its best epoch.

    Args:
        model: with the parts of ``MultiTaskModel``; a class of its own must be importable from a module.

    Raises:
        TrainingError: see ``StageTrainer.fit``.
    """
    stage = study.settings(JOINT, 0)
    start = (class_name(type(model)), network_code_fingerprint(model), weights_hash(model))
    return StageTrainer(
        study.fabric, model, study.objective(stage.tasks), stage, study.loader(JOINT, 0),
        partial(study.validate, stage=JOINT, fold=0), study.run.stage(0, name),
        context=(*study.inputs(JOINT, 0), *start),
        card=model_card(name, 0, study.parameters, study.dataset.table, study.split),
        label=name,
        log_dir=study.run.tensorboard(0, name),
    ).fit()  # fmt: skip


def predict_network(study: BrainMriStudy, name: str, model: nn.Module) -> pd.DataFrame:
    """Predictions on the frozen test part, with the threshold chosen on validation; saved under ``name``.

    Temperature and threshold for the predictor are put beside the checkpoint.
    """
    parts = study.split.folds[0]
    validation = predict_with(study, model, name, parts.validation)
    calibrate(study.run.stage(0, name) / "best", validation, study.split.hash)
    table = predict_with(study, model, name, parts.test).assign(threshold=threshold_of(validation))
    study.run.write_predictions(name, table)
    return table


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names and values of all tensors."""
    return own_code_fingerprint(dict(model.state_dict()))
