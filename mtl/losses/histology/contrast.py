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
    a, n = (_on_grid(mask, embedding.shape[-2:]) for mask in (positive_mask, negative))
    per_image, counts = _against_prototypes(o, a, n, config.temperature)
    images = per_image.sum() / counts.sum().clamp(min=1)
    together = [x.transpose(0, 1).flatten(1)[None] for x in (o, a[:, None], n[:, None])]
    batch, there = _against_prototypes(together[0], together[1][:, 0], together[2][:, 0], config.temperature)
    return Term(config.image_weight * images + config.batch_weight * batch.sum(), there[0] > 0)


def _against_prototypes(o: Tensor, a: Tensor, n: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Loss of each group ``(G,)``, 0 where it does not count, and 1 where it does.

    ``o`` (G, D, cells), ``a`` and ``n`` (G, cells).
    """
    counts = ((a > 0).sum(1) >= 2) & (n > 0).any(1)
    foreground, background = (F.normalize(torch.einsum("gdc,gc->gd", o, share), dim=1) for share in (a, n))
    gap = torch.einsum("gdc,gd->gc", o, background - foreground) / temperature
    loss = (a * F.softplus(gap)).sum(1) / a.sum(1).clamp(min=1e-6)
    return torch.where(counts, loss, 0.0), counts.to(loss.dtype)


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
    (a, real_a), (r, real_r) = (_sample(e, mask, config.most_pixels) for mask in (y > 0.5, eligible))
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


def _sample(e: Tensor, mask: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Up to ``most`` random pixels of ``mask`` (B, N): embeddings (B, k, D), and which of them are real.

    The device is not asked how many there are: missing ones are drawn from elsewhere and marked.
    """
    k = min(most, mask.shape[1])
    keys = torch.rand(mask.shape, device=mask.device).masked_fill_(~mask, -1.0)
    best, places = keys.topk(k, dim=1)
    picked = e.gather(2, places[:, None].expand(-1, e.shape[1], -1))
    return picked.transpose(1, 2), best >= 0
