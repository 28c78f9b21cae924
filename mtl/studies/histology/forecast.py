"""What a run will cost, before it starts: a few real steps of every arm, a validation pass, a decoding."""

from __future__ import annotations

from typing import Any

from mtl.evaluation.histology import image_scores
from mtl.inference.histology import Decoding, decode, predict_maps
from mtl.studies.histology.loss_sets import Training, arm_name
from mtl.studies.histology.scoring import TEST, candidates, methods_of, tuning_tiles
from mtl.studies.histology.study import HistologyStudy
from mtl.targets.histology import HV_MAPS
from mtl.training.forecast import (
    StageCost,
    forecast_record,
    probing_seconds,
    seconds_of,
    seconds_per_step,
    steps_of,
)

NOT_COUNTED = "the baseline, the annotation loop, intervals, figures"


def forecast(study: HistologyStudy, n_steps: int = 4) -> dict[str, Any]:
    """Minutes per arm, by steps and predictions that are really made; nothing is kept of them.

    Returns:
        See ``mtl.training.forecast.forecast_record``; its stages are the arms, over all folds and seeds.
    """
    costs = [_arm_cost(study, study.trainings(*arm), n_steps) for arm in study.arms]
    return forecast_record(costs, study.fabric.device, NOT_COUNTED)


def _arm_cost(study: HistologyStudy, trainings: list[Training], n_steps: int) -> StageCost:
    first, p, device = trainings[0], study.parameters, study.fabric.device
    settings, loader = study.settings(first), study.loader(first)
    model = study.untrained_model(first).to(device)
    training = (study.fabric, model, study.objective(first.losses), settings, loader)
    seconds = seconds_per_step(*training, n_steps)
    validation = seconds_of(lambda: study.validate(model.eval(), first), device)
    beside = {
        "validation": len(trainings) * p.epochs * validation,
        "prediction and tuning": sum(_scoring_seconds(study, one) for one in _one_per_fold(trainings))
        * p.seeds,
    }
    if study.first in trainings:
        beside["gradient diagnostics"] = probing_seconds(*training, p.probe_batches, p.probe_every)
    steps = steps_of(settings, loader) * len(trainings)
    return StageCost(arm_name(first.losses, first.fraction), steps, seconds, beside, len(study.folds))


def _one_per_fold(trainings: list[Training]) -> list[Training]:
    return [training for training in trainings if training.seed == 0]


def _scoring_seconds(study: HistologyStudy, training: Training) -> float:
    """``score_network`` of one network, from one tile that is predicted and decoded with its true maps."""
    p, device = study.parameters, study.fabric.device
    tile = study.part(training.fold, TEST)[0]
    model = study.untrained_model(training).to(device)
    methods = methods_of(study, training.losses)
    truth = (tile.instances > 0) * 0.9
    maps = HV_MAPS[p.hv](tile.instances)
    predicting = seconds_of(lambda: predict_maps(model, [tile.image], device=device), device)

    def decode_and_score() -> None:
        for method in methods:
            image_scores(decode(truth, maps, Decoding(method)), tile.instances)

    decoding = seconds_of(decode_and_score, device) / len(methods)
    points = sum(len(candidates(method, p)) for method in methods)
    tuned, scored = len(tuning_tiles(study, training.fold)), len(study.part(training.fold, TEST))
    scored += len(study.outside_tiles)
    return (tuned + scored) * predicting + (tuned * points + scored * len(methods)) * decoding
