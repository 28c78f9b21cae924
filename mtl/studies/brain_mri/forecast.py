"""What a run will cost, before it starts: a few real steps of every stage, timed, and their memory."""

from __future__ import annotations

from typing import Any

from torch import nn

from mtl.studies.brain_mri.data import in_order
from mtl.studies.brain_mri.predict import validation_scores
from mtl.studies.brain_mri.stages import CLASSIFIES, JOINT
from mtl.studies.brain_mri.study import EVALUATION_BATCH, BrainMriStudy
from mtl.training.forecast import (
    StageCost,
    forecast_record,
    probing_seconds,
    seconds_of,
    seconds_per_step,
    steps_of,
)

NOT_COUNTED = "test predictions, intervals, explanations, figures"


def forecast(study: BrainMriStudy, n_steps: int = 4) -> dict[str, Any]:
    """Minutes per stage, by steps and validation passes that are really made; nothing is kept of them.

    Args:
        study: of one process, its data readable.
        n_steps: timed steps per stage, after one that is not; their median counts.

    Returns:
        See ``mtl.training.forecast.forecast_record``.
    """
    costs = [_stage_cost(study, stage, n_steps) for stage in study.training_order()]
    return forecast_record(costs, study.fabric.device, NOT_COUNTED)


def _stage_cost(study: BrainMriStudy, stage: str, n_steps: int) -> StageCost:
    settings, folds, p = study.settings(stage, 0), study.folds_of(stage), study.parameters
    model = study.untrained_model(stage).to(study.fabric.device)
    training = (study.fabric, model, study.objective(settings.tasks), settings, study.loader(stage, 0))
    seconds = seconds_per_step(*training, n_steps)
    beside = {"validation": len(folds) * settings.epochs * _validation_seconds(study, stage, model)}
    if stage == JOINT:
        beside["gradient diagnostics"] = len(folds) * probing_seconds(
            *training, p.probe_batches, p.probe_every
        )
    steps = sum(steps_of(settings, study.loader(stage, fold)) for fold in folds)
    return StageCost(stage, steps, seconds, beside, len(folds))


def _validation_seconds(study: BrainMriStudy, stage: str, model: nn.Module) -> float:
    """One validation pass, from one batch of it."""
    ids = study.split.folds[0].validation
    some = list(ids)[:EVALUATION_BATCH]
    if not some:
        return 0.0
    model.eval()
    batches = in_order(study.dataset, some, EVALUATION_BATCH)
    fabric, classifies = study.fabric, stage in CLASSIFIES
    seconds = seconds_of(
        lambda: validation_scores(
            model, batches, classifies=classifies, device=fabric.device, autocast=fabric.autocast
        ),
        fabric.device,
    )
    return seconds * len(ids) / len(some)
