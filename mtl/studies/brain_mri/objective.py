"""The study's objective: batch to unweighted losses, absent where nothing is labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from mtl.losses.brain_mri import MultiTaskLoss
from mtl.training.objective import Batch, TaskLosses

SEGMENTATION, CLASSIFICATION = "segmentation", "classification"
TASKS = (SEGMENTATION, CLASSIFICATION)


class BrainMriObjective:
    """``objective(model, batch)`` for the tasks of a stage.

    The decoder runs only if the batch has a mask, the head only if classification is asked for; so a
    head stage costs one encoder pass and no decoder.

    Args:
        loss: unweighted parts are taken from it; its ``total`` is dropped, because the balancer owns
            the weights.
        tasks: the tasks of the stage.
    """

    def __init__(self, loss: MultiTaskLoss, tasks: Sequence[str] = TASKS) -> None:
        self.loss, self.tasks = loss, tuple(tasks)

    def __call__(self, model: nn.Module, batch: Batch) -> TaskLosses:
        """Losses of one batch (see ``mtl.datasets.brain_mri.collate``)."""
        return self.losses(model(batch["image"], **self.wanted(batch)), batch)

    def wanted(self, batch: Batch) -> dict[str, bool]:
        """Which heads have to run for this batch, as the model's ``forward`` takes it."""
        masked = batch["valid_units"][SEGMENTATION] > 0
        return {"do_seg": SEGMENTATION in self.tasks and masked, "do_cls": CLASSIFICATION in self.tasks}

    def losses(self, output: Mapping[str, Any], batch: Batch) -> TaskLosses:
        """Losses of what the model gave for a batch."""
        n_masked = batch["valid_units"][SEGMENTATION]
        parts = self.loss(output, batch["mask"], batch["cls"], batch["has_mask"], n_masked)
        losses = {task: parts[task] for task in self.tasks if task in parts}
        return TaskLosses(losses, {name: value for name, value in parts.items() if "/" in name})
