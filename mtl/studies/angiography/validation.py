"""The score that picks a training's checkpoint: what its own objectives are for, on validation clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from mtl.datasets.angiography import Clip
from mtl.datasets.angiography.clip_dataset import collate
from mtl.evaluation.angiography.ranking import first_relevant
from mtl.losses.angiography.captioning import counted_tokens
from mtl.models.angiography import VideoTextModel, memory_of
from mtl.models.angiography.masked_video import masked_video
from mtl.studies.angiography.data import caption_rows, clip_dataset
from mtl.studies.angiography.objective import average_features
from mtl.studies.angiography.parameters import AngiographyParameters

BATCH = 32
MASK_SEED = 0


@torch.no_grad()
def validation_scores(
    model: VideoTextModel,
    clips: Sequence[Clip],
    tokenizer: Tokenizer,
    parameters: AngiographyParameters,
    tasks: Sequence[str],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager],
) -> dict[str, float]:
    """Scores, 1 at best and about 0 where nothing was learnt, and ``score``, the mean of them.

    Only what ``tasks`` are for is scored, as follows.

    ``mrr``: mean reciprocal rank of the report among all validation reports, both ways (contrastive);
    ``token_accuracy``: share of the report's tokens that are the likeliest after the true ones before them
    (captioning); ``explained``: share of the masked target's variance (masked).
    """
    dataset, found = clip_dataset(clips, parameters), Batches()
    generator = torch.Generator(device).manual_seed(MASK_SEED)
    for start in range(0, len(dataset), BATCH):
        samples = [dataset[index] for index in range(start, min(start + BATCH, len(dataset)))]
        batch = collate(samples, tokenizer, parameters.context, truncate=True)
        with autocast():
            found.add(_outputs(model, batch, tokenizer, tasks, device))
            if "masked" in tasks:
                from_features = parameters.mask_target == "features"
                found.add(_masked(model, batch["video"].to(device), from_features, generator))
    scores = _scores(found, [clip.report for clip in clips])
    return scores | {"score": float(np.mean(list(scores.values())))}


class Batches(dict[str, list[Tensor]]):
    """Name to what every batch gave."""

    def add(self, found: Mapping[str, Tensor]) -> None:
        """Take in a batch."""
        for name, value in found.items():
            self.setdefault(name, []).append(value.float().cpu())

    def joined(self, name: str) -> np.ndarray:
        """All batches one after another."""
        return torch.cat(self[name]).numpy()


def _outputs(
    model: VideoTextModel,
    batch: Mapping[str, Any],
    tokenizer: Tokenizer,
    tasks: Sequence[str],
    device: torch.device,
) -> dict[str, Tensor]:
    video, found = batch["video"].to(device), {}
    video_tokens, pooled = model.video(video)
    if "contrastive" in tasks:
        found["video"] = model.alignment(pooled)
        found["text"] = model.embed_text(batch["tokens"].to(device))
    if "captioning" in tasks:
        rows, given = (part.to(device) for part in caption_rows(batch, tokenizer, False))
        logits = model.caption(rows[:, :-1], memory_of(video_tokens, pooled))
        likeliest, kept = logits.argmax(-1), counted_tokens(rows, given)
        found["right"] = ((likeliest == rows[:, 1:]) & kept).sum(1)
        found["counted"] = kept.sum(1)
    return found


def _masked(
    model: VideoTextModel, video: Tensor, from_features: bool, generator: torch.Generator
) -> dict[str, Tensor]:
    features = average_features(model, video) if from_features else None
    output = masked_video(model.video, model.masked, video, features, generator)
    error = output["masked_prediction"].float() - output["masked_target"].float()
    return {
        "error": error.square().flatten(1).mean(1),
        "variance": output["masked_target"].float().square().flatten(1).mean(1),
    }


def _scores(found: Batches, reports: Sequence[str]) -> dict[str, float]:
    scores = {}
    if "video" in found:
        scores["mrr"] = mean_reciprocal_rank(found.joined("video"), found.joined("text"), reports)
    if "right" in found:
        scores["token_accuracy"] = float(found.joined("right").sum() / found.joined("counted").sum())
    if "error" in found:
        scores["explained"] = float(1 - found.joined("error").sum() / found.joined("variance").sum())
    return scores


def mean_reciprocal_rank(videos: np.ndarray, texts: np.ndarray, reports: Sequence[str]) -> float:
    """Of clips ``(N, D)`` and their reports ``(N, D)``, both ways; equal reports are equally right."""
    similarity = (videos @ texts.T).astype(float)
    same = np.array([[one == other for other in reports] for one in reports])
    both = [first_relevant(side, same).reciprocal_rank().mean() for side in (similarity, similarity.T)]
    return float(np.mean(both))
