r"""Balancers that weigh losses and run one backward pass, without ever waiting for the device.

All of them minimise :math:`\sum_k \alpha_k w_k L_k`; they differ in the factors :math:`w_k`. The fixed
weights :math:`\alpha_k` multiply in every one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from mtl.errors import ParameterError, TrainingError
from mtl.training.balancers import Balancer, Weights, check_weights, in_full_precision


class Weighting(Balancer):
    """A balancer that multiplies losses by factors and runs one backward pass."""

    def backward(
        self,
        losses: Mapping[str, Tensor],
        shares: Mapping[str, float],
        *,
        shared: Sequence[Parameter],
        specific: Sequence[Parameter],
        run_backward: Callable[[Tensor], None],
    ) -> None:
        """See :meth:`Balancer.backward`: one pass, whatever the number of tasks."""
        factors = self._factors(self._present(losses, shares))
        terms = [
            shares[task] * self._term(task, in_full_precision(losses[task]), self.weights[task] * factor)
            for task, factor in factors.items()
            if task in losses and factor > 0
        ]
        total = sum(terms) if terms else None
        # In a stage that freezes every part a present task reaches, there is nothing to propagate.
        if total is not None and total.requires_grad:
            run_backward(total)

    def _factors(self, present: Sequence[str]) -> dict[str, float]:
        """w_k of the present tasks, without alpha."""
        return dict.fromkeys(present, 1.0)

    def _term(self, task: str, loss: Tensor, weight: float) -> Tensor:
        return weight * loss


class Fixed(Weighting):
    r""":math:`\sum_k \alpha_k L_k`, the baseline every other is compared with. Extra cost: none."""

    name = "fixed"


class Schedule(Weighting):
    r"""Weights that move from ``initial`` to ``final`` over the stage. Extra cost: none.

    .. math:: w_k(t) = w_k^0 + f(p)\,(w_k^1 - w_k^0), \qquad
        p = \mathrm{clip}\Big(\frac{t - t_0}{1 - t_0}, 0, 1\Big)

    with :math:`f(p) = p` (``linear``), :math:`(1 - \cos \pi p)/2` (``cosine``), or :math:`[0 < t \ge t_0]`
    (``step``); :math:`t` is the progress through the stage.

    Args:
        initial, final: factor per task (finite, >= 0), 1 where not given.
        kind: ``linear``, ``cosine`` or ``step``.
        warm_up: share of the stage, in [0, 1), during which ``initial`` holds: :math:`t_0`.
    """

    name = "schedule"
    kinds: ClassVar[tuple[str, ...]] = ("linear", "cosine", "step")

    def __init__(
        self,
        tasks: Sequence[str],
        weights: Weights = None,
        seed: int = 0,
        *,
        initial: Mapping[str, float] | None = None,
        final: Mapping[str, float] | None = None,
        kind: str = "cosine",
        warm_up: float = 0.0,
    ) -> None:
        super().__init__(tasks, weights, seed)
        if kind not in self.kinds:
            raise ParameterError(f"kind: {kind!r} is not one of {', '.join(self.kinds)}")
        if not 0 <= warm_up < 1:
            raise ParameterError(f"warm_up: {warm_up} is not a share in [0, 1)")
        ones = {task: 1.0 for task in self.tasks}
        self.initial = ones | check_weights("initial", initial or {}, tasks)
        self.final = ones | check_weights("final", final or {}, tasks)
        self.kind, self.warm_up, self.progress = kind, warm_up, 0.0

    def begin_step(self, progress: float) -> None:
        """Fix the weights of this step."""
        self.progress = progress

    def _factors(self, present: Sequence[str]) -> dict[str, float]:
        f = self._fraction()
        return {task: (1 - f) * self.initial[task] + f * self.final[task] for task in present}

    def _fraction(self) -> float:
        p = min(max((self.progress - self.warm_up) / (1 - self.warm_up), 0.0), 1.0)
        if self.kind == "step":
            return float(0 < self.progress >= self.warm_up)
        return p if self.kind == "linear" else (1 - math.cos(math.pi * p)) / 2

    def current_weights(self) -> dict[str, float]:
        """alpha_k w_k(t) of the current step."""
        return {task: self.weights[task] * factor for task, factor in self._factors(self.tasks).items()}

    def _state(self) -> dict[str, Any]:
        return {"progress": self.progress}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.progress = state["progress"]


class RandomWeights(Weighting):
    r"""RLW: :math:`w = K\,\mathrm{softmax}(z)`, :math:`z_k \sim N(0, 1)` anew in every step.

    :math:`K` and the softmax run over the tasks present in the step. A litmus test: a balancer that
    does not beat it has learnt nothing. Extra cost: none.
    Lin et al., *Reasonable Effectiveness of Random Weighting*, TMLR 2022.
    """

    name = "random"

    def __init__(self, tasks: Sequence[str], weights: Weights = None, seed: int = 0) -> None:
        super().__init__(tasks, weights, seed)
        # On the CPU: the weights become numbers without waiting for an accelerator.
        self.generator = torch.Generator().manual_seed(seed)
        self.normals = [0.0] * len(self.tasks)
        self.last = dict(self.weights)

    def begin_step(self, progress: float) -> None:
        """Draw once per step, so that its micro-batches and ranks share the weights."""
        self.normals = torch.randn(len(self.tasks), generator=self.generator).tolist()

    def _factors(self, present: Sequence[str]) -> dict[str, float]:
        drawn = dict(zip(self.tasks, self.normals, strict=True))
        factors = scaled_softmax({task: drawn[task] for task in present})
        self.last = {task: self.weights[task] * factor for task, factor in factors.items()}
        return factors

    def current_weights(self) -> dict[str, float]:
        """alpha_k w_k of the tasks present in the last step."""
        return dict(self.last)

    def _state(self) -> dict[str, Any]:
        drawn = {"generator": self.generator.get_state(), "normals": list(self.normals)}
        return drawn | {"last": dict(self.last)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["generator"].cpu())
        self.normals, self.last = list(state["normals"]), dict(state["last"])


class Uncertainty(Weighting):
    r""":math:`\sum_k \alpha_k \tfrac12 (L_k e^{-s_k} + s_k)` with learnt log-variances :math:`s_k` (from 0).

    :math:`\alpha_k` multiplies the regulariser too: on the loss alone it would cancel, since
    :math:`s_k` settles at :math:`\log L_k`. The :math:`s_k` are this module's parameters, one each: that
    of an absent task gets no gradient and stays. Extra cost: K scalars. Reading
    :meth:`current_weights` synchronises with the device.
    Kendall, Gal, Cipolla, *Multi-Task Learning Using Uncertainty to Weigh Losses*, CVPR 2018.
    """

    name = "uncertainty"

    def __init__(self, tasks: Sequence[str], weights: Weights = None, seed: int = 0) -> None:
        super().__init__(tasks, weights, seed)
        self.log_variances = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in self.tasks])

    def _term(self, task: str, loss: Tensor, weight: float) -> Tensor:
        s = self.log_variances[self.tasks.index(task)]
        return weight * (loss * torch.exp(-s) + s) / 2

    def current_weights(self) -> dict[str, float]:
        """alpha_k exp(-s_k) / 2."""
        values = [s.item() for s in self.log_variances]
        return {
            task: self.weights[task] * math.exp(-s) / 2 for task, s in zip(self.tasks, values, strict=True)
        }


class DynamicWeightAverage(Weighting):
    r"""DWA: :math:`w = K\,\mathrm{softmax}(r / T)`, :math:`r_k = \bar L_k(e-1) / \bar L_k(e-2)`.

    Means over the last two epochs in which the task was present. A task without two such means (the
    first two epochs), or whose older mean is 0, keeps weight 1 and stays out of the softmax. Extra
    cost: none. Liu, Johns, Davison, *End-to-End Multi-Task Learning with Attention*, CVPR 2019.

    Args:
        temperature: :math:`T > 0`; large values make the weights equal.
    """

    name = "dwa"

    def __init__(
        self,
        tasks: Sequence[str],
        weights: Weights = None,
        seed: int = 0,
        *,
        temperature: float = 2.0,
    ) -> None:
        super().__init__(tasks, weights, seed)
        if not (temperature > 0 and math.isfinite(temperature)):
            raise ParameterError(f"temperature: {temperature} is not a positive number")
        self.temperature = temperature
        self.history: dict[str, list[float]] = {task: [] for task in self.tasks}

    def end_epoch(self, means: Mapping[str, float]) -> None:
        """Remember the two latest means of each task (``TrainingError`` where one is not finite)."""
        for task, mean in means.items():
            if not math.isfinite(mean):
                raise TrainingError(f"balancer 'dwa': mean loss of task {task!r} is {mean}")
            self.history[task] = [*self.history[task], float(mean)][-2:]

    def _factors(self, present: Sequence[str]) -> dict[str, float]:
        return {task: self._all_factors()[task] for task in present}

    def _all_factors(self) -> dict[str, float]:
        known = {task: means for task, means in self.history.items() if len(means) == 2 and means[0] > 0}
        ratios = {task: latest / older for task, (older, latest) in known.items()}
        soft = scaled_softmax({task: ratio / self.temperature for task, ratio in ratios.items()})
        return {task: 1.0 for task in self.tasks} | soft

    def current_weights(self) -> dict[str, float]:
        """alpha_k w_k of this epoch."""
        return {task: self.weights[task] * factor for task, factor in self._all_factors().items()}

    def _state(self) -> dict[str, Any]:
        return {"history": {task: list(means) for task, means in self.history.items()}}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.history = {task: list(means) for task, means in state["history"].items()}


def scaled_softmax(values: Mapping[str, float]) -> dict[str, float]:
    """K softmax of K numbers by name (fp64, on the CPU); empty in, empty out."""
    soft = torch.softmax(torch.tensor(list(values.values()), dtype=torch.float64), dim=0)
    return dict(zip(values, (len(values) * soft).tolist(), strict=True))


WEIGHTINGS: dict[str, type[Balancer]] = {
    kind.name: kind for kind in (Fixed, Schedule, RandomWeights, Uncertainty, DynamicWeightAverage)
}
