"""The layers of a decoder for one new token per row, with weights laid out for it once per generation.

The same numbers as the blocks themselves give in eval mode, up to rounding; without what a single token does
not need: masks, dropout, transposed copies.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from mtl.models.angiography.key_value_cache import KeyValueCache
from mtl.models.angiography.packed_linear import Linear, packed_linear
from mtl.models.angiography.transformer import Memory, Past, TransformerBlock


class Layers(Protocol):
    """What is needed of a decoder: see `CaptioningDecoder`."""

    words: nn.Embedding
    blocks: nn.ModuleList
    norm: nn.LayerNorm


class SingleTokenStep:
    """All layers, for ``rows`` rows: embedded tokens ``(rows, width)`` to logits ``(rows, vocabulary)``."""

    def __init__(self, decoder: Layers, rows: int) -> None:
        self.blocks = [SingleTokenBlock(block, rows) for block in decoder.blocks]
        self.norm, self.words = decoder.norm, packed_linear(decoder.words.weight, None, rows)

    def __call__(self, x: Tensor, cache: KeyValueCache) -> Tensor:
        for index, block in enumerate(self.blocks):
            x = block(x, cache.memory[index], cache.layer(index))
        return self.words(normed(self.norm, x))


class SingleTokenBlock:
    """One `TransformerBlock` with cross-attention: ``(rows, width)`` to the same shape."""

    def __init__(self, block: TransformerBlock, rows: int) -> None:
        self.block, self.heads = block, block.attention.heads
        self.qkv = packed(block.attention.qkv, rows)
        self.out = packed(block.attention.out, rows)
        self.query = packed(block.cross_attention.query, rows)
        self.cross_out = packed(block.cross_attention.out, rows)
        self.widen, self.narrow = packed(block.mlp[0], rows), packed(block.mlp[2], rows)

    def __call__(self, x: Tensor, memory: Memory, past: Past) -> Tensor:
        """``past`` takes in the token's keys and values."""
        q, k, v = self.qkv(normed(self.block.norm1, x)).view(len(x), 3, 1, self.heads, -1).unbind(1)
        keys, values = past.extend(k, v)
        found = F.scaled_dot_product_attention(q.transpose(1, 2), keys, values)
        x = x + self.out(found.reshape(x.shape))
        asked = self.query(normed(self.block.norm_memory, x))
        x = x + self.cross_out(self._read(asked, memory))
        return x + self.narrow(self.block.mlp[1](self.widen(normed(self.block.norm2, x))))

    def _read(self, asked: Tensor, memory: Memory) -> Tensor:
        """Rows that share a video are queries beside each other."""
        videos = len(memory.keys)
        q = asked.view(videos, -1, self.heads, memory.keys.shape[-1]).transpose(1, 2)
        return F.scaled_dot_product_attention(q, *memory).transpose(1, 2).reshape(asked.shape)


def packed(layer: nn.Linear, rows: int) -> Linear:
    """That layer for ``rows`` rows."""
    return packed_linear(layer.weight, layer.bias, rows)


def normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Without the bookkeeping of a module's call."""
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
