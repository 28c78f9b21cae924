r"""Balancers turn the losses of a step into gradients: who counts how much, and who gives way.

All follow one interface, :class:`Balancer`. With :math:`K` tasks, losses :math:`L_k` and fixed weights
:math:`\alpha_k`, the *weighting* balancers (:mod:`mtl.training.weightings`) run one backward pass
through

.. math:: \sum_k \frac{n_k}{N_k} \, \alpha_k \, w_k \, L_k ,

where a micro-batch holds :math:`n_k` of the :math:`N_k` valid units of the step, so that the gradients of
micro-batches and ranks add up to those of the joint batch. They never wait for the device. The *gradient
aggregators* (:mod:`mtl.training.aggregators`) take one gradient per task and combine these.

A task without a valid label is absent: no loss, no gradient, no state, and the parameters that only it
reaches keep ``grad = None``. A task of weight 0 is treated in the same way.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from mtl.errors import CheckpointError, ParameterError, TrainingError
from mtl.training.reduction import Reduce, sum_gradients

Weights = Mapping[str, float] | None
BALANCERS: tuple[str, ...] = (
    "fixed", "schedule", "random", "uncertainty", "dwa",
    "pcgrad", "mgda", "cagrad", "imtl_g", "nash_mtl", "aligned_mtl", "upgrad",
)  # fmt: skip


class Balancer(nn.Module, ABC):
    """What the loop calls: ``begin_step``, ``backward`` per micro-batch, ``finish``, ``end_epoch``.

    Args:
        tasks: names of all tasks that may appear.
        weights: alpha per task (finite, >= 0, not all 0); 1 where not given.
        seed: of the balancer's own randomness; must be the same on every rank.

    Raises:
        ParameterError: ``weights`` name an unknown task or hold a value out of range.
    """

    name: ClassVar[str]
    needs_task_gradients: ClassVar[bool] = False

    def __init__(self, tasks: Sequence[str], weights: Weights = None, seed: int = 0) -> None:
        super().__init__()
        if not tasks or len(set(tasks)) != len(tasks):
            raise ParameterError(f"balancer {self.name!r} needs distinct task names, got {list(tasks)}")
        self.tasks = tuple(tasks)
        self.weights = {task: 1.0 for task in tasks} | check_weights("weights", weights or {}, tasks)
        if not any(self.weights.values()):
            raise ParameterError("weights: all are 0, so that nothing would train")
        self.seed = seed
        self.step = 0

    def begin_step(self, progress: float) -> None:
        """Start an optimiser step at ``progress`` in [0, 1] through the stage."""

    @abstractmethod
    def backward(
        self,
        losses: Mapping[str, Tensor],
        shares: Mapping[str, float],
        *,
        shared: Sequence[Parameter],
        specific: Sequence[Parameter],
        run_backward: Callable[[Tensor], None],
    ) -> None:
        """Add the gradients of one micro-batch.

        Args:
            losses: 0-d losses of the tasks present in this micro-batch (may be empty).
            shares: n_k / N_k for every task present anywhere in the step, 0.0 where absent here.
            shared, specific: parameters that several tasks reach, and the others.
            run_backward: runs backward on a scalar (``fabric.backward``).

        Raises:
            TrainingError: a loss whose task has no share in the step.
        """

    def finish(self, reduce: Reduce, *, shared: Sequence[Parameter], specific: Sequence[Parameter]) -> None:
        """Sum over ranks and leave ``.grad`` final; every rank calls ``reduce`` equally often."""
        sum_gradients([*shared, *specific, *self.parameters()], reduce)
        self.step += 1

    def end_epoch(self, means: Mapping[str, float]) -> None:
        """Take the epoch's mean losses over valid units, the same on every rank."""

    def current_weights(self) -> dict[str, float]:
        """The weights in force (alpha included), for the logs; may synchronise with the device."""
        return dict(self.weights)

    def backward_passes(self, n_tasks: int) -> int:
        """Backward passes through the shared part per micro-batch with ``n_tasks`` present tasks."""
        return n_tasks if self.needs_task_gradients else 1

    def _present(self, losses: Mapping[str, Tensor], shares: Mapping[str, float]) -> tuple[str, ...]:
        """Tasks of the step in the balancer's order, those of weight 0 left out."""
        for task in [*shares, *losses]:
            if task not in self.tasks:
                raise TrainingError(f"balancer {self.name!r} knows {list(self.tasks)}, not task {task!r}")
            if task not in shares:
                raise TrainingError(f"balancer {self.name!r}: task {task!r} has a loss but no valid unit")
        return tuple(task for task in self.tasks if task in shares and self.weights[task] > 0)

    def get_extra_state(self) -> dict[str, Any]:
        """Plain values and tensors: loads with ``torch.load(weights_only=True)``."""
        return {"name": self.name, "step": self.step, "weights": dict(self.weights), **self._state()}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Raises ``CheckpointError`` for the state of another balancer or of other tasks."""
        found = (state["name"], tuple(state["weights"]))
        if found != (self.name, self.tasks):
            raise CheckpointError(f"balancer state is of {found}, expected {(self.name, self.tasks)}")
        self.step, self.weights = state["step"], dict(state["weights"])
        self._restore(state)

    def _state(self) -> dict[str, Any]:
        return {}

    def _restore(self, state: Mapping[str, Any]) -> None:
        return None


def make_balancer(
    name: str,
    tasks: Sequence[str],
    weights: Weights = None,
    seed: int = 0,
    **options: Any,
) -> Balancer:
    """The balancer of that name (one of ``BALANCERS``), with the options that it has.

    Raises:
        ParameterError: unknown name or option (the message lists what there is), or a bad value.
    """
    if name not in BALANCERS:
        raise ParameterError(f"balancer {name!r} is unknown; there are {', '.join(BALANCERS)}")
    kind = _balancer_class(name)
    known = [
        key
        for key, parameter in inspect.signature(kind.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for option in options:
        if option not in known:
            listing = f"its options are {', '.join(known)}" if known else "it has no options"
            raise ParameterError(f"balancer {name!r} does not know the option {option!r}; {listing}")
    return kind(tasks, weights, seed, **options)


def _balancer_class(name: str) -> type[Balancer]:
    # Imported late: both rooms import this one, and torchjd's solvers take a second to load.
    from mtl.training import weightings

    if name in weightings.WEIGHTINGS:
        return weightings.WEIGHTINGS[name]
    from mtl.training import aggregators

    return aggregators.AGGREGATORS[name]


def check_weights(parameter: str, weights: Mapping[str, float], tasks: Sequence[str]) -> dict[str, float]:
    """The weights as floats; ``ParameterError`` for an unknown task, a negative or a non-finite value."""
    for task, value in weights.items():
        if task not in tasks:
            raise ParameterError(f"{parameter}: unknown task {task!r}; the tasks are {', '.join(tasks)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ParameterError(f"{parameter}: {task!r} has {value!r}, expected a finite number >= 0")
    return {task: float(value) for task, value in weights.items()}


def in_full_precision(loss: Tensor) -> Tensor:
    """The loss in at least fp32: a bf16 loss would round its weight to 8 bits."""
    return loss.to(torch.promote_types(loss.dtype, torch.float32))
