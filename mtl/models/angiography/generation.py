"""Write sequences with a decoder: the most probable token, a drawn one, or a search over beams.

Sequences of a batch end one by one; the batch ends with the last. With and without a cache the same logits
are asked for in the same order, so that both give the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mtl.errors import ParameterError
from mtl.models.angiography.beam_search import beam_search
from mtl.models.angiography.endings import all_ended, without_empty_end
from mtl.models.angiography.key_value_cache import KeyValueCache

METHODS = ("greedy", "top_k", "top_p", "beam")


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Raises `ParameterError` naming the field that is out of range."""

    method: str = "greedy"
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 0.9
    beams: int = 4
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ParameterError(f"method: {self.method!r} is not one of {', '.join(METHODS)}")
        for name, right, expected in (
            ("temperature", self.temperature > 0, "above 0"),
            ("top_k", self.top_k >= 1, "1 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and up to 1"),
            ("beams", self.beams >= 1, "1 or more"),
            ("length_penalty", self.length_penalty >= 0, "0 or more"),
        ):
            if not right:
                raise ParameterError(f"{name} = {getattr(self, name)}: {expected} is expected")


class Decoder(Protocol):
    """What generation needs of a decoder: see `CaptioningDecoder`."""

    pad: int
    eos: int
    training: bool

    def make_cache(self, memory: Tensor, rows: int, places: int) -> KeyValueCache: ...
    def step(self, tokens: Tensor, cache: KeyValueCache) -> Tensor: ...
    def next_logits(self, tokens: Tensor, memory: Tensor) -> Tensor: ...
    def train(self, mode: bool = True) -> object: ...


class CachedLogits:
    """Logits of the next token, where only what is new since the last call is computed."""

    def __init__(self, decoder: Decoder, memory: Tensor, rows: int, places: int) -> None:
        self.decoder, self.cache = decoder, decoder.make_cache(memory, rows, places)

    def __call__(self, tokens: Tensor) -> Tensor:
        found = self.decoder.step(tokens[:, self.cache.length :], self.cache)
        return without_pad(found, self.decoder.pad)

    def reorder(self, rows: Tensor) -> None:
        self.cache.reorder(rows)


class UncachedLogits:
    """The same, from the beginning each time."""

    def __init__(self, decoder: Decoder, memory: Tensor) -> None:
        self.decoder, self.memory = decoder, memory

    def __call__(self, tokens: Tensor) -> Tensor:
        return without_pad(self.decoder.next_logits(tokens, self.memory), self.decoder.pad)

    def reorder(self, rows: Tensor) -> None:
        """Nothing is kept."""


def without_pad(logits: Tensor, pad: int) -> Tensor:
    """PAD is never written before the end: no training says what its logit should be. In place."""
    logits[:, pad] = -torch.inf
    return logits


def generate(
    decoder: Decoder,
    memory: Tensor,
    prefix: Tensor,
    max_length: int,
    sampling: Sampling,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
) -> Tensor:
    """See `CaptioningDecoder.generate`; dropout is off meanwhile."""
    was_training = decoder.training
    decoder.train(False)
    try:
        with torch.inference_mode():
            written = _written(decoder, memory, prefix, max_length, sampling, generator, use_cache)
    finally:
        decoder.train(was_training)
    return written.clone()  # outside inference mode it is an ordinary tensor again


def _written(
    decoder: Decoder,
    memory: Tensor,
    prefix: Tensor,
    max_length: int,
    sampling: Sampling,
    generator: torch.Generator | None,
    use_cache: bool,
) -> Tensor:
    eos, pad, beams = decoder.eos, decoder.pad, sampling.beams if sampling.method == "beam" else 1
    logits: CachedLogits | UncachedLogits = UncachedLogits(decoder, memory)
    if use_cache:  # the last token is written, never read
        logits = CachedLogits(decoder, memory, len(prefix) * beams, max_length - 1)
    if sampling.method == "beam":
        return beam_search(logits, prefix, max_length, beams, eos, pad, sampling.length_penalty)
    return write(logits, prefix, max_length, chooser(sampling, generator), eos, pad)


def write(
    logits: Callable[[Tensor], Tensor],
    prefix: Tensor,
    max_length: int,
    choose: Callable[[Tensor], Tensor],
    eos: int,
    pad: int,
) -> Tensor:
    """One token after the other, ``choose``: logits ``(B, V)`` to ids ``(B,)``."""
    start = prefix.shape[1]
    tokens = prefix.new_full((len(prefix), max_length), pad)
    tokens[:, :start] = prefix
    ended = torch.zeros(len(prefix), dtype=torch.bool, device=prefix.device)
    for place in range(start, max_length):
        found = choose(logits(tokens[:, :place])).masked_fill(ended, pad)
        tokens[:, place] = found
        ended |= found == eos
        if all_ended(ended, place - start):
            break
    return without_empty_end(tokens, pad)


def chooser(sampling: Sampling, generator: torch.Generator | None) -> Callable[[Tensor], Tensor]:
    """Logits ``(B, V)`` to ids ``(B,)`` as ``sampling`` has it."""
    if sampling.method == "greedy":
        return lambda logits: logits.argmax(dim=-1)
    most = sampling.top_k if sampling.method == "top_k" else None
    share = sampling.top_p if sampling.method == "top_p" else 1.0

    def draw(logits: Tensor) -> Tensor:
        scores, ids = best_first(logits.float() / sampling.temperature, most)
        probability = scores.softmax(dim=-1)
        # A token stays while those before it do not make up the share: the first always does.
        before = probability.cumsum(dim=-1) - probability
        probability = probability.masked_fill(before >= share, 0.0)
        return ids.gather(1, torch.multinomial(probability, 1, generator=generator)).squeeze(1)

    return draw


def best_first(scores: Tensor, most: int | None) -> tuple[Tensor, Tensor]:
    """The ``most`` highest (all where None), highest first, and their ids."""
    return torch.topk(scores, scores.shape[-1] if most is None else min(most, scores.shape[-1]), dim=-1)
