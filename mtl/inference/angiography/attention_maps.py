r"""Where the captioner looked for each word: cross-attention on the grid of video tokens.

The weights over video tokens of layer :math:`l`, head :math:`h` at place :math:`p` decide on the token at
place :math:`p + 1`; a word's map is the mean over layers, heads and the places that its pieces were written
from,

.. math:: A_w = \frac{1}{LH|w|} \sum_{l,h} \sum_{p+1 \in w} A_{l,h,p} .

The first weight is that of the clip as a whole (``memory_of``), which has no place: maps are the shares of
the others among themselves, and ``on_whole`` says what went to the first.

Attention says where information could come from, not that it was used: the blank and shuffled controls do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.errors import DataError
from mtl.inference.angiography.batches import evaluating

Grid = tuple[int, int, int]
Floats = NDArray[np.float32]
TINY = 1e-30  # attention to all parts together, below which there is no map


@dataclass(frozen=True)
class CaptionAttention:
    """Of a report: its W ``words``; ``maps`` float32 ``(W, t, h, w)`` of sum 1; their ``average``.

    ``on_whole`` is the share that went to the clip as a whole. Where the report is empty, ``average`` and
    ``on_whole`` are those of its end.
    """

    words: list[str]
    maps: Floats
    average: Floats
    on_whole: float

    def of(self, *words: str) -> Floats:
        """Mean map ``(t, h, w)`` of all words that read so (case does not matter).

        Raises DataError where the report has none of them.
        """
        wanted = {word.lower() for word in words}
        chosen = [i for i, word in enumerate(self.words) if word.lower() in wanted]
        if not chosen:
            raise DataError(f"no word {sorted(words)} in the report: it has {self.words}")
        return self.maps[chosen].mean(axis=0)


def caption_attention(
    decoder: nn.Module,
    memory: Tensor,
    tokens: Tensor,
    pieces: Sequence[str],
    grid: Grid,
    layers: Sequence[int] | None = None,
) -> CaptionAttention:
    """Attention of a written report to its video.

    Args:
        decoder: ``decoder(tokens, memory, attention_of=layers)`` gives logits and layer to weights
            ``(1, heads, L, 1 + N)`` (``CaptioningDecoder``); in eval mode meanwhile.
        memory: ``(1, 1 + N, D)`` of ``memory_of``; tokens: ``(1, L)`` as generated, prefix at the front.
        pieces: the L tokens as the tokeniser spells them.
        grid: (t, h, w) of the video tokens; layers: which to average, all by default.

    Raises:
        DataError: not one report, other numbers of pieces than tokens, or of weights than cells.
    """
    if len(tokens) != 1 or len(memory) != 1 or tokens.shape[1] != len(pieces):
        raise DataError(
            f"tokens {tuple(tokens.shape)}, memory {tuple(memory.shape)}, {len(pieces)} pieces: expected one "
            "report with a piece for each token"
        )
    chosen = range(len(decoder.blocks)) if layers is None else layers
    with evaluating(decoder):
        _, seen = decoder(tokens, memory, attention_of=tuple(chosen))
    weights = torch.stack([seen[layer][0].float() for layer in chosen]).mean(dim=(0, 1))
    whole, parts = weights[:, 0].cpu().numpy(), weights[:, 1:]  # (L,), (L, N)
    cells = to_grid(parts / parts.sum(dim=1, keepdim=True).clamp(min=TINY), grid)
    spans = word_spans(pieces)
    if not spans:
        end = max(len(pieces) - 2, 0)
        return CaptionAttention([], cells[:0], cells[end], float(whole[end]))
    written_at = [[place - 1 for place in places] for _, places in spans]
    maps = np.stack([cells[places].mean(axis=0) for places in written_at])
    on_whole = float(np.mean([whole[places].mean() for places in written_at]))
    return CaptionAttention([word for word, _ in spans], maps, maps.mean(axis=0), on_whole)


def to_grid(weights: Tensor, grid: Grid) -> Floats:
    """Weights ``(..., N)`` over video tokens as float32 ``(..., t, h, w)``: time slowest, then rows.

    Raises DataError where N is not t * h * w.
    """
    t, h, w = grid
    if weights.shape[-1] != t * h * w:
        raise DataError(f"{weights.shape[-1]} weights for the grid {grid}: {t * h * w} are expected")
    return weights.float().reshape(*weights.shape[:-1], t, h, w).cpu().numpy()


def word_spans(pieces: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Words of WordPiece tokens and the places of their pieces; reading ends at ``[EOS]``.

    ``##`` continues a word; special tokens (``[...]``) and punctuation are no words, except ``[UNK]`` and
    ``%``. The first token has no place before it to be written from, and is left out.
    """
    spans: list[tuple[str, list[int]]] = []
    joins = False
    for place, piece in enumerate(pieces):
        if piece == "[EOS]":
            break
        if piece.startswith("##") and joins:
            word, places = spans.pop()
            spans.append((word + piece[2:], [*places, place]))
            continue
        joins = place > 0 and _is_word(piece)
        if joins:
            spans.append((piece.removeprefix("##"), [place]))
    return spans


def upsampled(cells: NDArray, frames: int, height: int, width: int) -> Floats:
    """A map ``(t, h, w)`` at the size of its clip ``(frames, height, width)``, for an overlay: trilinear.

    Its values are those of the cells; it no longer sums to 1.
    """
    volume = torch.from_numpy(np.ascontiguousarray(cells, np.float32))[None, None]
    return F.interpolate(volume, (frames, height, width), mode="trilinear", align_corners=False)[0, 0].numpy()


def _is_word(piece: str) -> bool:
    if piece in ("[UNK]", "%"):
        return True
    special = piece.startswith("[") and piece.endswith("]")
    return not special and any(sign.isalnum() for sign in piece)
