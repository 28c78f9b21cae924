r"""A running average of the weights, which is what is scored and kept.

.. math:: \bar\theta_t = \beta_t \bar\theta_{t-1} + (1 - \beta_t)\,\theta_t, \qquad
          \beta_t = \min\bigl(\beta, \tfrac{1 + t}{10 + t}\bigr)

from :math:`\bar\theta_1 = \theta_1` (Polyak and Juditsky, SIAM Journal on Control and Optimization 30 (1992);
the slow start of :math:`\beta_t` is that of TensorFlow's ``ExponentialMovingAverage``). Training itself goes
on with :math:`\theta`. It calms the score from epoch to epoch, which few steps on little data leave noisy.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage(AveragedModel):
    """Exponential moving average of a model's weights and of its buffers of floats.

    Args:
        model: copied; decay: :math:`\\beta` in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        super().__init__(model, multi_avg_fn=self._average, use_buffers=True)

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after ``step`` steps (1, 2, ...)."""
        self.steps = step
        self.update_parameters(model)

    @torch.no_grad()
    def _average(self, averaged: list[Tensor], current: list[Tensor], _: Tensor) -> None:
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        if torch.is_floating_point(averaged[0]):
            torch._foreach_lerp_(averaged, current, 1 - decay)
        else:
            for mine, other in zip(averaged, current, strict=True):
                mine.copy_(other)
