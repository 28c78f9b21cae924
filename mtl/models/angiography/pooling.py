r"""One vector of many tokens: their mean, what a learned query finds in them, or what each place says.

.. math:: z = W_o \sum_n \mathrm{softmax}_n\bigl(q \cdot W_k x_n / \sqrt d\bigr)\, W_v x_n

per head (Lee et al., *Set Transformer*, ICML 2019, with one seed). Mean and query treat places alike until
the network has learnt to tell them apart. ``places`` has weights of its own for each,

.. math:: z = c + \sum_n W_n V x_n

with a narrow :math:`V`, so that the weights stay few: where much depends on *where* something is seen, as
with vessels that are filmed from a few angles, it learns sooner.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.errors import DataError, ParameterError
from mtl.models.angiography.transformer import CrossAttention

POOLS = ("attention", "mean", "places")
NARROW = 16  # channels of V


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


class PlacePool(nn.Module):
    """``(B, N, D)`` to ``(B, D)`` through weights for each of ``places`` places.

    Places that a shorter clip lacks, the last ones, add nothing. Raises `DataError` for more than there are.
    """

    def __init__(self, width: int, places: int) -> None:
        super().__init__()
        self.places = places
        self.narrow = nn.Linear(width, NARROW)
        self.out = nn.Linear(places * NARROW, width)

    def forward(self, tokens: Tensor) -> Tensor:
        missing = self.places - tokens.shape[1]
        if missing < 0:
            raise DataError(f"{tokens.shape[1]} tokens: this pool has weights for {self.places} places")
        return self.out(F.pad(self.narrow(tokens), (0, 0, 0, missing)).flatten(1))


def make_pool(kind: str, width: int, heads: int, places: int | None = None) -> nn.Module:
    """The pool of that name; ``places``: most tokens, where that is known.

    Raises `ParameterError` for a name that is not of ``POOLS``, or ``places`` of nobody knows how many.
    """
    if kind not in POOLS or (kind == "places" and places is None):
        known = POOLS if places is not None else [name for name in POOLS if name != "places"]
        raise ParameterError(f"pool: {kind!r} is not one of {', '.join(known)}")
    if kind == "places":
        return PlacePool(width, places)
    return AttentionPool(width, heads) if kind == "attention" else MeanPool()
