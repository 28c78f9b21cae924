r"""Overlap losses for binary masks.

Soft Dice (Milletari, Navab and Ahmadi, 3DV 2016; with the squares of Drozdzal et al. left out), per
sample, with :math:`p = \sigma(z)` and smoothing :math:`s`:

.. math:: L_\mathrm{Dice}(z, y) = 1 - \frac{2\sum_i p_i y_i + s}{\sum_i p_i + \sum_i y_i + s}

An empty mask costs nothing when nothing is predicted, and close to one when much is.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def soft_dice_loss(logits: Tensor, mask: Tensor, smooth: float = 1.0) -> Tensor:
    """Soft Dice loss of each sample.

    Args:
        logits: ``(B, 1, *spatial)``, computed in float32 whatever comes in.
        mask: the same shape, values in [0, 1].
        smooth: added to numerator and denominator (pixels).

    Returns:
        ``(B,)`` in [0, 1).
    """
    p = logits.float().sigmoid().flatten(1)
    y = mask.float().flatten(1)
    overlap = 2 * (p * y).sum(dim=1) + smooth
    return 1 - overlap / (p.sum(dim=1) + y.sum(dim=1) + smooth)


def binary_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean binary cross-entropy over the pixels of each sample: ``(B, 1, *spatial)`` to ``(B,)``."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), mask.float(), reduction="none")
    return loss.flatten(1).mean(dim=1)


class DiceLoss(nn.Module):
    """Mean over samples of :func:`soft_dice_loss`."""

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """``(B, 1, *spatial)`` logits and mask to a scalar."""
        return soft_dice_loss(logits, mask, self.smooth).mean()
