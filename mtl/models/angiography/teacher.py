r"""A teacher that follows its student slowly.

.. math:: \bar\theta \leftarrow \beta\,\bar\theta + (1 - \beta)\,\theta

(Tarvainen and Valpola, *Mean teachers*, NeurIPS 2017.) The first update copies the student.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mtl.errors import ParameterError


class EMATeacher(AveragedModel):
    """A copy of ``student`` that asks for no gradient and stays in eval mode.

    Call ``follow(student)`` once per training batch, and the teacher like the student, under
    ``torch.no_grad()``.

    Args:
        student: copied as it is; decay: :math:`\\beta`, from 0 on and below 1.

    Raises:
        ParameterError: a decay out of range.
    """

    def __init__(self, student: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ParameterError(f"decay = {decay}: from 0 on and below 1 is expected")
        self.decay = decay
        super().__init__(student, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=False)
        self.requires_grad_(False)
        self.train(False)

    @torch.no_grad()
    def follow(self, student: nn.Module) -> None:
        """As ``update_parameters``, without waiting for the device; the student may hold this teacher."""
        own = list(self.module.parameters())
        mine = {id(parameter) for parameter in own}
        followed = [parameter for parameter in student.parameters() if id(parameter) not in mine]
        torch._foreach_lerp_(own, followed, 1 - self.decay)

    def train(self, mode: bool = True) -> EMATeacher:
        """Eval mode, whatever is asked for: a teacher drops nothing out."""
        super().train(False)
        return self
