"""Clips as training samples, and samples as batches of videos and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import Dataset

from mtl.datasets.angiography.augmentation import ClipAugmentation
from mtl.datasets.angiography.clips import Clip, Stenosis
from mtl.datasets.angiography.locations import box_tokens
from mtl.datasets.angiography.report_duplicates import report_id
from mtl.datasets.angiography.reports import N_WORDINGS, caption_of, write_finding
from mtl.datasets.angiography.tokenizer import AREF, GCAP, encode_reports, pad_rows
from mtl.errors import ParameterError


class ClipDataset(Dataset):
    """One sample per clip; sample i of epoch e depends on ``(seed, e, i)`` alone.

    A sample: ``video`` float32 (3, T, S, S) in [0, 1]; ``text``; ``study``; ``patient``; ``id``; ``view``
    (None: not known); ``index``; ``boxes``: list of `Stenosis`, frame and box in the sample's own frames and
    square; ``finding``: the one of them that location tasks ask about, None where there is none; ``wording``
    of the sentence that names it. With an augmentation the finding and its wording are drawn anew in every
    epoch, without one they are the first.

    Args:
        clips: what samples are made of.
        n_frames: T; size: S in pixels.
        augmentation: None: clips as they are.
        cache: keep decoded frames in memory (uint8, one channel where grey), in every process that reads
            them.

    Raises `ParameterError` without a clip; `DataError` where a file cannot be read (when it is read).
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        n_frames: int = 16,
        size: int = 224,
        *,
        augmentation: ClipAugmentation | None = None,
        seed: int = 0,
        cache: bool = True,
    ) -> None:
        if not clips:
            raise ParameterError("a dataset of clips needs at least one clip")
        self.clips, self.n_frames, self.size = list(clips), n_frames, size
        self.augmentation, self.seed, self.cache = augmentation, seed, cache
        self._kept: dict[int, tuple[np.ndarray, list[Stenosis]]] = {}
        # In shared memory, so that worker processes that outlive an epoch see the change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def epoch(self) -> int:
        """The epoch whose samples are drawn."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose samples are to be drawn."""
        self._epoch.fill_(epoch)

    def preload(self) -> None:
        """Decode every clip now: before worker processes start, they then share the frames."""
        for index in range(len(self)):
            self._decoded(index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of a dataset of {len(self)} clips")
        clip = self.clips[index]
        frames, boxes = self._decoded(index)
        video, wording, chosen = frames.astype(np.float32) / 255, 0, 0
        if self.augmentation is not None:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            video, boxes = self.augmentation(video, boxes, rng)
            wording, chosen = int(rng.integers(N_WORDINGS)), int(rng.integers(max(len(boxes), 1)))
        return {
            "video": torch.from_numpy(np.array(np.broadcast_to(video, (3, *video.shape[1:])))),
            "text": clip.report,
            "study": clip.study,
            "patient": clip.patient,
            "id": clip.id,
            "view": clip.view,
            "index": index,
            "boxes": list(boxes),
            "finding": boxes[chosen] if boxes else None,
            "wording": wording,
        }

    def _decoded(self, index: int) -> tuple[np.ndarray, list[Stenosis]]:
        """Frames uint8 ``(1 or 3, T, S, S)`` and stenoses placed in them."""
        if index in self._kept:
            return self._kept[index]
        clip = self.clips[index]
        footage = clip.read(self.n_frames, self.size)
        frames = np.round(footage.frames * 255).astype(np.uint8).transpose(3, 0, 1, 2)
        if (frames == frames[:1]).all():
            frames = frames[:1]
        boxes = [
            replace(found, frame=footage.position_of(found.frame), box=footage.box_of(found.box))
            for found in clip.stenoses
        ]
        decoded = np.ascontiguousarray(frames), boxes
        if self.cache:
            self._kept[index] = decoded
        return decoded


def collate(
    samples: Sequence[dict[str, Any]],
    tokenizer: Tokenizer,
    context: int,
    *,
    location_context: int | None = None,
    truncate: bool = False,
) -> dict[str, Any]:
    """Samples to a batch.

    ``video`` (B, 3, T, S, S); ``tokens`` int64 (B, context); ``report_ids`` int64 (B,), equal for equal
    reports, in all processes; ``studies``, ``patients``, ``ids``, ``texts``, ``views``, ``boxes``: lists;
    ``index`` int64 (B,). For the location tasks, with L = ``location_context`` (``context`` where not given):

    - ``aref_tokens`` (B, L): ``[BOS] [AREF]`` short name of a finding, ``[FRAME] [LOC] x 4 [EOS]``;
    - ``gcap_tokens`` (B, L): ``[BOS] [GCAP] [FRAME] [LOC] x 4``, the finding's sentence, ``[EOS]``;
    - ``aref_prompts``, ``gcap_prompts`` int64 (B,): how many tokens come before the answer; 0 without a box;
    - ``location_mask`` bool (B,): clips that have a box. The rows of others are ``[PAD]`` throughout.

    Raises `DataError`: a report is empty, or longer than the context and not to be truncated.
    """
    texts = [sample["text"] for sample in samples]
    n_frames = samples[0]["video"].shape[1]
    asked = [
        (sample["finding"], sample["wording"]) if sample["finding"] is not None else None
        for sample in samples
    ]
    batch = {
        "video": torch.stack([sample["video"] for sample in samples]),
        "tokens": encode_reports(
            tokenizer, texts, context, truncate=truncate, names=[sample["id"] for sample in samples]
        ),
        "report_ids": torch.tensor([report_id(text) for text in texts]),
        "index": torch.tensor([sample["index"] for sample in samples]),
        "studies": [sample["study"] for sample in samples],
        "patients": [sample["patient"] for sample in samples],
        "ids": [sample["id"] for sample in samples],
        "views": [sample["view"] for sample in samples],
        "boxes": [sample["boxes"] for sample in samples],
        "texts": texts,
    }
    return batch | location_tasks(asked, tokenizer, n_frames, location_context or context)


def location_tasks(
    asked: Sequence[tuple[Stenosis, int] | None], tokenizer: Tokenizer, n_frames: int, context: int
) -> dict[str, torch.Tensor]:
    """Tokens of both location tasks (see `collate`) for a finding and a wording per clip, or None."""
    rows: dict[str, list[list[int]]] = {"aref": [], "gcap": []}
    prompts: dict[str, list[int]] = {"aref": [], "gcap": []}
    for pair in (pair for pair in asked if pair is not None):
        for task, (question, answer) in _questions(*pair, tokenizer, n_frames).items():
            rows[task].append(question + answer)
            prompts[task].append(1 + len(question))  # [BOS] stands first
    has_box = torch.tensor([pair is not None for pair in asked], dtype=torch.bool)
    batch = {"location_mask": has_box}
    for task in rows:
        tokens = torch.zeros(len(asked), context, dtype=torch.int64)
        lengths = torch.zeros(len(asked), dtype=torch.int64)
        if rows[task]:
            tokens[has_box] = pad_rows(tokenizer, rows[task], context)
            lengths[has_box] = torch.tensor(prompts[task])
        batch |= {f"{task}_tokens": tokens, f"{task}_prompts": lengths}
    return batch


def _questions(
    finding: Stenosis, wording: int, tokenizer: Tokenizer, n_frames: int
) -> dict[str, tuple[list[int], list[int]]]:
    """Question and answer of each task, as ids."""
    place = [tokenizer.token_to_id(token) for token in box_tokens(finding.frame, n_frames, finding.box)]
    name, sentence = (
        tokenizer.encode(text, add_special_tokens=False).ids
        for text in (
            caption_of(finding.segment, finding.percent),
            write_finding(finding.segment, finding.percent, wording),
        )
    )
    aref, gcap = (tokenizer.token_to_id(token) for token in (AREF, GCAP))
    return {"aref": ([aref, *name], place), "gcap": ([gcap, *place], sentence)}
