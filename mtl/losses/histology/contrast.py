r"""Two contrastive losses: features against prototypes, pixels against pixels.

**Prototypes** (after Snell et al. 2017 and Li et al. 2021), on the grid of the embedding, with the area
shares :math:`a_i` of outlined and :math:`n_i` of pseudo-negative pixels in cell :math:`i` and
:math:`\hat v = v / \lVert v \rVert`:

.. math:: \mu^+ = \widehat{\textstyle\sum_i a_i o_i}, \quad \mu^- = \widehat{\textstyle\sum_i n_i o_i}, \quad
          \ell = \frac{1}{\sum_i a_i} \sum_i a_i
          \log\left(1 + e^{(o_i \cdot \mu^- - o_i \cdot \mu^+) / T}\right),
          \qquad L_\mathrm{obj} = \operatorname*{mean}_b \ell_b + \tfrac12\,\ell_\mathrm{batch},

once with the prototypes of the cell's own image and once with those of the batch. Where all embeddings
collapse into one, both products are equal and :math:`\ell = \log 2`, more than any separation costs.

**Pixels** (supervised InfoNCE, Khosla et al. 2020, one sum inside the logarithm), with the sampled positives
:math:`A` and negatives :math:`R` of an image and :math:`s_{ij} = e_i \cdot e_j / T`:

.. math:: L_\mathrm{pix} = \operatorname*{mean}_{i \in A} \Bigl(
          \log\!\!\sum_{j \in A \cup R,\, j \ne i}\!\! e^{s_{ij}} - \log\!\sum_{j \in A,\, j \ne i}\!
          e^{s_{ij}} \Bigr)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.losses.histology.config import LossConfig

#: So far below the lowest product that no sum notices it. Much lower, and what follows is denormal and slow.
UNNOTICED = 30.0


class Term(NamedTuple):
    """A loss, and whether there was anything to compute it from: both scalars on the device."""

    value: Tensor
    there: Tensor


def prototype_loss(embedding: Tensor, positive_mask: Tensor, negative: Tensor, config: LossConfig) -> Term:
    """Both levels.

    Args:
        embedding: ``(B, D, h, w)`` of length 1 per cell; ``h`` may be any part of ``H``.
        positive_mask, negative: ``(B, 1, H, W)`` of 0 and 1.

    An image counts at its level if it has two cells with outlined pixels and one with pseudo-negatives, and
    so does the batch; where neither does, there is no loss.
    """
    o = embedding.flatten(2)
    masks = (positive_mask, negative)
    shares = torch.stack([_on_grid(mask, embedding.shape[-2:]) for mask in masks], dim=1)  # (B, 2, cells)
    sums = o @ shares.transpose(1, 2)  # (B, D, 2); those of the batch are their sum, and `o` is read once
    towards = [_background_minus_foreground(group) for group in (sums, sums.sum(0, keepdim=True))]
    gaps = torch.stack(torch.broadcast_tensors(*towards), dim=1) @ o / config.temperature  # (B, 2, cells)
    a = shares[:, 0]
    costs, area = (a[:, None] * F.softplus(gaps)).sum(2), a.sum(1)
    cells, any_negative = (a > 0).sum(1), (shares[:, 1] > 0).any(1)
    counts = (cells >= 2) & any_negative
    per_image = torch.where(counts, costs[:, 0] / area.clamp(min=1e-6), 0.0)
    images = per_image.sum() / counts.sum().clamp(min=1)
    there = (cells.sum() >= 2) & any_negative.any()
    batch = torch.where(there, costs[:, 1].sum() / area.sum().clamp(min=1e-6), 0.0)
    return Term(config.image_weight * images + config.batch_weight * batch, there)


def _background_minus_foreground(sums: Tensor) -> Tensor:
    """Prototype of the pseudo-negatives minus that of the outlined: sums ``(G, D, 2)`` to ``(G, D)``."""
    foreground, background = F.normalize(sums, dim=1).unbind(2)
    return background - foreground


def _on_grid(mask: Tensor, grid: torch.Size) -> Tensor:
    """Share of 1 in each cell: ``(B, 1, H, W)`` to ``(B, h * w)``; the border may cut the last cells."""
    if mask.shape[-2:] == grid:
        return mask.flatten(1)
    stride = [_stride(side, cells) for side, cells in zip(mask.shape[-2:], grid, strict=True)]
    pooled = F.avg_pool2d(mask, stride, ceil_mode=True, count_include_pad=False)
    if pooled.shape[-2:] != grid:  # a grid that no stride gives
        pooled = F.adaptive_avg_pool2d(mask, grid)
    return pooled.flatten(1)


def _stride(side: int, cells: int) -> int:
    """Pixels of a cell: of poolings by two where they give so many cells, the last one cut by the border."""
    poolings = 2 ** (-(-side // cells) - 1).bit_length()
    return poolings if -(-side // poolings) == cells else -(-side // cells)


def pixel_loss(embedding: Tensor, positive_mask: Tensor, probability: Tensor, config: LossConfig) -> Term:
    """Supervised InfoNCE over at most ``most_pixels`` random positives and as many negatives of each image.

    Args:
        embedding: ``(B, D, H, W)`` of length 1 per pixel.
        positive_mask, probability: ``(B, 1, H, W)``; negatives are unlabelled pixels below
        ``negative_below``.

    An image with fewer than two positives, or without a negative, does not count.
    """
    e, y = embedding.flatten(2), positive_mask.flatten(1)
    eligible = (probability.flatten(1) < config.negative_below) & (y < 0.5)
    drawn, real = _sample(e, torch.stack([y > 0.5, eligible], dim=1), config.most_pixels)
    (a, r), (real_a, real_r) = drawn.unbind(1), real.unbind(1)
    never = -1 / config.temperature - UNNOTICED
    same = _similarity(a, a, real_a, config.temperature, never)
    same.diagonal(dim1=1, dim2=2).fill_(never)
    other = _similarity(a, r, real_r, config.temperature, never)
    alike = torch.logsumexp(same, dim=2)
    anyone = torch.logaddexp(alike, torch.logsumexp(other, dim=2))
    counts = (real_a.sum(1) >= 2) & real_r.any(1)
    anchors = real_a & counts[:, None]
    per_image = torch.where(anchors, anyone - alike, 0.0).sum(1) / anchors.sum(1).clamp(min=1)
    return Term(per_image.sum() / counts.sum().clamp(min=1), counts.any())


def _similarity(anchors: Tensor, others: Tensor, real: Tensor, temperature: float, never: float) -> Tensor:
    """``(B, i, j)``: products over the temperature; about ``never`` where j is not ``real`` (B, j)."""
    others = others * real[..., None]
    absent = torch.where(real, 0.0, never)[:, None].to(anchors.dtype)
    return torch.baddbmm(absent, anchors, others.transpose(1, 2), alpha=1 / temperature)


def _sample(e: Tensor, masks: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Up to ``most`` random pixels of each mask (B, M, N): embeddings (B, M, k, D), and which are real.

    The device is not asked how many there are: missing ones are drawn from elsewhere and marked. All are
    gathered at once, because a gather's gradient is as large as ``e`` (B, D, N).
    """
    k = min(most, masks.shape[2])
    keys = torch.rand(masks.shape, device=masks.device).masked_fill_(~masks, -1.0)
    best, places = keys.topk(k, dim=2)
    picked = e.gather(2, places.flatten(1)[:, None].expand(-1, e.shape[1], -1))
    return picked.unflatten(2, (-1, k)).permute(0, 2, 3, 1), best >= 0
