r"""What probabilities should look like without any label.

.. math:: L_\mathrm{var} = \operatorname{mean}\lvert\partial_x p\rvert + \operatorname{mean}\lvert\partial_y
          p\rvert, \qquad L_\mathrm{hole} = \operatorname{mean}\bigl(p\,(1 - d) + (1 - p)\,d\bigr)

with the mean :math:`d` of :math:`p` over 3x3 pixels, borders reflected: how often a pixel would disagree with
a random neighbour (Rudin, Osher and Fatemi 1992 for the first). The soft closing, an option, costs
:math:`\operatorname{mean}\lvert\mathrm{closing}(p) - p\rvert` with maxima over 3x3 and then minima: what it
would fill.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def total_variation(probability: Tensor) -> Tensor:
    """Scalar of ``(B, 1, H, W)``; 0 along an axis of one pixel."""
    loss = probability.new_zeros(())
    for axis in (-1, -2):
        if probability.shape[axis] > 1:
            loss = loss + probability.diff(dim=axis).abs().mean()
    return loss


def local_disagreement(probability: Tensor) -> Tensor:
    """Scalar of ``(B, 1, H, W)``; along a side of one pixel that pixel is its own neighbour."""
    p = probability
    mode = "reflect" if min(p.shape[-2:]) > 1 else "replicate"
    d = F.avg_pool2d(F.pad(p, (1, 1, 1, 1), mode=mode), 3, stride=1)
    return (p + d - 2 * p * d).mean()


def soft_closing_gap(probability: Tensor) -> Tensor:
    """Scalar of ``(B, 1, H, W)``: mean of what a 3x3 closing adds."""
    dilated = F.max_pool2d(probability, 3, stride=1, padding=1)
    closed = -F.max_pool2d(-dilated, 3, stride=1, padding=1)
    return (closed - probability).abs().mean()
