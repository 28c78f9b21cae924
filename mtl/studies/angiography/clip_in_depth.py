"""One clip looked at closely: what is written, where attention lies meanwhile, which reports are near."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from mtl.datasets.angiography import Clip, Stenosis
from mtl.datasets.angiography.clip_dataset import collate
from mtl.datasets.angiography.tokenizer import BOS, CAP, decode_reports, encode_reports
from mtl.errors import ParameterError
from mtl.evaluation.angiography import grounding_scores
from mtl.inference.angiography import embed_clips, embed_reports, nearest_reports
from mtl.inference.angiography.attention_maps import CaptionAttention, caption_attention
from mtl.inference.angiography.batches import evaluating
from mtl.models.angiography import VideoTextModel, memory_of
from mtl.studies.angiography.data import clip_dataset
from mtl.studies.angiography.scoring import ALL_SEGMENTS, generation_options
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import Training

NEAREST = 5
_SEGMENTS = {segment.lower() for segment in ALL_SEGMENTS}


@dataclass(frozen=True)
class SeenClip:
    """A clip as the network sees it, and what it makes of it.

    ``video`` float32 ``(3, T, H, W)``; ``boxes`` planted in it; the ``report`` written; its ``attention``.
    """

    video: np.ndarray
    boxes: list[Stenosis]
    report: str
    attention: CaptionAttention

    @property
    def told_words(self) -> list[int]:
        """Numbers of the first word that names a segment and of the first that is a percentage."""
        words = self.attention.words
        segment = next((n for n, word in enumerate(words) if word.lower() in _SEGMENTS), None)
        percent = next((n for n, word in enumerate(words) if re.fullmatch(r"\d+", word)), None)
        return [number for number in (segment, percent) if number is not None]


def look_at(study: AngiographyStudy, training: Training, clip: Clip) -> SeenClip:
    """Write the clip's report and look where attention lay. Raises ``ParameterError`` without captions."""
    if "captioning" not in study.learnt(training.variant):
        raise ParameterError(
            f"weight_captioning: {training.variant!r} has no captioning objective, and writes no report"
        )
    return next(_looks(study, study.model(training).to(study.fabric.device), [clip]))


def _looks(study: AngiographyStudy, model: VideoTextModel, clips: list[Clip]) -> Iterator[SeenClip]:
    p, tokenizer, device = study.parameters, study.tokenizer, study.fabric.device
    prefix = torch.tensor([[tokenizer.token_to_id(token) for token in (BOS, CAP)]], device=device)
    dataset = clip_dataset(clips, p)
    for number in range(len(dataset)):
        sample = dataset[number]
        with evaluating(model), study.fabric.autocast():
            memory = memory_of(*model.video(sample["video"][None].to(device)))
            tokens = model.caption.generate(
                memory, prefix, p.context + 1, method=p.generation, **generation_options(study)
            )
        pieces = [tokenizer.id_to_token(int(one)) for one in tokens[0]]
        attention = caption_attention(model.caption, memory.float(), tokens, pieces, p.grid)
        (report,) = decode_reports(tokenizer, tokens.cpu())
        yield SeenClip(sample["video"].numpy(), sample["boxes"], report, attention)


def attention_table(study: AngiographyStudy, training: Training) -> pd.DataFrame:
    """A row per test clip with a planted box: its report's attention against the first box.

    Columns of ``grounding_scores``, and ``on_whole``.
    """
    clips = [clip for clip in study.parts.test if clip.stenoses]
    if not clips or "captioning" not in study.learnt(training.variant):
        return pd.DataFrame()
    seen = list(_looks(study, study.model(training).to(study.fabric.device), clips))
    table = grounding_scores(
        [one.attention.average for one in seen], [one.boxes[0].box for one in seen],
        [one.boxes[0].frame for one in seen], [clip.study for clip in clips],
        n_frames=study.parameters.frames,
    )  # fmt: skip
    return table.assign(on_whole=[one.attention.on_whole for one in seen])


def nearest_reports_to(study: AngiographyStudy, training: Training, clip: Clip) -> pd.DataFrame:
    """Training reports nearest to a clip: ``report``, ``cosine``; no row without a contrastive objective."""
    if "contrastive" not in study.learnt(training.variant):
        return pd.DataFrame()
    p, device, autocast = study.parameters, study.fabric.device, study.fabric.autocast
    model = study.model(training).to(device)
    reports = sorted({one.report for one in study.parts.train})
    texts = embed_reports(
        model, encode_reports(study.tokenizer, reports, p.context, truncate=True), device, autocast
    )
    batch = collate([clip_dataset([clip], p)[0]], study.tokenizer, p.context, truncate=True)
    vectors = embed_clips(model, [batch], device, autocast).vectors
    numbers, cosines = nearest_reports(vectors, texts, min(NEAREST, len(reports)))
    rows = zip(numbers[0], cosines[0], strict=True)
    return pd.DataFrame([{"report": reports[number], "cosine": cosine} for number, cosine in rows])
