r"""What the network is sure of where nobody has drawn: pseudo-labels, without gradient.

.. math:: P = [p > 0.9]\,(1 - y), \qquad N = [p < 0.2]\,(1 - y)

with the outlined mask :math:`y` and a probability :math:`p`, the network's own or a teacher's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from skimage.morphology import remove_small_holes, remove_small_objects
from torch import Tensor

from mtl.losses.histology.config import LossConfig


class PseudoLabels(NamedTuple):
    """Float ``(B, 1, H, W)`` of 0 and 1: surely nucleus, surely not; no pixel is both or outlined."""

    positive: Tensor
    negative: Tensor


@torch.no_grad()
def pseudo_labels(probability: Tensor, positive_mask: Tensor, config: LossConfig) -> PseudoLabels:
    """Pseudo-labels of probabilities ``(B, 1, H, W)``, outside ``positive_mask`` (B, 1, H, W) of 0 and 1."""
    unlabelled = positive_mask < 0.5
    positive = (probability > config.confident) & unlabelled
    negative = (probability < config.unlikely) & unlabelled
    if config.clean_up:
        # Filled holes may reach into what was negative or outlined.
        positive = _cleaned(positive, config.smallest) & unlabelled
        negative = _cleaned(negative, config.smallest) & unlabelled & ~positive
    return PseudoLabels(positive.to(probability.dtype), negative.to(probability.dtype))


def _cleaned(mask: Tensor, smallest: int) -> Tensor:
    """Without components, and without holes, of fewer than ``smallest`` pixels."""
    planes = [
        remove_small_holes(remove_small_objects(plane, max_size=smallest - 1), max_size=smallest - 1)
        for plane in mask[:, 0].cpu().numpy()
    ]
    return torch.from_numpy(np.stack(planes)[:, None]).to(mask.device)


@torch.no_grad()
def agreement(labels: PseudoLabels, hidden: Tensor, positive_mask: Tensor) -> dict[str, Tensor]:
    """How right pseudo-labels are: counts, so that means over batches can be exact.

    Args:
        hidden: (B, 1, H, W) bool, all nuclei, which no loss sees; positive_mask: the outlined ones.

    Returns:
        ``pseudo_positive``, ``right_positive``, ``hidden_positive`` (unlabelled nucleus pixels), and the same
        of the negatives: scalars.
    """
    unlabelled = positive_mask < 0.5
    nucleus, background = hidden.bool() & unlabelled, ~hidden.bool() & unlabelled
    found = {}
    for name, mask, truth in (
        ("positive", labels.positive, nucleus),
        ("negative", labels.negative, background),
    ):
        found |= {
            f"pseudo_{name}": mask.sum(),
            f"right_{name}": (mask * truth).sum(),
            f"hidden_{name}": truth.sum().to(mask.dtype),
        }
    return found
