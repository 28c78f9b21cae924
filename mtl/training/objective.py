"""The contract between a study and the training core.

An objective is a callable ``objective(model, batch) -> TaskLosses``: one unweighted, finite,
non-negative scalar per task. A task with no valid label in the batch is absent, never 0.0, so that
it enters no average, no balancer state and no gradient. Weights belong to the balancer.

A batch is a dict that holds, beside its tensors, ``id`` (list of str) and ``valid_units`` (task to
int): how many units each task is valid for, counted on the CPU when the batch is put together. Means
over several micro-batches or ranks are weighted with these counts, so that they equal the mean over
the joint batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtl.errors import TrainingError

Batch = Mapping[str, Any]


class TaskLosses(dict[str, Tensor]):
    """Task name to scalar loss; ``terms`` (``task/term`` to scalar) are for the logs only."""

    def __init__(self, losses: Mapping[str, Tensor], terms: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(losses)
        self.terms: dict[str, Tensor] = {name: term.detach() for name, term in (terms or {}).items()}


Objective = Callable[[nn.Module, Batch], Mapping[str, Tensor]]


def check_contract(
    losses: Mapping[str, Tensor], units: Mapping[str, int], tasks: Sequence[str], stage: str
) -> None:
    """Raises ``TrainingError`` for a task that the stage lacks, or that no unit of the batch is valid for."""
    for task in losses:
        if task not in tasks:
            raise TrainingError(f"objective returned task {task!r}; stage {stage!r} has {tasks}")
        if units.get(task, 0) == 0:
            raise TrainingError(f"objective returned task {task!r}, but the batch has no valid unit for it")


def unit_shares(
    window: Sequence[Batch], tasks: Sequence[str], summed: Callable[[Tensor], Tensor]
) -> list[dict[str, float]]:
    """n_k / N_k per micro-batch of a window, N_k over the window and all ranks, for tasks with N_k > 0.

    ``summed``: int64 ``(K,)`` counts of this rank to those of all ranks, on the CPU.
    """
    counts = torch.tensor([[batch["valid_units"].get(task, 0) for task in tasks] for batch in window])
    totals = summed(counts.sum(dim=0)).tolist()
    return [
        {task: n / total for task, n, total in zip(tasks, row, totals, strict=True) if total > 0}
        for row in counts.tolist()
    ]
