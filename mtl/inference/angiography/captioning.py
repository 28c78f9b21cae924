"""Reports written from clips: one row per clip, with the true report beside the generated one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from mtl.errors import DataError
from mtl.inference.angiography.batches import Autocast, Device, columns_of, evaluating, joined, video_of
from mtl.models.angiography import memory_of

#: Token ids ``(B, L)`` to texts.
Decode = Callable[[Tensor], list[str]]


class Captioner(Protocol):
    """A model with the parts of ``models.angiography.VideoTextModel`` that writing needs.

    ``video(video) -> (tokens (B, N, D), pooled (B, D))``; ``caption.generate(memory, prefix, max_length,
    method, **options) -> (B, L)`` int64 with the prefix at the front.
    """

    video: nn.Module
    caption: nn.Module


def generate_reports(
    model: Captioner,
    loader: Iterable[Mapping[str, Any]],
    decode: Decode,
    prefix: Sequence[int],
    max_length: int,
    device: Device = "cpu",
    autocast: Autocast = nullcontext,
    *,
    method: str = "greedy",
    change: Callable[[Tensor], Tensor] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Write a report for every clip of a loader, in its order.

    Args:
        loader: batches with ``video`` and the lists of ``collate``.
        decode: ids ``(B, L)`` on the CPU to texts; the prefix is still at the front.
        prefix: ids that every sequence begins with: BOS and the task.
        max_length, method, options: of ``generate`` (``beams``, ``top_p``, ``generator`` ...).
        change: done to the videos before (``torch.zeros_like`` is the control of blank videos).

    Returns:
        ``study``, ``patient``, ``id``, ``true``, ``view`` as far as the batches have them, ``generated``, and
        ``n_tokens`` written (without prefix and PAD, with EOS).

    Raises:
        DataError: no batch, no video, an empty prefix, or a decoder of texts that gives another number.
    """
    if not prefix:
        raise DataError("prefix: expected the ids of BOS and of the task, got none")
    rows = []
    with evaluating(model.video, model.caption):
        model.video.to(device), model.caption.to(device)
        for batch in loader:
            video = video_of(batch, device)
            with autocast():
                memory = memory_of(*model.video(video if change is None else change(video)))
                start = torch.tensor([list(prefix)], device=device).expand(len(video), -1)
                ids = model.caption.generate(memory, start, max_length, method=method, **options)
            rows.append(columns_of(batch, len(video)) | _written(ids.cpu(), len(prefix), model, decode))
    return pd.DataFrame(joined(rows))


def _written(ids: Tensor, prompt: int, model: Captioner, decode: Decode) -> dict[str, list]:
    texts = decode(ids)
    if len(texts) != len(ids):
        raise DataError(f"decode made {len(texts)} texts of {len(ids)} sequences: one for each is expected")
    pad = getattr(model.caption, "pad", 0)
    return {"generated": texts, "n_tokens": (ids[:, prompt:] != pad).sum(dim=1).tolist()}
