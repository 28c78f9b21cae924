"""One token at a time gives what the blocks give for all of them, with packed weights and without."""

from __future__ import annotations

import pytest
import torch

from mtl.models.angiography import CaptioningDecoder
from mtl.models.angiography.packed_linear import packed_linear, packing_helps


@pytest.mark.parametrize("rows", [1, 4, 6, 65])
def test_steps_give_the_logits_of_the_whole_row(rows: int) -> None:
    torch.manual_seed(0)
    decoder = CaptioningDecoder(40, 16, 2, 2, context=12, memory_width=8, dropout=0.3).eval()
    memory = torch.randn(1 if rows % 2 else rows // 2, 5, 8)  # several rows share a video
    tokens = torch.randint(4, 40, (rows, 9))
    with torch.inference_mode():
        expected = decoder(tokens, memory)
        cache = decoder.make_cache(memory, rows, 9)
        found = [decoder.step(tokens[:, :3], cache)]
        found += [decoder.step(tokens[:, place : place + 1], cache) for place in range(3, 9)]
    # float32, sums in another order.
    torch.testing.assert_close(torch.stack(found, 1), expected[:, 2:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 64, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_packed_layer_is_the_layer(rows: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(20, 30).to(dtype), torch.randn(rows, 20).to(dtype)
    with torch.inference_mode():
        quick = packed_linear(layer.weight, layer.bias, rows)
        torch.testing.assert_close(quick(x), layer(x))
        torch.testing.assert_close(packed_linear(layer.weight, None, rows)(x), x @ layer.weight.T)
        torch.testing.assert_close(quick(x[:1]), layer(x[:1]))  # other rows than it was packed for


def test_gradients_and_autocast_keep_the_layer_as_it_is() -> None:
    layer, x = torch.nn.Linear(20, 30), torch.randn(4, 20)
    packed_linear(layer.weight, layer.bias, 4)(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert not packing_helps(layer.weight, 4)
        assert packed_linear(layer.weight, layer.bias, 4)(x).dtype == torch.bfloat16


def test_in_training_mode_the_blocks_themselves_are_asked() -> None:
    decoder = CaptioningDecoder(40, 16, 2, 2, context=12, memory_width=8)
    assert decoder.train().make_cache(torch.randn(1, 5, 8), 1, 4).quick is None
    assert decoder.eval().make_cache(torch.randn(1, 5, 8), 1, 4).quick is not None
