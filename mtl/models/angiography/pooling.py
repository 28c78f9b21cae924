r"""One vector of many tokens: their mean, or what a learned query finds in them.

.. math:: z = W_o \sum_n \mathrm{softmax}_n\bigl(q \cdot W_k x_n / \sqrt d\bigr)\, W_v x_n

per head (Lee et al., *Set Transformer*, ICML 2019, with one seed).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl.errors import ParameterError
from mtl.models.angiography.transformer import CrossAttention

POOLS = ("attention", "mean")


class MeanPool(nn.Module):
    """``(B, N, D)`` to its mean ``(B, D)``."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.mean(dim=1)


class AttentionPool(nn.Module):
    """``(B, N, D)`` to ``(B, D)`` through one learned query."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.seed = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.attention = CrossAttention(width, heads, width)

    def forward(self, tokens: Tensor) -> Tensor:
        seeds = self.seed.expand(len(tokens), -1, -1)
        return self.attention(seeds, self.attention.read(tokens)).squeeze(1)


def make_pool(kind: str, width: int, heads: int) -> nn.Module:
    """The pool of that name. Raises `ParameterError` for a name that is not of ``POOLS``."""
    if kind not in POOLS:
        raise ParameterError(f"pool: {kind!r} is not one of {', '.join(POOLS)}")
    return AttentionPool(width, heads) if kind == "attention" else MeanPool()
