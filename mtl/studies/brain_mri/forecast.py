"""What a run will cost, before it starts: a few real steps of every stage, timed, and their memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import islice
from statistics import median
from typing import Any

import torch
from torch import nn

from mtl.studies.brain_mri.data import in_order
from mtl.studies.brain_mri.predict import validation_scores
from mtl.studies.brain_mri.stages import CLASSIFIES
from mtl.studies.brain_mri.study import EVALUATION_BATCH, BrainMriStudy
from mtl.training.objective import Batch
from mtl.training.reduction import single_process
from mtl.training.stages import Stage, make_optimiser, prepare_parts


def forecast(study: BrainMriStudy, n_steps: int = 4) -> dict[str, Any]:
    """Minutes per stage, by steps and validation passes that are really made; nothing is kept of them.

    Gradient diagnostics and the test predictions at the end are not counted.

    Args:
        study: of one process, its data readable.
        n_steps: timed steps per stage, after one that is not; their median counts.

    Returns:
        ``stages``: a list of ``stage, folds, steps, seconds_per_step, minutes``; ``minutes``; ``memory_gib``,
        the largest resident memory of this process; ``gpu_memory_gib``, or null without a GPU; ``device``.
    """
    rows = [_stage_row(study, stage, n_steps) for stage in study.training_order()]
    device = study.fabric.device
    on_gpu = device.type == "cuda"
    return {
        "stages": rows,
        "minutes": sum(row["minutes"] for row in rows),
        "memory_gib": _peak_memory_gib(),
        "gpu_memory_gib": torch.cuda.max_memory_allocated(device) / 2**30 if on_gpu else None,
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
    }


def _stage_row(study: BrainMriStudy, stage: str, n_steps: int) -> dict[str, Any]:
    settings, folds = study.settings(stage, 0), study.folds_of(stage)
    model = study.untrained_model(stage).to(study.fabric.device)
    step = _step_function(study, model, settings)
    moments = [time.perf_counter()]
    for batch in islice(study.loader(stage, 0).batches(1), n_steps + 1):
        step(batch)
        _synchronise(study.fabric.device)
        moments.append(time.perf_counter())
    durations = [after - before for before, after in zip(moments, moments[1:], strict=False)]
    seconds = median(durations[1:] or durations)
    steps = sum(study.loader(stage, fold).steps_per_epoch() for fold in folds) * settings.epochs
    validation = len(folds) * settings.epochs * _validation_seconds(study, stage, model)
    return {
        "stage": stage,
        "folds": len(folds),
        "steps": steps,
        "seconds_per_step": seconds,
        "minutes": (steps * seconds + validation) / 60,
    }


def _step_function(study: BrainMriStudy, model: nn.Module, settings: Stage) -> Callable[[Batch], None]:
    fabric, objective = study.fabric, study.objective(settings.tasks)
    prepare_parts(model, settings)
    model.train()
    balancer = settings.make_balancer().to(fabric.device)
    optimiser = make_optimiser(model, balancer, settings)
    shared = [parameter for parameter in model.shared_parameters().values() if parameter.requires_grad]
    known = {id(parameter) for parameter in shared}
    specific = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    parts = {"shared": shared, "specific": specific}

    def step(batch: Batch) -> None:
        batch = fabric.to_device(batch)
        balancer.begin_step(0.0)
        with fabric.autocast():
            losses = objective(model, batch)
        shares = dict.fromkeys(losses, 1.0)
        balancer.backward(losses, shares, run_backward=lambda loss: loss.backward(), **parts)
        balancer.finish(single_process, **parts)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _validation_seconds(study: BrainMriStudy, stage: str, model: nn.Module) -> float:
    """One validation pass, from one batch of it."""
    ids = study.split.folds[0].validation
    some = list(ids)[:EVALUATION_BATCH]
    if not some:
        return 0.0
    model.eval()
    start = time.perf_counter()
    validation_scores(
        model,
        in_order(study.dataset, some, EVALUATION_BATCH),
        classifies=stage in CLASSIFIES,
        device=study.fabric.device,
        autocast=study.fabric.autocast,
    )
    return (time.perf_counter() - start) * len(ids) / len(some)


def _peak_memory_gib() -> float:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
