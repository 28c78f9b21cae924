"""A cache changes no token; each way of choosing does what it says; beams find what a full search finds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import ParameterError
from mtl.models.angiography import CaptioningDecoder
from mtl.models.angiography.generation import METHODS, Sampling, chooser

EOS, PAD = 3, 0


def lively(seed: int = 0, vocabulary: int = 24, eos_bias: float = 0.0) -> CaptioningDecoder:
    """A decoder whose next token depends strongly on all before it."""
    torch.manual_seed(seed)
    decoder = CaptioningDecoder(vocabulary, 16, 2, 2, context=24, memory_width=8, eos=EOS).double().eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.ndim > 1:
                parameter *= 3
        decoder.norm.bias += 1.0  # what all last states have in common
        decoder.words.weight[EOS] += eos_bias
    return decoder


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(METHODS), st.sampled_from([1, 2]), st.sampled_from([0.0, 0.05]))
def test_a_cache_changes_no_token(seed: int, method: str, rows: int, eos_bias: float) -> None:
    decoder = lively(seed, eos_bias=eos_bias)
    memory = torch.randn(3, 5, 8, generator=seeded(seed)).double()
    prefix = torch.randint(4, 24, (3 * rows, 2), generator=seeded(seed))
    both = [
        decoder.generate(
            memory, prefix, 16, method, top_k=5, beams=3, generator=seeded(seed), use_cache=cached
        )
        for cached in (True, False)
    ]
    assert torch.equal(*both)
    assert torch.equal(both[0][:, :2], prefix)


def test_greedy_takes_the_most_probable_token_and_each_sequence_ends_by_itself() -> None:
    decoder, memory = lively(6, eos_bias=0.04), torch.randn(6, 5, 8, generator=seeded(6)).double()
    prefix = torch.full((6, 1), 2)
    found = decoder.generate(memory, prefix, 20)
    lengths = set()
    for b in range(6):
        tokens = [2]
        while len(tokens) < 20 and tokens[-1] != EOS:
            logits = decoder(torch.tensor([tokens]), memory[b : b + 1])
            tokens.append(1 + int(logits[0, -1, 1:].argmax()))  # PAD, 0, is never written
        lengths.add(len(tokens))
        assert found[b, : len(tokens)].tolist() == tokens
        assert (found[b, len(tokens) :] == PAD).all()
    assert len(lengths) > 2, "the test means something only where lengths differ"
    assert found.shape[1] == max(lengths)


def test_results_are_ordinary_tensors_and_training_mode_comes_back() -> None:
    decoder = lively().train()
    found = decoder.generate(torch.randn(1, 5, 8).double(), torch.tensor([[2]]), 5)
    assert decoder.training and decoder.blocks[0].training and not found.is_inference()


LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, -9.0]]).repeat(4000, 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("method", "kept"), [("top_k", 3), ("top_p", 2)])
def test_draws_follow_the_renormalised_probabilities_of_what_is_kept(method, kept, temperature) -> None:
    p = (LOGITS[0].double() / temperature).softmax(0)
    share = float(p[0] + p[1]) - 1e-3  # the second token is what fills it
    choose = chooser(Sampling(method, temperature=temperature, top_k=3, top_p=share), seeded(0))
    counts = choose(LOGITS).bincount(minlength=5) / 4000
    expected = p[:kept] / p[:kept].sum()
    assert (counts[kept:] == 0).all()
    # Five standard deviations of a share of 4,000 draws.
    assert ((counts[:kept] - expected).abs() < 5 * (expected * (1 - expected) / 4000).sqrt()).all()


def test_narrow_sampling_is_greedy() -> None:
    best = LOGITS.flip(1).argmax(1)
    for sampling in (Sampling("top_k", top_k=1), Sampling("top_p", top_p=1e-6), Sampling("greedy")):
        assert torch.equal(chooser(sampling, None)(LOGITS.flip(1)), best)


def full_search(decoder, memory, prefix, max_length: int, alpha: float) -> list[int]:
    """The best ended sequence of all."""
    room, best = max_length - len(prefix), (-math.inf, [])
    middle = [word for word in range(decoder.vocabulary) if word not in (PAD, EOS)]
    for length in range(1, room + 1):
        for body in itertools.product(middle, repeat=length - 1):
            tokens = [*prefix, *body, EOS]
            logits = decoder(torch.tensor([tokens[:-1]]), memory)[0].detach()
            logits[:, PAD] = -math.inf  # never written
            log_p = logits.log_softmax(-1)
            score = sum(float(log_p[i, tokens[i + 1]]) for i in range(len(prefix) - 1, len(tokens) - 1))
            best = max(best, (score / length**alpha, tokens))
    return best[1]


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_enough_beams_find_the_best_sequence_of_all(seed: int, alpha: float) -> None:
    decoder, prefix = lively(seed, vocabulary=5), [2, 4]
    memory = torch.randn(2, 3, 8, generator=seeded(seed)).double()
    found = decoder.generate(memory, torch.tensor([prefix] * 2), 5, "beam", beams=16, length_penalty=alpha)
    for b in range(2):
        expected = full_search(decoder, memory[b : b + 1], prefix, 5, alpha)
        assert found[b].tolist() == expected + [PAD] * (found.shape[1] - len(expected))


def test_one_beam_that_never_ends_is_greedy() -> None:
    decoder, memory = lively(5, eos_bias=-9.0), torch.randn(2, 5, 8).double()
    prefix = torch.full((2, 1), 2)
    greedy = decoder.generate(memory, prefix, 9)
    assert not (greedy == EOS).any(), "the test means something only where no sequence ends"
    assert torch.equal(decoder.generate(memory, prefix, 9, "beam", beams=1), greedy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "best"}, "method: 'best' is not one of greedy, top_k, top_p, beam"),
        ({"temperature": 0.0}, "temperature = 0.0"),
        ({"top_k": 0}, "top_k = 0"),
        ({"top_p": 1.5}, "top_p = 1.5"),
        ({"beams": 0}, "beams = 0"),
        ({"length_penalty": -1.0}, "length_penalty = -1.0"),
        ({"max_length": 25}, r"max_length=25: above the prefix \(1\) and up to the context \(24\)"),
        ({"max_length": 1}, "max_length=1"),
    ],
)
def test_options_out_of_range_are_named(options: dict, message: str) -> None:
    given = {"max_length": 8} | options
    with pytest.raises(ParameterError, match=message):
        lively().generate(torch.randn(1, 5, 8).double(), torch.tensor([[2]]), **given)
