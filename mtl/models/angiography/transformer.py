r"""The pre-LN transformer block that all networks of this study are made of.

.. math:: x \leftarrow x + \mathrm{SA}(\mathrm{LN}(x)), \quad
          x \leftarrow x + \mathrm{CA}(\mathrm{LN}(x), m), \quad
          x \leftarrow x + W_2\,\mathrm{GELU}(W_1\,\mathrm{LN}(x)),

.. math:: \mathrm{A}(q, k, v) = \mathrm{softmax}\bigl(q k^\top / \sqrt{d}\bigr)\, v

(Vaswani et al., NeurIPS 2017; layer norm first: Xiong et al., ICML 2020.) The middle line is there in
decoders only.

MONAI's ``TransformerBlock`` is not used: its attention needs ``einops``, which this collection does not
install; its fast path applies attention dropout in eval mode too; and it can neither keep keys and values
between the steps of a generation nor take a memory whose keys are already computed.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.errors import ParameterError


class Memory(NamedTuple):
    """Keys and values ``(B, heads, N, d)`` of one layer's cross-attention."""

    keys: Tensor
    values: Tensor


class Past(Protocol):
    """What self-attention keeps of earlier tokens in one layer."""

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """New keys and values ``(B, L, heads, d)`` to all so far, ``(B, heads, T + L, d)``."""


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection; ``(B, L, width)`` to the same shape."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = checked_heads(width, heads)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, key_mask: Tensor | None = None, causal: bool = False, past: Past | None = None
    ) -> Tensor:
        """Attend.

        Args:
            key_mask: ``(B, L)`` bool, True where a token may be looked at.
            causal: tokens look at themselves and earlier ones only.
            past: keeps keys and values; ``x`` holds the new tokens, several only at the very beginning.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        if past is None:
            k, v = k.transpose(1, 2), v.transpose(1, 2)
        else:
            k, v = past.extend(k, v)
        mask = None if key_mask is None else key_mask[:, None, None, :]
        several = x.shape[1] > 1  # a single token looks at everything before it
        found = attend(q.transpose(1, 2), k, v, mask, causal and several)
        return self.out(found.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Multi-head attention of tokens ``(B * r, L, width)`` to a memory of ``B`` samples.

    ``r`` sequences in a row that share a sample (tasks, beams) are taken as more queries to one memory,
    which is neither copied nor read twice.
    """

    def __init__(self, width: int, heads: int, memory_width: int) -> None:
        super().__init__()
        self.heads = checked_heads(width, heads)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(memory_width, 2 * width)
        self.out = nn.Linear(width, width)

    def read(self, memory: Tensor) -> Memory:
        """Keys and values of ``(B, N, memory_width)``."""
        keys, values = self.key_value(memory).unflatten(-1, (2, self.heads, -1)).unbind(2)
        return Memory(keys.transpose(1, 2), values.transpose(1, 2))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """``(B * r, L, width)`` to the same shape."""
        found = attend(self._queries(x, memory), *memory)
        return self.out(found.transpose(1, 2).reshape(x.shape))

    def weights(self, x: Tensor, memory: Memory) -> Tensor:
        """What each token looks at: ``(B * r, heads, L, N)``, rows summing to 1. For pictures."""
        q = self._queries(x, memory)
        found = (q @ memory.keys.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return found.unflatten(2, (-1, x.shape[1])).transpose(1, 2).flatten(0, 1)

    def _queries(self, x: Tensor, memory: Memory) -> Tensor:
        """``(B, heads, r * L, d)``."""
        return self.query(x).view(memory.keys.shape[0], -1, self.heads, memory.keys.shape[-1]).transpose(1, 2)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention where there is a memory, and two layers with a GELU between.

    Args:
        width, heads: of the tokens; mlp_ratio: hidden units of the last step per channel.
        memory_width: of the memory's tokens; None: no cross-attention.
        dropout: of what each step adds.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_ratio: float = 4.0,
        memory_width: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = round(width * mlp_ratio)
        self.norm1, self.attention = nn.LayerNorm(width), SelfAttention(width, heads)
        self.has_memory = memory_width is not None
        if memory_width is not None:
            self.norm_memory = nn.LayerNorm(width)
            self.cross_attention = CrossAttention(width, heads, memory_width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        memory: Memory | None = None,
        *,
        key_mask: Tensor | None = None,
        causal: bool = False,
        past: Past | None = None,
        seen: list[Tensor] | None = None,
    ) -> Tensor:
        """``(B, L, width)`` to the same shape; ``seen`` collects the cross-attention's weights."""
        x = x + self.dropout(self.attention(self.norm1(x), key_mask, causal, past))
        if self.has_memory:
            asked = self.norm_memory(x)
            x = x + self.dropout(self.cross_attention(asked, memory))
            if seen is not None:
                seen.append(self.cross_attention.weights(asked, memory))
        return x + self.dropout(self.mlp(self.norm2(x)))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Attention of queries ``(B, heads, L, d)`` to keys and values ``(B, heads, N, d)``.

    On the CPU gradients of bfloat16 are taken in float32: PyTorch's own kernel needs some 25 ms for its
    backward even where there is next to nothing to do (version 2.13, measured on two processors).
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    with torch.autocast("cpu", enabled=False):
        found = F.scaled_dot_product_attention(
            q.float(), k.float(), v.float(), attn_mask=mask, is_causal=causal
        )
    return found.to(v.dtype)


def checked_heads(width: int, heads: int) -> int:
    """``heads``, or `ParameterError` if they do not share ``width`` evenly."""
    if heads < 1 or width < 1 or width % heads:
        raise ParameterError(f"width={width}, heads={heads}: a width that the heads divide is expected")
    return heads
