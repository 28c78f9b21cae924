"""One training step: what the objectives of a variant need of the network, and their losses, unweighted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.losses.angiography import MultitaskLoss
from mtl.models.angiography import VideoTextModel, memory_of
from mtl.models.angiography.masked_video import masked_video
from mtl.studies.angiography.variants import learnt
from mtl.training.objective import Batch, TaskLosses

#: Objective to the parts of the network that it trains.
PARTS = {
    "contrastive": ("video", "text", "alignment"),
    "captioning": ("video", "caption"),
    "masked": ("video", "masked"),
}


def parts_of(tasks: Sequence[str], distilled: str = "contrastive") -> tuple[str, ...]:
    """Parts of the network that some of the objectives train, each once.

    distilled: what a teacher hands on, ``contrastive``, ``captioning`` or ``both``.
    """
    return tuple(dict.fromkeys(part for task in learnt(tasks, distilled) for part in PARTS[task]))


class AngiographyObjective:
    """``objective(model, batch)`` for some of the four objectives.

    Args:
        loss: with the settings of the run; its ``total`` is dropped, because the balancer owns the weights.
        tasks: names of the objectives.
        teacher: a trained network that is distilled from; None: the model's own average.
        from_features: masked video predicts what the model's own average finds there, not pixels.
        follows: that average takes in the model's weights, once per training batch.
    """

    def __init__(
        self,
        loss: MultitaskLoss,
        tasks: Sequence[str],
        teacher: VideoTextModel | None = None,
        from_features: bool = False,
        follows: bool = True,
    ) -> None:
        self.loss, self.tasks = loss, frozenset(tasks)
        self.teacher, self.from_features, self.follows = teacher, from_features, follows

    def __call__(self, model: VideoTextModel, batch: Batch) -> TaskLosses:
        """Losses of a batch of ``training_batch``; the clip is encoded once, its visible part once more.

        The device is not waited for: what is there is read from ``valid_units`` and ``n_reports``.
        """
        units = {task: n for task, n in batch["valid_units"].items() if task in self.tasks and n}
        self._follow(model)
        output = self._whole_clips(model, batch, units)
        if "masked" in units:
            features = average_features(model, batch["video"]) if self.from_features else None
            output |= masked_video(model.video, model.masked, batch["video"], features)
        if not output:
            return TaskLosses({})
        found = self.loss(
            output,
            report_ids=batch["report_ids"],
            caption_tokens=batch["captions"],
            prefix_lengths=batch["prefixes"],
            teacher=self._taught(model, batch) if "distillation" in units else None,
            units=units,
        )
        losses = {name: loss for name, loss in found.items() if name in self.tasks}
        return TaskLosses(losses, {name: term for name, term in found.items() if "/" in name})

    def _whole_clips(
        self, model: VideoTextModel, batch: Batch, units: Mapping[str, int]
    ) -> dict[str, Tensor]:
        """Outputs of the objectives that look at the whole clip, for clips whose report is known."""
        wanted = set(learnt(units, self.loss.config.distilled)) - {"masked"}
        return reported(model, batch, wanted) if wanted else {}

    def _follow(self, model: VideoTextModel) -> None:
        """The model's own average takes in its present weights, once per training batch."""
        if self.follows and model.teacher is not None and model.training and torch.is_grad_enabled():
            model.teacher.follow(model)

    @torch.no_grad()
    def _taught(self, model: VideoTextModel, batch: Batch) -> dict[str, Tensor]:
        """What the teacher says of clips and reports."""
        teacher = model.teacher.module if self.teacher is None else self.teacher
        return reported(teacher, batch, learnt(["distillation"], self.loss.config.distilled))


def reported(model: VideoTextModel, batch: Batch, wanted: Collection[str]) -> dict[str, Tensor]:
    """Outputs for clips whose report is known: what ``contrastive`` and ``captioning`` need, if wanted."""
    tokens, pooled = model.video(batch["video"][: batch["n_reports"]])
    output = aligned(model, pooled, batch["tokens"]) if "contrastive" in wanted else {}
    if "captioning" in wanted:
        memory, lengths = memory_of(tokens, pooled), batch["caption_lengths"]
        output["caption_logits"] = caption_logits(model, batch["captions"], lengths, memory)
    return output


@torch.no_grad()
def average_features(model: VideoTextModel, video: Tensor) -> Tensor:
    """Tokens ``(B, N, D)`` that the model's own average finds in the whole clips."""
    return model.teacher.module.video(video)[0]


def caption_logits(model: VideoTextModel, rows: Tensor, lengths: Sequence[int], memory: Tensor) -> Tensor:
    """Logits ``(B * r, L - 1, V)`` of token rows ``(B * r, L)`` of r kinds that follow one another.

    Each kind is read as far as its longest row goes (``lengths``); 0 stands where only padding is. Rows of a
    place are a fifth as long as those of a report: all at once they would cost as much.
    """
    kinds = rows.unflatten(0, (-1, len(lengths))).unbind(1)
    found = [
        model.caption(kind[:, : max(length - 1, 1)], memory)
        for kind, length in zip(kinds, lengths, strict=True)
    ]
    missing = [rows.shape[1] - 1 - logits.shape[1] for logits in found]
    padded = [F.pad(logits, (0, 0, 0, n)) for logits, n in zip(found, missing, strict=True)]
    return torch.stack(padded, dim=1).flatten(0, 1)


def aligned(model: VideoTextModel, pooled: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """Embeddings of clips and reports, temperature and bias, as the contrastive loss wants them."""
    found = {
        "video_embedding": model.alignment(pooled),
        "text_embedding": model.embed_text(tokens),
        "log_temperature": model.alignment.log_temperature,
    }
    return found if model.alignment.bias is None else found | {"bias": model.alignment.bias}


def log_keys(means: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Epoch means to logged scalars: ``loss/<objective>``, its terms, and ``loss/total``, weighted."""
    scalars = {f"loss/{name}": value for name, value in means.items()}
    scalars["loss/total"] = sum(weights[name] * value for name, value in means.items() if "/" not in name)
    return scalars
