"""A stage says what trains, how fast, for how long, with which balancer; a run is a list of stages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from mtl.errors import TrainingError
from mtl.files import sha256_of
from mtl.training.balancers import Balancer, make_balancer

__all__ = ["Stage", "make_optimiser", "make_schedule", "prepare_parts"]


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Args:
        name: of the stage, e.g. ``joint``; checkpoints and logs carry it.
        learning_rates: part to initial learning rate; parts that are not named are frozen.
        epochs: passes over the stage's loader.
        tasks: the tasks whose losses the balancer combines.
        task_weights: the balancer's alpha per task (1 where not given).
        balancer, balancer_options: see :func:`mtl.training.balancers.make_balancer`.
        selection: validation score that picks the best checkpoint (larger is better).
        weight_decay: of AdamW.
        min_learning_rate: where the cosine ends.
        warm_up: share of the steps, in [0, 1), over which rates rise in a straight line before the cosine.
        clip: largest gradient norm; 0 leaves gradients as they are.
        accumulate: batches per optimiser step.
        frozen_normalisation: normalisation layers keep their statistics, in trained parts too.
        average: decay of the running average of the weights, which is scored and kept; 0: no average.
        seed: of the stage's randomness (dropout, balancers).
    """

    name: str
    learning_rates: Mapping[str, float]
    epochs: int
    tasks: tuple[str, ...]
    selection: str
    task_weights: Mapping[str, float] = field(default_factory=dict)
    balancer: str = "fixed"
    balancer_options: Mapping[str, Any] = field(default_factory=dict)
    weight_decay: float = 1e-4
    min_learning_rate: float = 1e-6
    warm_up: float = 0.0
    clip: float = 1.0
    accumulate: int = 1
    frozen_normalisation: bool = False
    average: float = 0.0
    seed: int = 0

    def fingerprint(self, *context: str) -> str:
        """Hash of the stage's settings and of what else its result depends on (data, start weights)."""
        return sha256_of(json.dumps(asdict(self), sort_keys=True), *context)

    def make_balancer(self) -> Balancer:
        """A fresh balancer as the stage describes it."""
        return make_balancer(
            self.balancer, self.tasks, self.task_weights, seed=self.seed, **self.balancer_options
        )


def prepare_parts(model: nn.Module, stage: Stage) -> None:
    """Unfreeze the parts that the stage trains, freeze the rest, hold normalisation where it is asked for.

    Raises:
        TrainingError: the stage names a part that the model does not have, or none at all.
    """
    unknown = set(stage.learning_rates) - set(model.parts)
    if unknown or not stage.learning_rates:
        raise TrainingError(
            f"stage {stage.name!r} must name parts of the model ({', '.join(model.parts)}), "
            f"got {sorted(stage.learning_rates)}"
        )
    for part in model.parts:
        if part in stage.learning_rates:
            model.unfreeze(part)
        else:
            model.freeze(part)
    model.hold_normalisation(stage.frozen_normalisation)


def make_optimiser(model: nn.Module, balancer: Balancer, stage: Stage) -> torch.optim.AdamW:
    """AdamW with one parameter group per part; the balancer's own parameters come last, undecayed."""
    groups: list[dict[str, Any]] = [
        {"params": list(model.parts[part].parameters()), "lr": rate, "part": part}
        for part, rate in stage.learning_rates.items()
    ]
    own = list(balancer.parameters())
    if own:
        fastest = max(stage.learning_rates.values())
        groups.append({"params": own, "lr": fastest, "weight_decay": 0.0, "part": "balancer"})
    return torch.optim.AdamW(groups, weight_decay=stage.weight_decay)


def make_schedule(
    optimiser: torch.optim.Optimizer, stage: Stage, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Cosine from each group's rate to ``min_learning_rate`` over ``total_steps`` optimiser steps.

    With ``warm_up`` rates first rise from a thousandth of themselves, and the cosine takes what is left.
    """
    rising = round(stage.warm_up * total_steps)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, T_max=max(total_steps - rising, 1), eta_min=stage.min_learning_rate
    )
    if not rising:
        return cosine
    rise = torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=1e-3, total_iters=rising)
    return torch.optim.lr_scheduler.SequentialLR(optimiser, [rise, cosine], milestones=[rising])
