r"""How sure the classification is: MC dropout and test-time augmentation.

With class probabilities :math:`p_t`, :math:`t = 1..T`, of networks drawn by dropout (Gal and Ghahramani,
ICML 2016), of changed copies of the image, or of both, and :math:`\bar p = \frac1T \sum_t p_t`:

.. math:: H[\bar p] = -\sum_c \bar p_c \log \bar p_c, \qquad
          I = H[\bar p] - \frac1T \sum_t H[p_t]

:math:`H` is the predictive entropy, all of the doubt; :math:`I` is the mutual information between answer and
network (Houlsby et al. 2011), the part that comes from networks that disagree. Both in nats, at most
:math:`\log 2` for two classes, :math:`0 \le I \le H`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.errors import ParameterError
from mtl.models.brain_mri import ClassificationHead

VIEW_DEGREES = 6.0


@dataclass(frozen=True)
class UncertaintyOptions:
    """What is repeated: ``dropout_samples`` draws of the head (0: none), with ``test_time_augmentation`` for
    the image and three changed copies of it, each of which costs an encoder pass.

    Raises ``ParameterError`` where nothing would be repeated.
    """

    dropout_samples: int = 30
    test_time_augmentation: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dropout_samples < 0 or (self.dropout_samples == 0 and not self.test_time_augmentation):
            raise ParameterError(
                f"dropout_samples={self.dropout_samples} must be at least 1, or 0 with test_time_augmentation"
            )


@dataclass(frozen=True)
class Uncertainty:
    """Doubt about one image, over ``samples`` predictions; entropies in nats.

    ``mean_probability`` and ``std_probability`` are those of the tumour probability over the samples.
    """

    mean_probability: float
    std_probability: float
    predictive_entropy: float
    mutual_information: float
    samples: int


def summarise(probabilities: Tensor) -> list[Uncertainty]:
    """One ``Uncertainty`` per image of class probabilities ``(T, B, classes)``."""
    p = probabilities.double().cpu()
    total, within = _entropy(p.mean(dim=0)), _entropy(p).mean(dim=0)
    columns = (p.mean(0)[:, 1], p[:, :, 1].std(0, correction=0), total, (total - within).clamp(min=0))
    rows = torch.stack(columns, dim=1).tolist()
    return [Uncertainty(*row, samples=len(p)) for row in rows]


def dropout_logits(head: ClassificationHead, bottleneck: Tensor, samples: int, seed: int) -> Tensor:
    """Class logits ``(samples, B, classes)`` of a bottleneck ``(B, C, h, w)``; 0 samples: one, undropped.

    Only what follows the dropout is repeated. One draw is one network, the same for all images of all
    batches: what is found for an image does not depend on its company.
    """
    hidden = head.hidden(head.pool(bottleneck.float()).flatten(1)).relu()
    if samples == 0:
        return head.logits(hidden)[None]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(samples, 1, hidden.shape[1], generator=generator).to(hidden.device)
    return head.logits(hidden * (drawn >= head.dropout.p) / (1 - head.dropout.p))


def changed_copies(images: Tensor, background: float = 0.0) -> list[Tensor]:
    """Three copies of prepared images ``(B, 1, H, W)``: mirrored, and turned by 6 degrees either way.

    Changes that training makes too. What comes in from outside is ``background``.
    """
    angles = (VIEW_DEGREES, -VIEW_DEGREES)
    return [images.flip(-1), *(_turned(images - background, angle) + background for angle in angles)]


def _turned(images: Tensor, degrees: float) -> Tensor:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = images.new_tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0]]).expand(len(images), 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(dim=-1)
