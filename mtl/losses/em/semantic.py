r"""Semantic loss: cross-entropy, soft IoU and soft Dice over known voxels and present classes.

With :math:`p = \mathrm{softmax}(z)`, the one-hot labels :math:`y` and the known voxels :math:`i` of a
sample, and :math:`C` the classes that the sample holds:

.. math:: L_\mathrm{CE} = -\frac{1}{n} \sum_i \log p_{i, y_i}, \qquad
          L_\mathrm{IoU} = 1 - \frac{1}{|C|} \sum_{c \in C} \frac{\sum_i p_{ic} y_{ic}}
                           {\sum_i p_{ic} + y_{ic} - p_{ic} y_{ic}}, \qquad
          L_\mathrm{Dice} = 1 - \frac{1}{|C|} \sum_{c \in C} \frac{2 \sum_i p_{ic} y_{ic}}{\sum_i p_{ic} +
          y_{ic}} .
"""

from __future__ import annotations

import torch
from torch import Tensor

IGNORE = -100


def semantic_loss(
    logits: Tensor,
    classes: Tensor,
    weight_ce: float = 1.0,
    weight_iou: float = 1.0,
    weight_dice: float = 1.0,
    ignore_index: int = IGNORE,
) -> dict[str, Tensor]:
    """Mean over the samples that have a known voxel.

    Args:
        logits: ``(B, C, *sp)``, computed in float32 at least.
        classes: ``(B, *sp)`` int64 in 0..C-1, or ``ignore_index`` where unknown (exactly zero gradient
            there).
        weight_ce, weight_iou, weight_dice: of the terms; one of weight 0 is left out.

    Returns:
        ``semantic`` (the weighted sum) and its unweighted terms ``semantic/ce``, ``/iou``, ``/dice``:
        scalars. With no known voxel at all every one is 0: leave the task out then.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    classes, known = classes.flatten(1), classes.flatten(1) != ignore_index
    log_p = logits.flatten(2).log_softmax(dim=1)
    picked = log_p.gather(1, torch.where(known, classes, 0)[:, None])[:, 0]
    parts: dict[str, tuple[float, Tensor]] = {}
    if weight_ce:
        cross_entropy = -torch.where(known, picked, 0.0).sum(1) / known.sum(1).clamp_min(1)
        parts["ce"] = weight_ce, mean_over_samples(cross_entropy, known.any(1))
    if weight_iou or weight_dice:
        overlap, predicted, true = _class_sums(log_p, classes, known)
        present = true > 0
        if weight_iou:
            iou = overlap / torch.where(present, predicted + true - overlap, 1.0)
            parts["iou"] = weight_iou, mean_over_samples(_one_minus_mean(iou, present), known.any(1))
        if weight_dice:
            dice = 2 * overlap / torch.where(present, predicted + true, 1.0)
            parts["dice"] = weight_dice, mean_over_samples(_one_minus_mean(dice, present), known.any(1))
    return weighted_sum("semantic", parts)


def weighted_sum(task: str, parts: dict[str, tuple[float, Tensor]]) -> dict[str, Tensor]:
    """``{task: sum of weight * term, task/term: term, ...}`` of (weight, term) by name."""
    total = sum(weight * term for weight, term in parts.values())
    return {task: total} | {f"{task}/{name}": term for name, (_, term) in parts.items()}


def mean_over_samples(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of ``(B,)`` values where ``counted``, 0 where none is; the device is not asked."""
    return torch.where(counted, values, 0.0).sum() / counted.sum().clamp_min(1)


def _class_sums(log_p: Tensor, classes: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``(B, C)``: sum of p y, of p and of y over known voxels."""
    p = torch.where(known[:, None], log_p.exp(), 0.0)
    # One class at a time: a one-hot copy of the labels would be as large as the logits.
    masks = [(classes == c).to(p.dtype) for c in range(p.shape[1])]
    overlap = torch.stack([(p[:, c] * mask).sum(1) for c, mask in enumerate(masks)], dim=1)
    return overlap, p.sum(2), torch.stack([mask.sum(1) for mask in masks], dim=1)


def _one_minus_mean(scores: Tensor, present: Tensor) -> Tensor:
    return 1 - torch.where(present, scores, 0.0).sum(1) / present.sum(1).clamp_min(1)
