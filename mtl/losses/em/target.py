r"""Mask of the prompted object: binary cross-entropy and soft Dice over the known voxels of a sample.

.. math:: L_\mathrm{CE} = \frac1n \sum_i \mathrm{BCE}(z_i, y_i), \qquad
          L_\mathrm{Dice} = 1 - \frac{2 \sum_i p_i y_i}{\sum_i p_i + y_i}, \qquad p = \sigma(z)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.losses.em.semantic import IGNORE, mean_over_samples, weighted_sum


def target_loss(
    logits: Tensor,
    labels: Tensor,
    target_ids: Tensor,
    weight_ce: float = 1.0,
    weight_dice: float = 1.0,
    ignore_index: int = IGNORE,
) -> dict[str, Tensor]:
    """Mean over the samples in which the wanted object has a voxel.

    Args:
        logits: ``(B, 1, *sp)``; labels: ``(B, *sp)`` int64 ids, ``ignore_index`` where unknown.
        target_ids: ``(B,)`` int64, the id that the prompts mean; 0 or less for none.

    Returns:
        ``target`` (the weighted sum) and its unweighted terms ``target/ce``, ``target/dice``: scalars.
    """
    logits = logits.flatten(1) if logits.dtype == torch.float64 else logits.flatten(1).float()
    labels = labels.flatten(1)
    known = labels != ignore_index
    mask = (labels == target_ids[:, None]) & (labels > 0)
    y, counted = mask.to(logits.dtype), mask.any(1)
    parts: dict[str, tuple[float, Tensor]] = {}
    if weight_ce:
        values = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
        mean = torch.where(known, values, 0.0).sum(1) / known.sum(1).clamp_min(1)
        parts["ce"] = weight_ce, mean_over_samples(mean, counted)
    if weight_dice:
        p = torch.where(known, logits.sigmoid(), 0.0)
        dice = 2 * (p * y).sum(1) / torch.where(counted, p.sum(1) + y.sum(1), 1.0)
        parts["dice"] = weight_dice, mean_over_samples(1 - dice, counted)
    return weighted_sum("target", parts)
