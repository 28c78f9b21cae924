"""Embeddings of clips and reports, and the reports nearest to a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.errors import DataError, ParameterError
from mtl.inference.angiography.batches import Autocast, Device, columns_of, evaluating, joined, video_of

Embed = Callable[[Tensor], Tensor | tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Embeddings:
    """Of N clips: ``vectors`` float32 ``(N, D)`` of length 1; ``rows``: N rows, ``study``, ``true`` ..."""

    vectors: NDArray[np.float32]
    rows: pd.DataFrame


def embed_clips(
    model: nn.Module,
    loader: Iterable[Mapping[str, Any]],
    device: Device = "cpu",
    autocast: Autocast = nullcontext,
    *,
    embed: Embed | None = None,
) -> Embeddings:
    """Embeddings of a loader's clips, in its order.

    Args:
        model: moved to the device, and in eval mode meanwhile.
        loader: batches with ``video`` and the lists of ``collate``.
        embed: videos ``(B, 3, T, H, W)`` to ``(B, D)``, or to tokens and such a vector (then the vector
            counts); default: ``model.embed_video`` where there is one, else the model itself.

    Raises:
        DataError: no batch, a batch without videos, or an embedding that is zero or not finite.
    """
    step = embed or getattr(model, "embed_video", model)
    model.to(device)
    parts, rows = [], []
    with evaluating(model):
        for batch in loader:
            video = video_of(batch, device)
            with autocast():
                parts.append(_vectors(step(video)))
            rows.append(columns_of(batch, len(video)))
    table = pd.DataFrame(joined(rows), index=range(sum(map(len, parts))))
    return Embeddings(_directions(parts), table)


def embed_reports(
    model: nn.Module,
    tokens: Tensor,
    device: Device = "cpu",
    autocast: Autocast = nullcontext,
    *,
    embed: Embed | None = None,
    batch_size: int = 64,
) -> NDArray[np.float32]:
    """Embeddings float32 ``(N, D)`` of length 1 of tokenised reports ``(N, L)`` int64.

    embed: tokens ``(B, L)`` to ``(B, D)``; default: ``model.embed_text`` where there is one, else the model.
    Raises as ``embed_clips``; ParameterError for a batch size below 1.
    """
    if batch_size < 1:
        raise ParameterError(f"batch_size = {batch_size}: expected at least 1")
    if tokens.ndim != 2 or len(tokens) == 0:
        raise DataError(f"tokens {tuple(tokens.shape)}: expected (N, L) with at least one report")
    step = embed or getattr(model, "embed_text", model)
    model.to(device)
    parts = []
    with evaluating(model):
        for batch in tokens.split(batch_size):
            with autocast():
                parts.append(_vectors(step(batch.to(device, non_blocking=True))))
    return _directions(parts)


def nearest_reports(
    query: ArrayLike, candidates: ArrayLike, k: int = 5
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Numbers and cosines ``(Q, k)`` of the candidates nearest to each query, nearest first.

    query: ``(Q, D)``; candidates: ``(C, D)``, both of length 1 (``embed_clips``, ``embed_reports``); the
    first of equals comes first. Raises ParameterError for a k outside 1 .. C, DataError for other widths.
    """
    asked, offered = np.asarray(query, float), np.asarray(candidates, float)
    if asked.ndim != 2 or offered.ndim != 2 or asked.shape[1] != offered.shape[1]:
        raise DataError(f"queries {asked.shape}, candidates {offered.shape}: expected (Q, D) and (C, D)")
    if not 1 <= k <= len(offered):
        raise ParameterError(f"k = {k}: expected 1 to {len(offered)}, the number of candidates")
    cosines = asked @ offered.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


def _vectors(output: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    vectors = output[-1] if isinstance(output, tuple) else output
    return F.normalize(vectors.float(), dim=-1).cpu()


def _directions(parts: list[Tensor]) -> NDArray[np.float32]:
    vectors = torch.cat(parts).numpy()
    lengths = np.linalg.norm(vectors, axis=1)
    if bad := int((~(lengths > 0.5)).sum()):  # 1, or 0 for a zero vector, or NaN
        raise DataError(f"{bad} of {len(vectors)} embeddings are zero or not finite: a direction is expected")
    return vectors
