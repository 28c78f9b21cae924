"""Where is this finding? Boxes that the captioner names (LocCa's task ARef), from a finding's short name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mtl.errors import DataError
from mtl.inference.angiography.batches import Autocast, Device, columns_of, evaluating, joined, video_of
from mtl.inference.angiography.captioning import Captioner
from mtl.models.angiography import memory_of

Box = tuple[float, float, float, float]
#: A row's token ids after the prompt, and the number of frames, to (frame, box), or None.
ReadBox = Callable[[Sequence[int], int], tuple[int, Box] | None]

CORNERS = ("y0", "x0", "y1", "x1")
ANSWER = 6  # frame, four corners, EOS


def locate_findings(
    model: Captioner,
    loader: Iterable[Mapping[str, Any]],
    read_box: ReadBox,
    device: Device = "cpu",
    autocast: Autocast = nullcontext,
    *,
    method: str = "greedy",
    **options: Any,
) -> pd.DataFrame:
    """Ask for the box of one finding of every clip that has one.

    Args:
        loader: batches with ``video``, ``aref_tokens`` (B, L) and ``aref_prompts`` (B,) (``collate``): the
            first so many tokens of a row are the question, 0 for a clip without a box, which is left out.
        read_box: ``datasets.angiography.locations.tokens_to_box`` on the tokens of the ids.
        method, options: of ``generate``.

    Returns:
        A row per question, in the loader's order: the lists of the batch as columns, ``frame``, ``y0``,
        ``x0``, ``y1``, ``x1`` (shares of the picture); NaN where no box was named.

    Raises:
        DataError: no batch, or one without these entries.
    """
    rows = []
    with evaluating(model.video, model.caption):
        model.video.to(device), model.caption.to(device)
        for batch in loader:
            video, questions, lengths = _asked(batch, device)
            with autocast():
                memory = memory_of(*model.video(video))
                answers = _answers(model, memory, questions, lengths, method, options)
            found = [_row(answer and read_box(answer, video.shape[2])) for answer in answers]
            kept = [i for i, length in enumerate(lengths) if length]
            columns = columns_of(batch, len(video)) | {
                name: [row[name] for row in found] for name in ("frame", *CORNERS)
            }
            rows.append({name: [values[i] for i in kept] for name, values in columns.items()})
    return pd.DataFrame(joined(rows))


def _answers(
    model: Captioner,
    memory: Tensor,
    questions: Tensor,
    lengths: Sequence[int],
    method: str,
    options: Mapping[str, Any],
) -> list[list[int] | None]:
    """Ids after each question; questions of one length are answered together."""
    answers: list[list[int] | None] = [None] * len(lengths)
    for length in sorted(set(lengths) - {0}):
        members = [i for i, own in enumerate(lengths) if own == length]
        chosen = torch.tensor(members, device=memory.device)
        prefix = questions[chosen, :length]
        written = model.caption.generate(memory[chosen], prefix, length + ANSWER, method=method, **options)
        for i, row in zip(members, written[:, length:].tolist(), strict=True):
            answers[i] = row
    return answers


def _asked(batch: Mapping[str, Any], device: Device) -> tuple[Tensor, Tensor, list[int]]:
    if missing := {"aref_tokens", "aref_prompts"} - set(batch):
        raise DataError(f"a batch without {', '.join(sorted(missing))}: location tasks need collate's tokens")
    return video_of(batch, device), batch["aref_tokens"].to(device), batch["aref_prompts"].tolist()


def _row(named: tuple[int, Box] | None) -> dict[str, float]:
    values = (np.nan,) * 5 if named is None else (float(named[0]), *named[1])
    return dict(zip(("frame", *CORNERS), values, strict=True))
