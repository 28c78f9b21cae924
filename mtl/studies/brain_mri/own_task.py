"""A task of one's own beside segmentation and classification: target, loss and error, as functions.

The network with its head is a subclass of ``MultiTaskModel`` that names the head in ``added_heads``.
Everything else (balancers, gradient diagnostics, checkpoints, comparisons) takes tasks as they come; see
``OwnTaskStudy``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mtl.datasets.brain_mri import collate
from mtl.errors import DataError, ParameterError
from mtl.losses.brain_mri import MultiTaskLoss
from mtl.models.brain_mri import MultiTaskModel
from mtl.studies.brain_mri.objective import TASKS, BrainMriObjective
from mtl.studies.own_code import own_code_fingerprint
from mtl.training.objective import Batch, TaskLosses


@dataclass(frozen=True)
class OwnTask:
    """What a further task consists of.

    Args:
        name: key of the head in ``network.added_heads``, of the loss, and of the counts in ``valid_units``.
        network: ``MultiTaskModel`` with the head.
        target: sample of the dataset (see ``MultiSourceDataset``; augmented in training) to a finite number
            or tensor, of the same shape throughout; None where the sample has no label for the task.
        loss: predictions and targets ``(n, ...)`` of the labelled samples, n >= 1, float32, to a scalar >= 0.
        error: the same to one figure per case ``(n,)``, smaller is better; the metric is its mean.
        weight: the task's alpha.

    Raises:
        ParameterError: the network has no such head, or the name belongs to a task of the study.
    """

    name: str
    network: type[MultiTaskModel]
    target: Callable[[Mapping[str, Any]], float | Tensor | None]
    loss: Callable[[Tensor, Tensor], Tensor]
    error: Callable[[Tensor, Tensor], Tensor]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.name in TASKS:
            raise ParameterError(f"name: {self.name!r} is a task of the study already; choose another")
        if self.name not in self.network.added_heads:
            found = ", ".join(self.network.added_heads) or "nothing"
            raise ParameterError(
                f"name: {self.network.__name__}.added_heads has no head {self.name!r} (it has: {found})"
            )

    @property
    def part(self) -> str:
        """The head's name among the parts of the network."""
        return f"{self.name}_head"

    @property
    def fingerprint(self) -> str:
        """Hash of network, target and loss (see ``mtl.studies.own_code``); ``error`` only scores."""
        head = self.network.added_heads[self.name]
        return own_code_fingerprint(self.name, self.weight, head, self.network, self.target, self.loss)

    def collate(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The study's ``collate``, and what the n labelled samples of the batch have.

        That is ``<name>_rows`` int64 ``(n,)``, their places in the batch, ``<name>_target`` float32
        ``(n, ...)``, and their number in ``valid_units``.

        Raises:
            DataError: a target is not finite, or of another shape than the one before.
        """
        batch = collate(samples)
        found = {row: self._target_of(sample) for row, sample in enumerate(samples)}
        found = {row: target for row, target in found.items() if target is not None}
        if len({target.shape for target in found.values()}) > 1:
            raise DataError(f"task {self.name!r}: targets have different shapes: they cannot be joined")
        batch[f"{self.name}_rows"] = torch.tensor(list(found), dtype=torch.int64)
        batch[f"{self.name}_target"] = torch.stack(list(found.values())) if found else torch.empty(0)
        batch["valid_units"] = batch["valid_units"] | {self.name: len(found)}
        return batch

    def of_labelled(self, output: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and targets ``(n, ...)`` float32 of the batch's labelled samples.

        Raises:
            DataError: the head's output has another shape than the target.
        """
        predicted = output[self.name].float()[batch[f"{self.name}_rows"]]
        target = batch[f"{self.name}_target"]
        if predicted.shape != target.shape:
            raise DataError(
                f"task {self.name!r}: the head gives {tuple(predicted.shape[1:])} per sample, "
                f"its target has {tuple(target.shape[1:])}"
            )
        return predicted, target

    def loss_of(self, predicted: Tensor, target: Tensor) -> Tensor:
        """``loss``, a scalar. Raises ``DataError`` where it is none."""
        found = self.loss(predicted, target)
        if found.ndim:
            raise DataError(
                f"task {self.name!r}: loss gives shape {tuple(found.shape)}; a scalar is expected"
            )
        return found

    def errors_of(self, predicted: Tensor, target: Tensor) -> Tensor:
        """``error``, float64 ``(n,)``. Raises ``DataError`` where it is not one figure per case."""
        found = torch.as_tensor(self.error(predicted, target)).double()
        if found.shape != (len(target),):
            raise DataError(
                f"task {self.name!r}: error gives shape {tuple(found.shape)} for {len(target)} cases; "
                "one figure per case is expected (a target that is a map has to be averaged over)"
            )
        return found

    def _target_of(self, sample: Mapping[str, Any]) -> Tensor | None:
        found = self.target(sample)
        if found is None:
            return None
        target = torch.as_tensor(found, dtype=torch.float32)
        if not target.isfinite().all():
            raise DataError(
                f"task {self.name!r}: the target of {sample['id']} is not finite; "
                "where there is none, None is expected"
            )
        return target


class OwnTaskObjective(BrainMriObjective):
    """The study's objective with one more loss, absent where no sample of the batch has the target.

    One encoder pass serves all heads; those without a label in the batch do not run.
    """

    def __init__(self, loss: MultiTaskLoss, tasks: Sequence[str], own: OwnTask) -> None:
        super().__init__(loss, tasks)
        self.own = own

    def wanted(self, batch: Batch) -> dict[str, bool]:
        """Which heads have to run for this batch."""
        return super().wanted(batch) | {"do_added": batch["valid_units"][self.own.name] > 0}

    def losses(self, output: Mapping[str, Any], batch: Batch) -> TaskLosses:
        """Losses of what the model gave for a batch of ``OwnTask.collate``."""
        found = super().losses(output, batch)
        if self.own.name in output:
            found[self.own.name] = self.own.loss_of(*self.own.of_labelled(output, batch))
        return found
