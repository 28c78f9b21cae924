"""What a training will cost, before it starts: a few of its real steps, timed, and the memory they take.

A study adds what only it knows: which stages there are, what a validation pass takes, what comes after.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mtl.training.diagnostics import GradientProbe
from mtl.training.objective import Batch, Objective
from mtl.training.reduction import single_process
from mtl.training.sampling import EpochLoader
from mtl.training.stages import Stage, make_optimiser, prepare_parts

if TYPE_CHECKING:  # two seconds of imports, needed where something is trained
    from lightning_fabric import Fabric

#: The fewest batches that a gradient probe takes.
PROBED = 2


@dataclass(frozen=True)
class StageCost:
    """What one stage of training takes.

    Args:
        stage: its name; in a study of variants, the variant's.
        steps: optimiser steps, of all folds.
        seconds_per_step: loading included.
        beside: seconds of whatever else belongs to the stage, by name.
        folds: in so many it is trained.
    """

    stage: str
    steps: int
    seconds_per_step: float
    beside: Mapping[str, float] = field(default_factory=dict)
    folds: int = 1

    def to_dict(self) -> dict[str, Any]:
        """``stage, folds, steps, seconds_per_step, minutes`` and ``minutes_of``: what these consist of."""
        parts = {"training": self.steps * self.seconds_per_step, **self.beside}
        return {
            "stage": self.stage,
            "folds": self.folds,
            "steps": self.steps,
            "seconds_per_step": self.seconds_per_step,
            "minutes_of": {name: seconds / 60 for name, seconds in parts.items()},
            "minutes": sum(parts.values()) / 60,
        }


def forecast_record(costs: Sequence[StageCost], device: torch.device, not_counted: str) -> dict[str, Any]:
    """A study's forecast as plain data.

    Returns:
        ``stages``: a row per cost; ``minutes``, of all of them; ``memory_gib``: the largest resident memory
        of this process so far; ``gpu_memory_gib``, or null without a GPU; ``device``; ``not_counted``: what
        else a run does, in words.
    """
    rows = [cost.to_dict() for cost in costs]
    on_gpu = device.type == "cuda"
    return {
        "stages": rows,
        "minutes": sum(row["minutes"] for row in rows),
        "memory_gib": _peak_memory_gib(),
        "gpu_memory_gib": torch.cuda.max_memory_allocated(device) / 2**30 if on_gpu else None,
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "not_counted": not_counted,
    }


def steps_of(stage: Stage, loader: EpochLoader) -> int:
    """Optimiser steps of a stage in one process."""
    return -(-loader.steps_per_epoch() // stage.accumulate) * stage.epochs


def seconds_per_step(
    fabric: Fabric,
    model: nn.Module,
    objective: Objective,
    stage: Stage,
    loader: EpochLoader,
    n_steps: int = 4,
) -> float:
    """Median of ``n_steps`` real steps, loading included, after one that is not timed; ``model`` learns."""
    step = _step_function(fabric, model, objective, stage)
    moments = [time.perf_counter()]
    for window in islice(_windows(loader, stage.accumulate), n_steps + 1):
        step(window)
        _synchronise(fabric.device)
        moments.append(time.perf_counter())
    durations = [after - before for before, after in zip(moments, moments[1:], strict=False)]
    return median(durations[1:] or durations)


def probing_seconds(
    fabric: Fabric,
    model: nn.Module,
    objective: Objective,
    stage: Stage,
    loader: EpochLoader,
    n_batches: int,
    every: int,
) -> float:
    """All gradient diagnostics of a stage, from one measurement on the fewest batches.

    Args:
        model: as ``seconds_per_step`` left it.
        n_batches: of a measurement in training; every: steps between two of them, 0: only both ends.
    """
    batches = [fabric.to_device(batch) for batch in islice(loader.batches(1), PROBED)]
    if len(batches) < PROBED:
        return 0.0
    probe = GradientProbe(objective, batches, stage.task_weights)
    seconds = seconds_of(lambda: probe.measure(model, 0), fabric.device)
    return probes_of(steps_of(stage, loader), every) * seconds * n_batches / PROBED


def probes_of(steps: int, every: int) -> int:
    """How often ``StageTrainer`` measures gradients: at both ends, and every so many steps (0: never)."""
    return len({0, steps, *(range(every, steps, every) if every else ())})


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """Wall-clock time of a call, the device's work included."""
    _synchronise(device)
    start = time.perf_counter()
    call()
    _synchronise(device)
    return time.perf_counter() - start


def _windows(loader: EpochLoader, length: int) -> Iterator[list[Batch]]:
    """The batches of each optimiser step of an epoch."""
    batches = loader.batches(1)
    while window := list(islice(batches, length)):
        yield window


def _step_function(
    fabric: Fabric, model: nn.Module, objective: Objective, stage: Stage
) -> Callable[[list[Batch]], None]:
    """What ``StageTrainer`` does with the batches of a step, without its records and its schedule."""
    prepare_parts(model, stage)
    model.train()
    balancer = stage.make_balancer().to(fabric.device)
    optimiser = make_optimiser(model, balancer, stage)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    known = {id(parameter) for parameter in model.shared_parameters().values()}
    parts = {
        "shared": [p for p in trained if id(p) in known],
        "specific": [p for p in trained if id(p) not in known],
    }

    def step(window: list[Batch]) -> None:
        balancer.begin_step(0.0)
        present = [task for task in stage.tasks if any(batch["valid_units"].get(task) for batch in window)]
        for batch in window:
            batch = fabric.to_device(batch)
            with fabric.autocast():
                losses = objective(model, batch)
            shares = dict.fromkeys(present, 1 / len(window))
            balancer.backward(losses, shares, run_backward=lambda loss: loss.backward(), **parts)
        balancer.finish(single_process, **parts)
        if stage.clip:
            nn.utils.clip_grad_norm_(trained, stage.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _peak_memory_gib() -> float:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
