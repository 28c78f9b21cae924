"""Samples of `CropDataset` joined to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join samples to a batch; what each of a study's tasks can learn from it, the study counts.

    ``image`` (B, 1, *sp) float32, ``labels`` (B, *sp) int64, ``targets`` (dict, each stacked), ``points``
    (B, P, S) and ``point_labels`` (B, P) int64 (1, 0, -1 padding), ``semantic_ids`` and ``target_ids`` (B,)
    int64, ``has_foreground`` (B,) bool, ``spacing`` (B, S) float32, ``max_instances`` int; lists ``id``,
    ``volume``, ``mode``.
    """
    has_foreground = [sample["mode"] is not None for sample in samples]
    listed = {key: [sample[key] for sample in samples] for key in ("id", "volume", "mode")}
    return {
        "image": torch.stack([sample["image"] for sample in samples]),
        "labels": torch.stack([sample["labels"] for sample in samples]),
        "targets": {
            key: torch.stack([sample["targets"][key] for sample in samples]) for key in samples[0]["targets"]
        },
        "points": torch.stack([sample["points"] for sample in samples]),
        "point_labels": torch.stack([sample["point_labels"] for sample in samples]),
        "semantic_ids": torch.tensor([sample["semantic_id"] for sample in samples], dtype=torch.int64),
        "target_ids": torch.tensor([sample["target_id"] for sample in samples], dtype=torch.int64),
        "has_foreground": torch.tensor(has_foreground, dtype=torch.bool),
        "spacing": torch.tensor([sample["spacing"] for sample in samples], dtype=torch.float32),
        "max_instances": max(0, *(int(sample["labels"].max()) for sample in samples)),
        **listed,
    }
