"""Clicks of a simulated user during training: drawn on the device, which is never asked for anything.

After Sofiiuk, Petrov and Konushin, *Reviving Iterative Training with Mask Guidance for Interactive
Segmentation*, ICIP 2022. (The user of the evaluation is another one, exact and slower.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from mtl.models.prompts import NEGATIVE, PADDING, POSITIVE, PointPrompts
from mtl.models.voxel_places import coordinates


def corrective_click(predicted: Tensor, wanted: Tensor, known: Tensor) -> PointPrompts:
    """One voxel of each sample at which the mask is wrong, every one as likely as the next.

    Args:
        predicted, wanted, known: ``(B, *sp)`` bool; unknown voxels are never clicked.

    Returns:
        ``(B, 1, S)`` and ``(B, 1)``: positive where the object was missed, negative where something else was
        taken, padding where nothing is wrong.
    """
    shape = tuple(predicted.shape[1:])
    wrong = ((predicted != wanted) & known).flatten(1)
    lots = torch.where(wrong, torch.rand(wrong.shape, device=wrong.device), -1.0)
    index = lots.argmax(1, keepdim=True)
    kind = torch.where(wanted.flatten(1).gather(1, index), POSITIVE, NEGATIVE)
    label = torch.where(wrong.gather(1, index), kind, PADDING)
    return PointPrompts(coordinates(index, shape), label)


def some_points(prompts: PointPrompts) -> PointPrompts:
    """Keep the first positive point of each sample, and each other one with a chance drawn per sample.

    So the head learns to do with one click as well as with all.
    """
    labels = prompts.labels
    first = (labels == POSITIVE) & ((labels == POSITIVE).cumsum(1) == 1)
    chance = torch.rand(len(labels), 1, device=labels.device)
    kept = first | (torch.rand(labels.shape, device=labels.device) < chance)
    return PointPrompts(prompts.points, torch.where(kept, labels, PADDING))


def joined(prompts: PointPrompts, more: PointPrompts) -> PointPrompts:
    """The points of both."""
    points = torch.cat([prompts.points, more.points], dim=1)
    return PointPrompts(points, torch.cat([prompts.labels, more.labels.to(prompts.labels.dtype)], dim=1))
