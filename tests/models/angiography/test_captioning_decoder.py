"""Size, causality, what it looks at, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from mtl.errors import DataError, ParameterError
from mtl.models.angiography import CaptioningDecoder
from mtl.models.angiography.key_value_cache import KeyValueCache


def small(**options: object) -> CaptioningDecoder:
    sizes = {"vocabulary": 30, "width": 16, "depth": 2, "heads": 2, "context": 12, "memory_width": 10}
    return CaptioningDecoder(**(sizes | options)).eval().double()


def memory_of(batch: int = 2, tokens: int = 5) -> torch.Tensor:
    return torch.randn(batch, tokens, 10, dtype=torch.float64)


def test_the_described_size() -> None:
    decoder = CaptioningDecoder()
    everything = sum(p.numel() for p in decoder.parameters())
    tables = decoder.words.weight.numel() + decoder.positions.numel()
    assert round((everything - tables) / 1e6, 1) == 25.2
    assert round(everything / 1e6, 1) == 41.1


def test_tokens_are_foretold_from_earlier_ones_and_the_video() -> None:
    decoder, memory = small(), memory_of()
    tokens = torch.randint(4, 30, (2, 7))
    before = decoder(tokens, memory)
    assert before.shape == (2, 7, 30)
    other = tokens.clone()
    other[:, 4] = (other[:, 4] + 1 - 4) % 26 + 4
    after = decoder(other, memory)
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert ((after - before)[:, 4:].abs().amax(-1) > 1e-9).all()
    assert ((decoder(tokens, memory_of()) - before).abs().amax(-1) > 1e-9).all()


def test_input_and_output_share_a_table() -> None:
    decoder, memory, tokens = small(), memory_of(), torch.randint(4, 30, (2, 3))
    before = decoder(tokens, memory)
    with torch.no_grad():
        decoder.words.weight[0] += torch.randn(16).double()  # not an input here
    after = decoder(tokens, memory)
    torch.testing.assert_close(after[..., 1:], before[..., 1:])
    assert ((after - before)[..., 0].abs() > 1e-9).all()


def test_several_rows_of_a_video_equal_one_row_each() -> None:
    decoder, memory, tokens = small(), memory_of(), torch.randint(4, 30, (6, 5))
    torch.testing.assert_close(decoder(tokens, memory), decoder(tokens, memory.repeat_interleave(3, dim=0)))


def test_steps_with_a_cache_give_the_logits_of_one_forward() -> None:
    decoder, memory, tokens = small(), memory_of(), torch.randint(4, 30, (2, 7))
    whole, cache = decoder(tokens, memory), decoder.make_cache(memory, 2, 7)
    torch.testing.assert_close(decoder.step(tokens[:, :3], cache), whole[:, 2])
    for place in range(3, 7):
        torch.testing.assert_close(decoder.step(tokens[:, place : place + 1], cache), whole[:, place])
    torch.testing.assert_close(decoder.next_logits(tokens, memory), whole[:, -1])


def test_a_reordered_cache_goes_on_from_other_rows() -> None:
    decoder, memory, tokens = small(), memory_of(1), torch.randint(4, 30, (3, 5))
    cache = decoder.make_cache(memory, 3, 6)
    decoder.step(tokens, cache)
    rows, new = torch.tensor([2, 0, 0]), torch.randint(4, 30, (3, 1))
    cache.reorder(rows)
    expected = decoder(torch.cat([tokens[rows], new], dim=1), memory)[:, -1]
    torch.testing.assert_close(decoder.step(new, cache), expected)


def test_a_cache_has_so_many_places_and_takes_tokens_one_by_one() -> None:
    decoder = small()
    cache = decoder.make_cache(memory_of(), 2, 4)
    assert isinstance(cache, KeyValueCache)
    decoder.step(torch.full((2, 3), 4), cache)
    with pytest.raises(ParameterError, match="2 tokens after 3 in a cache of 4"):
        decoder.step(torch.full((2, 2), 4), cache)
    decoder.step(torch.full((2, 1), 4), cache)
    with pytest.raises(ParameterError, match="1 tokens after 4"):
        decoder.step(torch.full((2, 1), 4), cache)


def test_attention_of_chosen_layers_comes_along() -> None:
    decoder, memory, tokens = small(), memory_of(), torch.randint(4, 30, (4, 3))
    logits, seen = decoder(tokens, memory, attention_of=[1])
    torch.testing.assert_close(logits, decoder(tokens, memory))
    assert list(seen) == [1] and seen[1].shape == (4, 2, 3, 5)
    torch.testing.assert_close(seen[1].sum(-1), torch.ones(4, 2, 3).double())


@pytest.mark.parametrize(
    ("tokens", "memory", "message"),
    [
        (torch.full((2, 13), 4), memory_of(), "13 tokens in a row: the context holds 12"),
        (torch.tensor([[30], [4]]), memory_of(), "token id 30 is out of range"),
        (torch.full((2, 3), 4), memory_of(2, 0), "N from 1 on"),
        (torch.full((2, 3), 4), torch.zeros(2, 5, 9), r"\(B, N, 10\)"),
        (torch.full((3, 3), 4), memory_of(), "3 rows of tokens for 2 videos"),
    ],
)
def test_what_does_not_fit_is_named(tokens: torch.Tensor, memory: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        small()(tokens, memory)
    with pytest.raises(DataError, match=message):
        small().generate(memory, tokens, 12)


def test_arguments_out_of_range_are_named() -> None:
    with pytest.raises(ParameterError, match="layers 0 to 1 exist"):
        small()(torch.full((2, 3), 4), memory_of(), attention_of=[2])
    with pytest.raises(ParameterError, match="eos=30"):
        small(eos=30)
