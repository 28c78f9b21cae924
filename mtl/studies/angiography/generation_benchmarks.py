"""Benchmark A1: reports written with a cache, against writing them with everything computed anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib.util import find_spec

import torch
from torch import Tensor

from mtl.models.angiography import CaptioningDecoder
from mtl.studies.angiography.generation_peers import hugging_face_writer, plain_greedy
from mtl.timing import MIN_ROUNDS, Case, scaling_exponent

VIDEO_TOKENS = 392
#: Rows and tokens of the two workloads, and how many times as fast as no cache is hoped for.
WORKLOADS = ((1, 128, 6.0), (8, 64, 12.0))
HUGGING_FACE_GOAL = 1.15
LENGTHS = (32, 64, 128)
BOS = 2
#: bfloat16 keeps 8 bits; six layers of three roundings each add up to no more than this of the logits' norm.
HALF_TOLERANCE = 0.05
#: Times as large as they are begun: weights whose tokens depend on all that came before.
LIVELY = 4.0
#: The same for the gate of bfloat16. Attention to weights of 4 jumps between places, with any rounding.
CALM = 2.0
Writer = Callable[[], Tensor]


def lively_decoder(
    vocabulary: int = 30522, width: int = 512, depth: int = 6, heads: int = 8, context: int = 128
) -> CaptioningDecoder:
    """A decoder with random weights that writes different tokens and never EOS.

    As it is begun, a decoder with one table for input and output repeats its last token for ever, whatever
    is in the cache: a gate would see nothing. Larger weights make all that came before count.
    """
    torch.manual_seed(0)
    decoder = CaptioningDecoder(vocabulary, width, depth, heads, context).eval()
    with torch.no_grad():
        for parameter in decoder.blocks.parameters():
            if parameter.ndim > 1:
                parameter *= LIVELY
        decoder.words.weight[decoder.eos] = 0.0  # below the best of all others at any time
    return decoder


def calmer(decoder: CaptioningDecoder) -> CaptioningDecoder:
    """A lively decoder with smaller weights, in which a rounding stays small."""
    calm = deepcopy(decoder)
    with torch.no_grad():
        for parameter in calm.blocks.parameters():
            if parameter.ndim > 1:
                parameter *= CALM / LIVELY
    return calm


def generation_cases(
    decoder: CaptioningDecoder | None = None,
    workloads: Sequence[tuple[int, int, float]] = WORKLOADS,
    video_tokens: int = VIDEO_TOKENS,
) -> list[Case]:
    """A1: greedy, one video a row, ``(rows, tokens, goal)`` each; PAD is no token to write on any side."""
    decoder = lively_decoder() if decoder is None else decoder
    half = deepcopy(decoder).bfloat16()
    calm = calmer(decoder)
    cases = []
    for rows, length, goal in workloads:
        memory, prefix = made_inputs(decoder, rows, video_tokens)
        cached = writer(decoder, memory, prefix, length)
        uncached = writer(decoder, memory, prefix, length, use_cache=False)
        plain = lambda m=memory, p=prefix, n=length: plain_greedy(decoder, m, p, n)  # noqa: E731
        quick = writer(half, memory.bfloat16(), prefix, length)
        what = f"{rows} x {length} tokens, {video_tokens} video tokens, {len(decoder.blocks)} layers, "
        what += f"d={decoder.memory_width}"
        last, every = "no cache, logits of the last token", "no cache, logits of all tokens, as in training"
        alike = lambda a=cached, b=plain: same_tokens(a(), b())  # noqa: E731
        near = lambda m=memory, a=cached: same_scores(calm, deepcopy(calm).bfloat16(), m, a())  # noqa: E731
        cases += [
            Case(
                "A1", what, last, cached, uncached, lambda a=cached, b=uncached: same_tokens(a(), b()), goal
            ),
            Case("A1", what, every, cached, plain, alike, goal),
            Case("A1", f"{what}, bfloat16", "ours in float32", quick, cached, near),
        ]
        if find_spec("transformers") is not None:
            other = hugging_face_writer(decoder, memory, length)
            cases.append(_against_hugging_face(what, cached, other))
    return cases


def length_exponent(
    decoder: CaptioningDecoder | None = None,
    lengths: Sequence[int] = LENGTHS,
    video_tokens: int = VIDEO_TOKENS,
    rounds: int = MIN_ROUNDS,
) -> float:
    """How the time of ours grows with the number of tokens (goal 1.05)."""
    decoder = lively_decoder() if decoder is None else decoder
    memory, prefix = made_inputs(decoder, 1, video_tokens)
    return scaling_exponent(lengths, [writer(decoder, memory, prefix, n) for n in lengths], rounds)


def made_inputs(decoder: CaptioningDecoder, rows: int, video_tokens: int) -> tuple[Tensor, Tensor]:
    """Video tokens ``(rows, N, width)`` and prefixes ``(rows, 1)``."""
    generator = torch.Generator().manual_seed(1)
    memory = torch.randn(rows, video_tokens, decoder.memory_width, generator=generator)
    return memory, torch.full((rows, 1), BOS)


def writer(
    decoder: CaptioningDecoder, memory: Tensor, prefix: Tensor, length: int, use_cache: bool = True
) -> Writer:
    """Our greedy generation, ready to call."""
    return lambda: decoder.generate(memory, prefix, length, use_cache=use_cache)


def same_tokens(found: Tensor, expected: Tensor) -> str:
    """Gate: not one token differs. Raises ``AssertionError`` otherwise."""
    assert found.shape == expected.shape, f"{tuple(found.shape)} tokens, not {tuple(expected.shape)}"
    apart = int((found != expected).sum())
    assert not apart, f"{apart} of {found.numel()} tokens differ"
    return f"all {found.numel()} tokens identical, {len(found.unique())} different ones among them"


@torch.inference_mode()
def same_scores(decoder: CaptioningDecoder, half: CaptioningDecoder, memory: Tensor, tokens: Tensor) -> str:
    """Gate of bfloat16: logits after the words that float32 wrote, not words that follow from them."""
    expected = decoder(tokens[:, :-1], memory)
    found = half(tokens[:, :-1], memory.bfloat16()).float()
    gap = float((found - expected).norm() / expected.norm())
    assert gap <= HALF_TOLERANCE, f"logits differ by {gap:.1e} of their norm"
    same = float((found.argmax(-1) == expected.argmax(-1)).float().mean())
    return f"logits off by {gap:.1e} of their norm; best token the same at {100 * same:.0f} % of places"


def _against_hugging_face(what: str, ours: Writer, theirs: Writer) -> Case:
    """T5 has other weights and another self-attention: only the number of tokens can be the same."""

    def gate() -> str:
        found, expected = tuple(ours().shape), tuple(theirs().shape)
        assert found == expected, f"{found} tokens, not {expected}"
        return "as many tokens; other weights, so other ones"

    return Case("A1", what, "Hugging Face T5 with a cache", ours, theirs, gate, HUGGING_FACE_GOAL)
