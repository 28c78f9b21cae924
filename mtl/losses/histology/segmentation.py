r"""Segmentation from outlined nuclei and pseudo-labels, and the edge term.

With logits :math:`z`, :math:`p = \sigma(z)`, outlined pixels :math:`y`, pseudo-labels :math:`P, N` and their
ramp :math:`\rho \in [0, 1]`, let :math:`c = \min(y + P, 1)`, :math:`w = y\,w_\mathrm{pixel} + 0.3\,\rho\,(P +
N)` and :math:`k = y + \rho\,(P + N)`. Then

.. math:: L_\mathrm{seg} = \frac12 \frac{\sum w\,\mathrm{BCE}(z, c)}{\sum w}
          + \frac12 \left(1 - \frac{2 \sum k\,p\,c + 1}{\sum k\,p^2 + \sum k\,c^2 + 1}\right)
          + 0.05\,\operatorname*{mean}_{y = 0} \mathrm{BCE}(z, 0),

the Dice part per sample, the others over the batch. Its squares (Milletari et al., *V-Net*, 3DV 2016) keep
the many small probabilities of a large background from swamping a few nuclei. The background term counts
confident positives too: without it, predicting nucleus everywhere would cost nearly nothing, because
pseudo-labels confirm it.

.. math:: L_\mathrm{edge} = \operatorname*{mean}_{E} \mathrm{BCE}(z, y), \qquad
          E = [\lvert\mathrm{Sobel}(y)\rvert > 0]\; \bigl(y + (1 - y)[p < \tfrac12]\bigr)

leaves out the outer side of an outline where the network sees a nucleus: it may be a neighbour that nobody
drew.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.losses.histology.config import LossConfig
from mtl.losses.histology.pseudo_labels import PseudoLabels

SMOOTH = 1.0  # pixels


def segmentation_loss(
    logits: Tensor,
    positive_mask: Tensor,
    pseudo: PseudoLabels,
    config: LossConfig,
    pixel_weight: Tensor | None = None,
    ramp: float | Tensor = 1.0,
) -> Tensor:
    """Scalar; all tensors ``(B, 1, H, W)``. ``ramp``: how much pseudo-labels count yet."""
    y = positive_mask
    target = (y + pseudo.positive).clamp(max=1)
    guessed = ramp * (pseudo.positive + pseudo.negative)
    weight = (y if pixel_weight is None else y * pixel_weight) + config.pseudo_weight * guessed
    # BCE(z, c) = BCE(z, 0) - z c: one softplus serves both terms; its rounding must not fall below 0.
    as_background = F.softplus(logits)
    costs = (as_background - logits * target).clamp(min=0)
    cross_entropy = (weight * costs).sum() / _at_least_tiny(weight.sum())
    known = (y + guessed).flatten(1)
    p, c = logits.sigmoid().flatten(1), target.flatten(1)
    overlap = 2 * (known * p * c).sum(1) + SMOOTH
    both = (known * p.square()).sum(1) + (known * c.square()).sum(1) + SMOOTH
    dice = ((both - overlap) / both).clamp(min=0)
    unlabelled = 1 - y
    background = (unlabelled * as_background).sum() / unlabelled.sum().clamp(min=1)
    return 0.5 * cross_entropy + 0.5 * dice.mean() + config.background_weight * background


def edge_loss(logits: Tensor, positive_mask: Tensor, probability: Tensor) -> Tensor:
    """Scalar; 0 without an outline. ``probability`` (B, 1, H, W): detached, says which outer pixels count."""
    y = positive_mask
    counted = outline_band(y) * (y + (1 - y) * (probability < 0.5))
    return (counted * (F.softplus(logits) - logits * y)).sum() / counted.sum().clamp(min=1)


@torch.no_grad()
def outline_band(mask: Tensor) -> Tensor:
    """Where the Sobel gradient of a mask ``(B, 1, H, W)`` is not 0: float of 0 and 1; edges are repeated."""
    padded = F.pad(mask, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    horizontal, vertical = rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]
    return ((horizontal != 0) | (vertical != 0)).to(mask.dtype)


def _at_least_tiny(x: Tensor) -> Tensor:
    return x.clamp(min=torch.finfo(x.dtype).tiny)
