r"""The sequence of highest penalised probability that ``W`` beams find.

.. math:: s(w) = \frac{\sum_{l=1}^{L} \log p(w_l \mid w_{<l})}{L^{\alpha}}

over the :math:`L` tokens after the prefix, EOS included. In each step the :math:`2W` best continuations of a
sample's live beams are taken: those with EOS compete for the sample's best ended sequence, the best :math:`W`
others live on. A sample is decided when no live beam can still win: its probability can only fall, so
:math:`s \le \log p / L_{\max}^{\alpha}`. Where no beam ended in time, the most probable one is given as it
is.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from mtl.models.angiography.endings import all_ended, without_empty_end


class Logits(Protocol):
    """Tokens ``(rows, T)`` to logits ``(rows, V)`` of the next; ``reorder`` says which rows went on."""

    def __call__(self, tokens: Tensor) -> Tensor: ...
    def reorder(self, rows: Tensor) -> None: ...


def beam_search(
    logits: Logits, prefix: Tensor, max_length: int, beams: int, eos: int, pad: int, length_penalty: float
) -> Tensor:
    """Tokens ``(B, L)``, PAD after EOS; arguments as in `CaptioningDecoder.generate`."""
    batch, start = prefix.shape
    live = prefix.new_full((batch, beams, max_length), pad)
    live[:, :, :start] = prefix[:, None]
    # All beams begin alike: only the first may go on from the prefix.
    live_score = torch.full((batch, beams), -torch.inf, device=prefix.device)
    live_score[:, 0] = 0.0
    best, best_score = live[:, 0].clone(), live_score.new_full((batch,), -torch.inf)
    first_row = torch.arange(batch, device=prefix.device)[:, None] * beams
    for place in range(start, max_length):
        log_p = logits(live[:, :, :place].flatten(0, 1)).float().log_softmax(-1).unflatten(0, (batch, beams))
        score, beam, token = best_continuations(live_score, log_p)
        tried = _taken(live, beam)
        tried[:, :, place] = token
        ended = token == eos

        ended_score = (score / (place + 1 - start) ** length_penalty).masked_fill(~ended, -torch.inf)
        best, best_score = better(best, best_score, tried, ended_score)

        live_score, chosen = score.masked_fill(ended, -torch.inf).topk(beams)
        live = _taken(tried, chosen)
        decided = live_score[:, 0] / (max_length - start) ** length_penalty <= best_score
        if all_ended(decided, place - start):
            break
        logits.reorder((beam.gather(1, chosen) + first_row).flatten())
    found = torch.where((best_score > -torch.inf)[:, None], best, live[:, 0])
    return without_empty_end(found, pad)


def best_continuations(live_score: Tensor, log_p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The ``2W`` best of ``(B, W, V)``: score, beam and token, each ``(B, 2W)``, best first."""
    beams, vocabulary = log_p.shape[1:]
    every = (live_score[..., None] + log_p).flatten(1)
    score, where = every.topk(min(2 * beams, every.shape[1]))
    return score, where // vocabulary, where % vocabulary


def better(best: Tensor, best_score: Tensor, tried: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Replace ``best`` (B, L) by the best of ``tried`` (B, K, L) where that scores higher."""
    top, which = score.max(dim=1)
    found = _taken(tried, which[:, None])[:, 0]
    higher = top > best_score
    return torch.where(higher[:, None], found, best), torch.where(higher, top, best_score)


def _taken(sequences: Tensor, which: Tensor) -> Tensor:
    """``(B, W, L)`` at ``which`` (B, K): (B, K, L)."""
    return sequences.gather(1, which[..., None].expand(-1, -1, sequences.shape[-1]))
