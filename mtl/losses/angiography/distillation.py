r"""A student's probabilities against a teacher's.

.. math:: L = \frac{\tau^2}{R} \sum_r \sum_c q_{rc} \log \frac{q_{rc}}{p_{rc}}, \qquad
          q = \mathrm{softmax}(z^\mathrm{teacher} / \tau), \quad p = \mathrm{softmax}(z / \tau)

(Hinton et al., 2015); no gradient reaches the teacher. Rows are the next tokens of reports, or the videos and
reports of a batch, each against all candidates of the other kind (temperature and bias as in the contrastive
loss; a bias cancels in the softmax).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.errors import ParameterError
from mtl.losses.angiography.captioning import mean_over


def distillation_loss(
    student: Tensor, teacher: Tensor, temperature: float = 2.0, counted: Tensor | None = None
) -> Tensor:
    """Mean over rows, a scalar.

    Args:
        student, teacher: logits ``(..., C)``; counted: ``(...)`` bool, rows that count (all where None).
        temperature: tau, above 0.

    Raises:
        ParameterError: shapes that do not fit, or a temperature that is not above 0.
    """
    if student.shape != teacher.shape:
        raise ParameterError(
            f"the student's logits {tuple(student.shape)} and the teacher's {tuple(teacher.shape)} differ "
            "in shape"
        )
    if not temperature > 0:
        raise ParameterError(f"distillation temperature = {temperature}: above 0 is expected")
    kind = torch.float64 if student.dtype == torch.float64 else torch.float32
    p, q = ((z.to(kind) / temperature).log_softmax(-1) for z in (student, teacher.detach()))
    each = temperature**2 * F.kl_div(p, q, reduction="none", log_target=True).sum(dim=-1)
    return each.mean() if counted is None else mean_over(each, counted)


def contrastive_distillation(
    video: Tensor,
    text: Tensor,
    log_temperature: Tensor,
    teacher_video: Tensor,
    teacher_text: Tensor,
    teacher_log_temperature: Tensor,
    temperature: float = 2.0,
) -> Tensor:
    """Both directions, averaged.

    Args:
        video, text, teacher_video, teacher_text: ``(B, D)`` of length 1 (D may differ between the two); pairs
            of this rank only, all of them at once.
        log_temperature, teacher_log_temperature: scalars t'.
    """
    with torch.autocast(video.device.type, enabled=False):
        student = log_temperature.exp() * (video @ text.T)
        teacher = teacher_log_temperature.detach().exp() * (teacher_video.detach() @ teacher_text.detach().T)
        both = (distillation_loss(student, teacher, temperature),
                distillation_loss(student.T, teacher.T, temperature))  # fmt: skip
        return (both[0] + both[1]) / 2
