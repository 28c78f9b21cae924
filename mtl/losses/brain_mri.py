r"""Segmentation where there is a mask, classification everywhere.

.. math:: L_\mathrm{seg} = \frac{1}{|M|}\sum_{b \in M}
          \bigl(w_\mathrm{dice} L_\mathrm{Dice}(z_b, y_b) + w_\mathrm{bce}\,\mathrm{BCE}(z_b, y_b)\bigr),
          \qquad L = L_\mathrm{seg} + \lambda_\mathrm{cls}\,\mathrm{CE}(c, k)

:math:`M` are the samples of the batch that have a mask. Where :math:`M` is empty there is no
segmentation loss at all: the decoder then gets exactly zero gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.losses.overlap import DiceLoss, binary_cross_entropy, soft_dice_loss

__all__ = ["CombinedSegmentationLoss", "DiceLoss", "MultiTaskLoss"]


class CombinedSegmentationLoss(nn.Module):
    """Weighted sum of soft Dice and binary cross-entropy over the samples that have a mask."""

    def __init__(self, w_dice: float = 0.5, w_bce: float = 0.5, smooth: float = 1.0) -> None:
        super().__init__()
        self.w_dice, self.w_bce, self.smooth = w_dice, w_bce, smooth

    def forward(self, logits: Tensor, mask: Tensor, has_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Loss and its terms, means over the samples with ``has_mask``.

        Args:
            logits, mask: ``(B, 1, H, W)``; the mask of a sample without one may hold anything finite.
            has_mask: ``(B,)`` bool; all samples where not given. At least one must be true: with
                none the mean is 0/0 (use :class:`MultiTaskLoss`, which leaves the task out).

        Returns:
            ``segmentation``, ``segmentation/dice``, ``segmentation/bce``: scalars.
        """
        dice = _mean_over(soft_dice_loss(logits, mask, self.smooth), has_mask)
        bce = _mean_over(binary_cross_entropy(logits, mask), has_mask)
        return {
            "segmentation": self.w_dice * dice + self.w_bce * bce,
            "segmentation/dice": dice,
            "segmentation/bce": bce,
        }


class MultiTaskLoss(nn.Module):
    """The two tasks and their weighted ``total``.

    Args:
        w_dice, w_bce, smooth: see :class:`CombinedSegmentationLoss`.
        lambda_cls: weight of the classification in ``total``.
        label_smoothing: of the cross-entropy.
        class_weights: of the cross-entropy, one per class.
    """

    def __init__(
        self,
        w_dice: float = 0.5,
        w_bce: float = 0.5,
        smooth: float = 1.0,
        lambda_cls: float = 1.0,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.segmentation = CombinedSegmentationLoss(w_dice, w_bce, smooth)
        self.lambda_cls, self.label_smoothing = lambda_cls, label_smoothing
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights)

    def forward(
        self,
        output: dict[str, Tensor],
        mask: Tensor,
        cls: Tensor,
        has_mask: Tensor,
        n_masked: int | None = None,
    ) -> dict[str, Tensor]:
        """Losses of one batch.

        Args:
            output: the model's dict; a task whose key (``seg``, ``cls``) is missing is left out.
            mask: ``(B, 1, H, W)``; cls: ``(B,)`` long; has_mask: ``(B,)`` bool.
            n_masked: ``has_mask.sum()`` if the caller knows it (saves a device synchronisation).

        Returns:
            ``segmentation`` (absent without masks) with its terms, ``classification``, and
            ``total = segmentation + lambda_cls * classification``.
        """
        losses: dict[str, Tensor] = {}
        n_masked = int(has_mask.sum()) if n_masked is None else n_masked
        if "seg" in output and n_masked > 0:
            losses |= self.segmentation(output["seg"], mask, has_mask)
        if "cls" in output:
            losses["classification"] = F.cross_entropy(
                output["cls"].float(), cls, weight=self.class_weights, label_smoothing=self.label_smoothing
            )
        weights = {"segmentation": 1.0, "classification": self.lambda_cls}
        parts = [weight * losses[task] for task, weight in weights.items() if task in losses]
        losses["total"] = torch.stack(parts).sum() if parts else mask.new_zeros(())
        return losses


def _mean_over(values: Tensor, keep: Tensor | None) -> Tensor:
    """Mean of ``values`` where ``keep``; a product, not an index, so that the device is not asked."""
    if keep is None:
        return values.mean()
    # where, not a plain product: 0 * inf would be NaN in value and gradient.
    return torch.where(keep, values, 0.0).sum() / keep.sum()
