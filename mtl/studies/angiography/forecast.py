"""What a run will cost, before it starts: a few real steps of every variant, and a validation pass."""

from __future__ import annotations

from typing import Any

from mtl.studies.angiography.study import AngiographyStudy
from mtl.training.forecast import (
    StageCost,
    forecast_record,
    probing_seconds,
    seconds_of,
    seconds_per_step,
    steps_of,
)

NOT_COUNTED = "making or reading the clips, generation and scoring, intervals, figures"


def forecast(study: AngiographyStudy, n_steps: int = 4) -> dict[str, Any]:
    """Minutes per variant, by steps that are really made; nothing is kept of them.

    Returns:
        See ``mtl.training.forecast.forecast_record``; its stages are the variants, over all seeds.
    """
    costs = [_cost(study, variant, n_steps) for variant in study.training_order()]
    return forecast_record(costs, study.fabric.device, NOT_COUNTED)


def _cost(study: AngiographyStudy, variant: str, n_steps: int) -> StageCost:
    trainings = study.trainings(variant)
    first, p, device = trainings[0], study.variant_parameters(variant), study.fabric.device
    settings, loader = study.settings(first), study.loader(first)
    model = study.untrained_model(first).to(device)
    training = (study.fabric, model, study.objective(variant), settings, loader)
    seconds = seconds_per_step(*training, n_steps)
    validation = seconds_of(lambda: study.validate(model.eval(), first), device)
    beside = {"validation": len(trainings) * p.epochs * validation}
    if first == study.first:
        beside["gradient diagnostics"] = probing_seconds(*training, p.probe_batches, p.probe_every)
    return StageCost(variant, steps_of(settings, loader) * len(trainings), seconds, beside)
