r"""Writes reports, locations and what is at a location, token by token, while it looks at a video.

.. math:: x_l = E_{w_l} + p_l, \qquad y = \mathrm{LN}\bigl(\mathrm{blocks}(x, m)\bigr), \qquad
          \log p(w_{l+1} \mid w_{\le l}, m) = \log\mathrm{softmax}(E\,y_l)_{w_{l+1}}

with one table :math:`E` for input and output. A token after BOS names the task: caption, caption to boxes or
box to caption (Wan et al., *LocCa: Visual Pretraining with Location-aware Captioners*, NeurIPS 2024).

The described size (6 layers, 8 heads, width 512) has 25.2 M parameters in its layers, and 41.1 M with a tied
vocabulary of 30,522 and 512 learned positions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.errors import DataError, ParameterError
from mtl.models.angiography.generation import Sampling, generate
from mtl.models.angiography.key_value_cache import KeyValueCache
from mtl.models.angiography.single_token import SingleTokenStep
from mtl.models.angiography.token_checks import check_tokens
from mtl.models.angiography.transformer import Memory, TransformerBlock


def memory_of(tokens: Tensor, pooled: Tensor) -> Tensor:
    """What the captioner looks at: the clip as a whole, then its parts.

    A finding covers one token of a hundred, and a captioner that has yet to learn where to look averages over
    all of them; in the pooled vector, which contrast shapes as well, it stands out.

    tokens: ``(B, N, D)``, pooled: ``(B, D)``, both of the video encoder. Returns ``(B, 1 + N, D)``.
    """
    return torch.cat([pooled[:, None], tokens], dim=1)


class CaptioningDecoder(nn.Module):
    """Causal transformer with cross-attention to the tokens of a video.

    Where there are ``r`` times as many token rows as videos, rows ``r * b`` to ``r * b + r - 1`` belong to
    video ``b``: several tasks, or beams, share what is computed of it.

    Args:
        vocabulary: number of token ids; width, depth, heads, mlp_ratio, dropout: of the transformer.
        context: most tokens in a row; memory_width: of the video tokens, ``width`` where not given.
        pad, eos: ids of PAD and of the end of a report.

    Raises:
        ParameterError: names the argument that is out of range.
    """

    def __init__(
        self,
        vocabulary: int = 30522,
        width: int = 512,
        depth: int = 6,
        heads: int = 8,
        context: int = 512,
        memory_width: int | None = None,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        pad: int = 0,
        eos: int = 3,
    ) -> None:
        super().__init__()
        if not (0 <= pad < vocabulary and 0 <= eos < vocabulary and pad != eos and context > 1 and depth > 0):
            raise ParameterError(
                f"vocabulary={vocabulary}, pad={pad}, eos={eos}, context={context}, depth={depth}: two ids "
                "of the vocabulary, a context from 2 on and a depth from 1 on are expected"
            )
        self.vocabulary, self.context, self.pad, self.eos = vocabulary, context, pad, eos
        self.memory_width = width if memory_width is None else memory_width
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(context, width))
        for table in (self.words.weight, self.positions):
            nn.init.trunc_normal_(table, std=0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, mlp_ratio, self.memory_width, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, memory: Tensor, attention_of: Collection[int] = ()
    ) -> Tensor | tuple[Tensor, dict[int, Tensor]]:
        """Logits of the token after each token.

        Args:
            tokens: ``(B * r, L)`` int64; PAD only at the end, where its logits mean nothing.
            memory: ``(B, N, memory_width)``, of `memory_of` in the study's networks.
            attention_of: layers whose cross-attention is returned besides.

        Returns:
            ``(B * r, L, vocabulary)``; with ``attention_of`` also layer to weights ``(B * r, heads, L, N)``.

        Raises:
            DataError: more tokens than the context, an id out of range (on the CPU), an empty memory, or a
                memory that does not fit. ParameterError: a layer that is not there.
        """
        self._check(tokens, memory)
        if not set(attention_of) <= set(range(len(self.blocks))):
            raise ParameterError(
                f"attention_of={list(attention_of)}: layers 0 to {len(self.blocks) - 1} exist"
            )
        hidden, seen = self._hidden(tokens, self.read(memory), attention_of)
        logits = self._logits(hidden)
        return (logits, seen) if attention_of else logits

    def read(self, memory: Tensor) -> list[Memory]:
        """Keys and values of the video in each layer."""
        return [block.cross_attention.read(memory) for block in self.blocks]

    def make_cache(self, memory: Tensor, rows: int, places: int) -> KeyValueCache:
        """A cache for ``rows`` sequences of up to ``places`` tokens, with the weights as they are now."""
        cache = KeyValueCache(self.read(memory), rows, places)
        if not self.training:
            cache.quick = SingleTokenStep(self, rows)
        return cache

    def step(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        """Take in new tokens ``(rows, L)`` and give the logits ``(rows, vocabulary)`` of the next one."""
        x = self._embedded(tokens, cache.length)
        if cache.quick is not None and tokens.shape[1] == 1:
            found = cache.quick(x[:, 0], cache)
            cache.advance(1)
            return found
        for index, block in enumerate(self.blocks):
            x = block(x, cache.memory[index], causal=True, past=cache.layer(index))
        cache.advance(tokens.shape[1])
        return self._logits(self.norm(x[:, -1]))

    def next_logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """As :meth:`step` from the beginning, everything computed anew: ``(rows, vocabulary)``."""
        return self._logits(self._hidden(tokens, self.read(memory))[0][:, -1])

    def generate(
        self,
        memory: Tensor,
        prefix: Tensor,
        max_length: int,
        method: str = "greedy",
        *,
        temperature: float = 1.0,
        top_k: int = 50,
        top_p: float = 0.9,
        beams: int = 4,
        length_penalty: float = 1.0,
        generator: torch.Generator | None = None,
        use_cache: bool = True,
    ) -> Tensor:
        """Write one sequence for each row of ``prefix``.

        Args:
            memory: ``(B, N, memory_width)``; prefix: ``(B * r, P)`` int64: BOS, task, condition.
            max_length: most tokens of a sequence, prefix and EOS included.
            method: ``greedy``, ``top_k``, ``top_p`` or ``beam``.
            temperature: of both kinds of sampling; top_k, top_p: tokens, and share of probability, to draw
                from.
            beams, length_penalty: of the search; see :mod:`mtl.models.angiography.beam_search`.
            generator: what sampling draws from, on the device of ``memory``.
            use_cache: False computes everything anew for each token, to compare with.

        Returns:
            ``(B * r, L)`` int64 with L <= ``max_length``: prefix, tokens, EOS, then PAD. A sequence without
            EOS was cut.

        Raises:
            DataError, as ``forward``; ParameterError: names the option that is out of range.
        """
        sampling = Sampling(method, temperature, top_k, top_p, beams, length_penalty)
        self._check(prefix, memory)
        if not prefix.shape[1] < max_length <= self.context:
            raise ParameterError(
                f"max_length={max_length}: above the prefix ({prefix.shape[1]}) and up to the context "
                f"({self.context}) is expected"
            )
        return generate(self, memory, prefix, max_length, sampling, generator, use_cache)

    def _hidden(
        self, tokens: Tensor, memory: Sequence[Memory], attention_of: Collection[int] = ()
    ) -> tuple[Tensor, dict[int, Tensor]]:
        x, seen = self._embedded(tokens, 0), {}
        for index, block in enumerate(self.blocks):
            weights: list[Tensor] | None = [] if index in attention_of else None
            x = block(x, memory[index], causal=True, seen=weights)
            if weights:
                seen[index] = weights[0]
        return self.norm(x), seen

    def _embedded(self, tokens: Tensor, start: int) -> Tensor:
        return self.words(tokens) + self.positions[start : start + tokens.shape[1]]

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.words.weight)

    def _check(self, tokens: Tensor, memory: Tensor) -> None:
        check_tokens(tokens, self.vocabulary, self.context)
        if memory.ndim != 3 or memory.shape[-1] != self.memory_width or 0 in memory.shape:
            raise DataError(
                f"memory has shape {tuple(memory.shape)}; (B, N, {self.memory_width}) with B and N from 1 "
                "on is expected"
            )
        if not len(tokens) or len(tokens) % len(memory):
            raise DataError(f"{len(tokens)} rows of tokens for {len(memory)} videos: a multiple is expected")
