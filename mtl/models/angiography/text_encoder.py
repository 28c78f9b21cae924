r"""A small transformer over the tokens of a report.

.. math:: x_l = E_{w_l} + p_l, \qquad y = \mathrm{LN}(\mathrm{blocks}(x)), \qquad z = W_o\,\mathrm{pool}(y) +
c

Every token looks at every other but PAD. The projection comes last and nothing follows it: an activation
would keep the embedding in one corner of the space.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl.errors import ParameterError
from mtl.models.angiography.token_checks import check_tokens
from mtl.models.angiography.transformer import TransformerBlock

TEXT_POOLS = ("eos", "mean")


class TextEncoder(nn.Module):
    """Tokens to one vector; PAD changes nothing.

    Args:
        vocabulary: number of token ids; width, depth, heads: of the transformer.
        context: most tokens of a report; out: of the projection.
        pool: ``eos`` (the last token that is not PAD) or ``mean`` (of all that are not PAD).
        pad: id of PAD; dropout: of the blocks.

    Raises:
        ParameterError: names the argument that is out of range.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 512,
        depth: int = 6,
        heads: int = 8,
        context: int = 128,
        out: int = 512,
        pool: str = "eos",
        pad: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if pool not in TEXT_POOLS:
            raise ParameterError(f"pool: {pool!r} is not one of {', '.join(TEXT_POOLS)}")
        if not 0 <= pad < vocabulary or context < 1 or depth < 1:
            raise ParameterError(
                f"vocabulary={vocabulary}, pad={pad}, context={context}, depth={depth}: pad in the "
                "vocabulary, context and depth from 1 on are expected"
            )
        self.vocabulary, self.context, self.pad, self.pool_kind = vocabulary, context, pad, pool
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(context, width))
        for table in (self.words.weight, self.positions):
            nn.init.trunc_normal_(table, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, out)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, L)`` int64, PAD at the end, to ``(B, out)``.

        Raises:
            DataError: more tokens than the context holds, or (on the CPU) an id out of range.
        """
        check_tokens(tokens, self.vocabulary, self.context)
        real = tokens != self.pad
        x = self.words(tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, key_mask=real)
        return self.project(pooled_text(self.norm(x), real, self.pool_kind))


def pooled_text(tokens: Tensor, real: Tensor, kind: str) -> Tensor:
    """``(B, L, D)`` to ``(B, D)``: the last token, or the mean of the tokens, where ``real`` (B, L) is "
    "true."""
    if kind == "mean":
        return (tokens * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
    places = torch.arange(real.shape[1], device=real.device)
    last = (places * real).amax(dim=1)
    return tokens[torch.arange(len(tokens), device=real.device), last]
