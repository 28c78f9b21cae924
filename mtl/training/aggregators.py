r"""Balancers that combine one gradient per task over the shared parameters, through ``torchjd``.

Let :math:`g_k = \nabla_\theta \alpha_k L_k` over the shared parameters :math:`\theta` and
:math:`G_{kl} = \langle g_k, g_l \rangle`. Each method picks :math:`w(G)`, and the shared part moves along
:math:`\sum_k w_k g_k`; :mod:`mtl.training.task_gradients` says what they have in common.

The weights of ``mgda`` and ``imtl_g`` sum to 1, those of ``upgrad`` and ``cagrad`` to at least 1 and those of
``pcgrad`` to at least K; ``aligned_mtl`` shrinks with the smallest eigenvalue of G. With plain SGD the
learning rate of the shared part has to be chosen for each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torchjd.aggregation as torchjd
from torch import Tensor

from mtl.errors import ParameterError
from mtl.training.balancers import Balancer, Weights
from mtl.training.task_gradients import GradientAggregator


class PCGrad(GradientAggregator):
    r"""Project each gradient off those it conflicts with, in random order, and add up.

    .. math:: \hat g_i \leftarrow \hat g_i - \min(0, \langle \hat g_i, g_j \rangle) \, g_j / \|g_j\|^2, \qquad
        \sum_i \hat g_i

    The order is drawn from the balancer's own generator. Cost: K passes.
    Yu et al., *Gradient Surgery for Multi-Task Learning*, NeurIPS 2020.
    """

    name = "pcgrad"

    def __init__(self, tasks: Sequence[str], weights: Weights = None, seed: int = 0) -> None:
        super().__init__(tasks, weights, seed)
        self.generator = torch.Generator().manual_seed(seed)

    def weigh(self, gramian: Tensor) -> Tensor:
        """torchjd permutes with the global CPU generator: lend it ours, and put its own back."""
        with torch.random.fork_rng(devices=[]):
            torch.random.set_rng_state(self.generator.get_state())
            weights = torchjd.PCGradWeighting()(gramian)
            self.generator.set_state(torch.random.get_rng_state())
        return weights

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"generator": self.generator.get_state()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self.generator.set_state(state["generator"].cpu())


class MGDA(GradientAggregator):
    r"""The shortest convex combination: :math:`\min_w \|\sum_k w_k g_k\|^2, \; w \ge 0, \; \sum_k w_k = 1`.

    Frank-Wolfe, at most 100 iterations. Cost: K passes.
    Sener, Koltun, *Multi-Task Learning as Multi-Objective Optimization*, NeurIPS 2018.
    """

    name = "mgda"

    def weigh(self, gramian: Tensor) -> Tensor:
        """See the class."""
        return torchjd.MGDAWeighting()(gramian)


class CAGrad(GradientAggregator):
    r"""The best worst task within a ball around the mean gradient :math:`g_0`.

    .. math:: \max_d \min_k \langle g_k, d \rangle \quad \text{s.t.} \quad \|d - g_0\| \le c\,\|g_0\|

    A cone program per step. Cost: K passes.
    Liu et al., *Conflict-Averse Gradient Descent*, NeurIPS 2021.

    Args:
        c: radius of the ball, in [0, 1); 0 is the mean gradient.
    """

    name = "cagrad"

    def __init__(
        self, tasks: Sequence[str], weights: Weights = None, seed: int = 0, *, c: float = 0.4
    ) -> None:
        super().__init__(tasks, weights, seed)
        if not 0 <= c < 1:
            raise ParameterError(f"c: {c} is not in [0, 1)")
        self.c = c

    def weigh(self, gramian: Tensor) -> Tensor:
        """See the class."""
        return torchjd.CAGradWeighting(c=self.c)(gramian)


class IMTLG(GradientAggregator):
    r"""An update with the same projection on every task's direction.

    .. math:: w \propto G^+ d, \qquad d_k = \|g_k\|, \qquad \sum_k w_k = 1

    Weights may be negative. Cost: K passes.
    Liu et al., *Towards Impartial Multi-Task Learning*, ICLR 2021.
    """

    name = "imtl_g"

    def weigh(self, gramian: Tensor) -> Tensor:
        """See the class."""
        return torchjd.IMTLGWeighting()(gramian)


class AlignedMTL(GradientAggregator):
    r"""Make the gradients orthogonal and equally long, then average them.

    .. math:: w = \sqrt{\lambda_{\min}(G)} \; G^{-1/2} \, \mathbf 1 / K

    Eigenvectors of zero eigenvalue are left out. Cost: K passes.
    Senushkin et al., *Independent Component Alignment for Multi-Task Learning*, CVPR 2023.
    """

    name = "aligned_mtl"

    def weigh(self, gramian: Tensor) -> Tensor:
        """See the class."""
        return torchjd.AlignedMTLWeighting()(gramian)


class UPGrad(GradientAggregator):
    r"""Mean of the gradients, each projected on the cone of directions that harm no task.

    .. math:: \frac1K \sum_k \pi(g_k), \qquad
        \pi(x) = \arg\min_y \|y - x\| \;\text{s.t.}\; \langle y, g_l \rangle \ge 0 \;\forall l

    K quadratic programs of size K per step. Cost: K passes.
    Quinton, Rey, *Jacobian Descent for Multi-Objective Optimization*, 2024.
    """

    name = "upgrad"

    def weigh(self, gramian: Tensor) -> Tensor:
        """See the class."""
        return torchjd.UPGradWeighting()(gramian)


class NashMTL(GradientAggregator):
    r"""The Nash bargaining solution: :math:`G w = 1 / w` (elementwise), :math:`w > 0`.

    It makes the update :math:`\sqrt K` long whatever the gradients, hence as long as ``max_norm`` where that
    is smaller. Solved afresh in every step: no state, so nothing to rebuild when a task is absent and
    nothing to resume. Solved on unit gradients, whose solution :math:`a` gives :math:`w_k = a_k / \|g_k\|`
    (torchjd's solver often stops at its starting point otherwise), and checked against the equation. Cost:
    K passes and 10-50 ms of cone programs. Exactly opposite gradients have no solution.
    Navon et al., *Multi-Task Learning as a Bargaining Game*, ICML 2022.

    Args:
        max_norm: greatest length of the update over the shared part; 0: no bound.
    """

    name = "nash_mtl"
    tolerance = 1e-3

    def __init__(
        self,
        tasks: Sequence[str],
        weights: Weights = None,
        seed: int = 0,
        *,
        max_norm: float = 1.0,
    ) -> None:
        super().__init__(tasks, weights, seed)
        if not 0 <= max_norm < math.inf:
            raise ParameterError(f"max_norm: {max_norm} is not a finite number >= 0")
        self.max_norm = max_norm

    def weigh(self, gramian: Tensor) -> Tensor:
        """Try from equal weights, then from UPGrad's (where no task loses), in two sizes each."""
        lengths = gramian.diagonal().sqrt()
        cosines = gramian / torch.outer(lengths, lengths)
        for start in (torch.ones_like(lengths), len(lengths) * torchjd.UPGradWeighting()(cosines)):
            for size in (1.0, 4.0):
                solution = self._bargain(cosines, start, size)
                if (solution * (cosines @ solution) - 1).abs().max() < self.tolerance:
                    return solution / lengths
        raise ArithmeticError(f"no bargaining solution found for the cosines {cosines.tolist()}")

    def _bargain(self, cosines: Tensor, start: Tensor, size: float) -> Tensor:
        """torchjd starts at ones: rescaled rows make that any start, and the result scales back."""
        scaled = cosines * torch.outer(start, start)
        matrix = size * square_root(scaled / scaled.norm())
        aggregator = torchjd.NashMTL(n_tasks=len(start), max_norm=0.0)
        solution = aggregator.weighting(matrix).to(start.dtype) * start
        return solution * (len(start) / (solution @ cosines @ solution)).sqrt()

    def rescale(self, weights: Tensor, gramian: Tensor) -> Tensor:
        """Undo the division of the Gramian by its trace, then bound the length of the update."""
        weights = weights / gramian.trace().sqrt()
        length = (weights @ gramian @ weights).sqrt()
        return weights * (self.max_norm / length).clamp(max=1.0) if self.max_norm > 0 else weights


def square_root(matrix: Tensor) -> Tensor:
    """F with F F^T = matrix (symmetric, positive semi-definite up to rounding)."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt()


AGGREGATORS: dict[str, type[Balancer]] = {
    kind.name: kind for kind in (PCGrad, MGDA, CAGrad, IMTLG, NashMTL, AlignedMTL, UPGrad)
}
