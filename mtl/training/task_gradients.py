r"""One gradient per task over the shared parameters: taken, summed, weighed and written back.

Common to every aggregator (:mod:`mtl.training.aggregators`):

- **Cost**: one backward pass per present task and micro-batch, one fp32 row (as long as the shared
  parameters) per task, one host synchronisation per step (two where several ranks share GPUs), and the
  method's own work on a K x K matrix.
- The rows are summed over micro-batches and ranks *before* the method chooses its weights; every rank then
  computes the same weights (fp64, on the CPU) from the same Gramian G.
- Parameters that are not shared take the plain sum of their gradients.
- A task that is absent everywhere in the step, or whose gradient is exactly zero, has no say. A single
  task moves along its plain gradient.
- G is divided by its trace first: no method but Nash-MTL depends on the length of the gradients, while
  fixed tolerances in the solvers would let small gradients vanish.
- A failing solver or a non-finite value raises ``TrainingError`` with balancer and step.
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from mtl.errors import TrainingError
from mtl.training.balancers import Balancer, Weights, in_full_precision
from mtl.training.reduction import (
    Reduce,
    reduce_flags,
    single_process,
    sum_gradients,
    trainable,
    write_gradients,
)


class GradientAggregator(Balancer):
    """Accumulates one flat gradient per task and lets :meth:`weigh` combine them."""

    needs_task_gradients = True

    def __init__(self, tasks: Sequence[str], weights: Weights = None, seed: int = 0) -> None:
        super().__init__(tasks, weights, seed)
        self.last = dict(self.weights)
        self._rows: dict[str, Tensor] = {}
        self._reached: set[int] = set()

    @abstractmethod
    def weigh(self, gramian: Tensor) -> Tensor:
        """w (K,) for a Gramian (K, K) of trace 1, K >= 2, both fp64 on the CPU."""

    def begin_step(self, progress: float) -> None:
        """Forget the gradients of the step before."""
        self._rows, self._reached = {}, set()

    def backward(
        self,
        losses: Mapping[str, Tensor],
        shares: Mapping[str, float],
        *,
        shared: Sequence[Parameter],
        specific: Sequence[Parameter],
        run_backward: Callable[[Tensor], None],
    ) -> None:
        """See :meth:`Balancer.backward`: one pass per present task; ``run_backward`` is not used."""
        shared, specific = trainable(shared), trainable(specific)
        present = self._present(losses, shares)
        active = [task for task in present if task in losses and losses[task].requires_grad]
        for task in active:
            loss = shares[task] * self.weights[task] * in_full_precision(losses[task])
            # The tasks share one graph: it is freed with the last of them.
            gradients = torch.autograd.grad(
                loss, [*shared, *specific], retain_graph=task != active[-1], allow_unused=True
            )
            self._add_row(task, shared, gradients[: len(shared)])
            add_gradients(specific, gradients[len(shared) :])

    def _add_row(self, task: str, shared: Sequence[Parameter], gradients: Sequence[Tensor | None]) -> None:
        if not shared:
            return
        if task not in self._rows:
            self._rows[task] = empty_row(shared)
        pieces = self._rows[task].split([parameter.numel() for parameter in shared])
        for index, (piece, gradient) in enumerate(zip(pieces, gradients, strict=True)):
            if gradient is not None:
                piece.add_(gradient.reshape(-1))
                self._reached.add(index)

    def finish(self, reduce: Reduce, *, shared: Sequence[Parameter], specific: Sequence[Parameter]) -> None:
        """Sum the rows over ranks, weigh them, and write the gradient of the shared part."""
        sum_gradients([*specific, *self.parameters()], reduce)
        shared = trainable(shared)
        if shared:
            here = [task in self._rows for task in self.tasks]
            here += [index in self._reached for index in range(len(shared))]
            anywhere = reduce_flags(here, reduce, shared[0].device)
            rows = self._reduced_rows(anywhere[: len(self.tasks)], reduce, shared)
            self._write(rows, shared, anywhere[len(self.tasks) :])
        self._rows, self._reached = {}, set()
        self.step += 1

    def _reduced_rows(
        self, present: Sequence[bool], reduce: Reduce, shared: Sequence[Parameter]
    ) -> dict[str, Tensor]:
        tasks = [task for task, there in zip(self.tasks, present, strict=True) if there]
        rows = {task: self._rows.pop(task, None) for task in tasks}
        if reduce is single_process:
            return rows
        return {task: reduce(empty_row(shared) if row is None else row) for task, row in rows.items()}

    def _write(
        self, rows: Mapping[str, Tensor], shared: Sequence[Parameter], reached: Sequence[bool]
    ) -> None:
        if not rows:
            return
        weights = self._checked_weights(list(rows), gramian_of(list(rows.values())))
        update = torch.zeros_like(next(iter(rows.values())))
        for task, row in rows.items():
            update.add_(row, alpha=weights[task])
        write_gradients(shared, update)
        for parameter, used in zip(shared, reached, strict=True):
            if not used:
                parameter.grad = None
        self.last = {task: self.weights[task] * weight for task, weight in weights.items()}

    def _checked_weights(self, tasks: Sequence[str], gramian: Tensor) -> dict[str, float]:
        for task, square in zip(tasks, gramian.diagonal().tolist(), strict=True):
            if not math.isfinite(square):
                raise self._error(f"the gradient of task {task!r} is not finite")
        moving = gramian.diagonal() > 0
        weights = torch.zeros(len(tasks), dtype=gramian.dtype)
        if moving.sum() == 1:
            weights[moving] = 1.0
        elif moving.any():
            weights[moving] = self._solve(gramian[moving][:, moving])
        return dict(zip(tasks, weights.tolist(), strict=True))

    def _solve(self, gramian: Tensor) -> Tensor:
        size = gramian.trace()
        try:
            with warnings.catch_warnings():
                # cvxpy remarks on the form of problems that are torchjd's business.
                warnings.simplefilter("ignore")
                weights = self.weigh(gramian / size)
        except Exception as error:  # noqa: BLE001 - solvers raise whatever they like
            raise self._error(f"the solver failed: {error}") from error
        if not torch.isfinite(weights).all():
            raise self._error(f"the solver gave {weights.tolist()}")
        return self.rescale(weights, gramian)

    def rescale(self, weights: Tensor, gramian: Tensor) -> Tensor:
        """Last change of the weights, given the true Gramian."""
        return weights

    def _error(self, reason: str) -> TrainingError:
        return TrainingError(f"balancer {self.name!r}, step {self.step}: {reason}")

    def current_weights(self) -> dict[str, float]:
        """alpha_k w_k over the shared part, of the tasks present in the last step."""
        return dict(self.last)

    def _state(self) -> dict[str, Any]:
        return {"last": dict(self.last)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.last = dict(state["last"])


def empty_row(shared: Sequence[Parameter]) -> Tensor:
    """Zeros (P,) for a flat gradient over the shared parameters, in at least fp32."""
    dtype = torch.promote_types(shared[0].dtype, torch.float32)
    length = sum(parameter.numel() for parameter in shared)
    return torch.zeros(length, dtype=dtype, device=shared[0].device)


def add_gradients(parameters: Sequence[Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Add to ``.grad``; ``None`` leaves it as it is."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            # A copy: autograd may hand out one tensor twice, and clipping works in place.
            parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient


def gramian_of(rows: Sequence[Tensor]) -> Tensor:
    """Inner products (K, K) of K rows, fp64 on the CPU: the step's one host synchronisation.

    Dot products rather than a matrix product, which an accelerator may round to TF32.
    """
    products = torch.stack([torch.dot(a, b) for i, a in enumerate(rows) for b in rows[: i + 1]])
    lower = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    lower[tuple(torch.tril_indices(len(rows), len(rows)))] = products.double().cpu()
    return lower + lower.tril(-1).T
