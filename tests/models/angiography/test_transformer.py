"""The block against torch's own attention and against the formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtl.errors import ParameterError
from mtl.models.angiography.transformer import CrossAttention, SelfAttention, TransformerBlock, attend


def peer(attention: SelfAttention, width: int) -> nn.MultiheadAttention:
    """torch's module with the same weights."""
    other = nn.MultiheadAttention(width, attention.heads, batch_first=True).double()
    other.in_proj_weight.data, other.in_proj_bias.data = attention.qkv.weight.data, attention.qkv.bias.data
    other.out_proj.weight.data, other.out_proj.bias.data = attention.out.weight.data, attention.out.bias.data
    return other


@pytest.mark.parametrize(("causal", "masked"), [(False, False), (True, False), (False, True)])
def test_self_attention_equals_torchs(causal: bool, masked: bool) -> None:
    attention = SelfAttention(12, 3).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]]) if masked else None
    later = torch.ones(5, 5, dtype=torch.bool).triu(1) if causal else None
    expected, _ = peer(attention, 12)(
        x, x, x, key_padding_mask=None if mask is None else ~mask, attn_mask=later
    )
    torch.testing.assert_close(attention(x, mask, causal), expected)


def slow_cross_attention(module: CrossAttention, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """One sequence, one head and one token at a time."""
    width, size = x.shape[1], x.shape[1] // module.heads
    q, k, v = module.query(x), *module.key_value(memory).split(width, dim=1)
    rows = []
    for token in range(len(x)):
        parts = []
        for h in range(module.heads):
            at = slice(h * size, (h + 1) * size)
            score = torch.stack([q[token, at] @ k[n, at] / size**0.5 for n in range(len(memory))])
            share = score.exp() / score.exp().sum()
            parts.append(sum(share[n] * v[n, at] for n in range(len(memory))))
        rows.append(torch.cat(parts))
    return module.out(torch.stack(rows))


def test_cross_attention_equals_the_loop_and_rows_share_a_memory() -> None:
    module = CrossAttention(8, 2, memory_width=6).double()
    x, memory = torch.randn(6, 3, 8).double(), torch.randn(2, 4, 6).double()
    found = module(x, module.read(memory))
    for row in range(6):
        torch.testing.assert_close(found[row], slow_cross_attention(module, x[row], memory[row // 3]))


def test_weights_are_those_that_the_values_are_mixed_with() -> None:
    module = CrossAttention(8, 2, memory_width=6).double()
    x, memory = torch.randn(4, 3, 8).double(), torch.randn(2, 5, 6).double()
    read = module.read(memory)
    weights = module.weights(x, read)
    assert weights.shape == (4, 2, 3, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 2, 3).double())
    mixed = weights @ read.values.repeat_interleave(2, dim=0)
    torch.testing.assert_close(module.out(mixed.transpose(1, 2).flatten(2)), module(x, read))


def test_a_block_is_pre_norm_and_residual() -> None:
    block = TransformerBlock(8, 2, memory_width=8).double()
    x, memory = torch.randn(1, 3, 8).double(), torch.randn(1, 4, 8).double()
    read = block.cross_attention.read(memory)
    y = x + block.attention(block.norm1(x), causal=True)
    y = y + block.cross_attention(block.norm_memory(y), read)
    y = y + block.mlp[2](nn.functional.gelu(block.mlp[0](block.norm2(y))))
    torch.testing.assert_close(block(x, read, causal=True), y)


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ParameterError, match="width=10, heads=4"):
        TransformerBlock(10, 4)


def test_attention_of_bfloat16_has_the_gradients_of_float32() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, length, 8).bfloat16().requires_grad_() for length in (5, 7, 7))
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(q, k, v)
    assert found.dtype == torch.bfloat16
    found.float().square().sum().backward()
    wide = [x.detach().float().requires_grad_() for x in (q, k, v)]
    nn.functional.scaled_dot_product_attention(*wide).square().sum().backward()
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    assert torch.equal(attend(*exact), nn.functional.scaled_dot_product_attention(*exact))
    for narrow, exact in zip((q, k, v), wide, strict=True):
        torch.testing.assert_close(narrow.grad.float(), exact.grad, atol=0.02, rtol=0.02)
