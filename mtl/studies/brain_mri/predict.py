"""Per-case predictions: the table that every metric, figure and comparison is computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mtl.evaluation.segmentation import case_scores
from mtl.evaluation.weighted import balanced_accuracy
from mtl.training.objective import Batch

MASK_THRESHOLD = 0.5
_FIGURES = ("dice", "iou", "hd95", "mask_pixels", "predicted_pixels")


@torch.inference_mode()
def predict_cases(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    classifies: bool,
    min_tumor_pixels: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
    keep_masks: bool = False,
) -> pd.DataFrame:
    """One row per case.

    Args:
        model: in eval mode, on ``device``.
        batches: of ``mtl.datasets.brain_mri.collate``.
        classifies: whether the classification head has been trained. If not, ``tumor_prob`` is the mean
            of the ``min_tumor_pixels`` largest mask probabilities: what the segmentation alone says.
        keep_masks: add a column ``mask`` with the predicted probabilities, ``(H, W)`` float16 arrays.

    Returns:
        Columns id, source, patient, slice, cls, has_mask, tumor_prob, and per case with a mask dice, iou,
        hd95 (pixels of the prepared image), mask_pixels; predicted_pixels for all. NaN where undefined.
    """
    rows: list[dict[str, Any]] = []
    for batch in batches:
        with autocast():
            output = model(batch["image"].to(device), do_seg=True, do_cls=classifies)
        masks = output["seg"].float().sigmoid()
        prob = output["cls"].float().softmax(1)[:, 1] if classifies else _mask_score(masks, min_tumor_pixels)
        found = masks[:, 0].cpu().numpy()
        for i, probability in enumerate(prob.cpu().tolist()):
            row = {name: batch[name][i] for name in ("id", "source", "patient", "slice")}
            row |= {"cls": int(batch["cls"][i]), "has_mask": bool(batch["has_mask"][i])}
            truth = batch["mask"][i, 0].numpy() > 0.5 if row["has_mask"] else None
            row |= {"tumor_prob": probability} | _mask_figures(found[i] > MASK_THRESHOLD, truth)
            if keep_masks:
                row["mask"] = found[i].astype(np.float16)
            rows.append(row)
    return pd.DataFrame(rows)


def _mask_score(masks: Tensor, n_pixels: int) -> Tensor:
    return masks.flatten(1).topk(n_pixels, dim=1).values.mean(dim=1)


def _mask_figures(predicted: np.ndarray, truth: np.ndarray | None) -> dict[str, float]:
    if truth is None:
        return dict.fromkeys(_FIGURES, np.nan) | {"predicted_pixels": float(predicted.sum())}
    return {name: float(value) for name, value in case_scores(predicted, truth).items()}


@torch.inference_mode()
def validation_scores(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    classifies: bool,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> dict[str, float]:
    """What selects checkpoints: a cheap pass without distances or intervals.

    Returns:
        ``dice``: mean over cases with a non-empty mask; with a trained head also ``balanced_accuracy``
        (threshold 0.5), ``roc_auc`` and ``dice_and_balanced_accuracy`` (their mean). NaN where
        undefined (no such case, or one class only).
    """
    dice, labels, probabilities = [], [], []
    for batch in batches:
        wants_masks = bool(batch["has_mask"].any())
        with autocast():
            output = model(batch["image"].to(device), do_seg=wants_masks, do_cls=classifies)
        if wants_masks:
            dice.append(_filled_dice(output["seg"].cpu() > 0, batch["mask"] > 0.5))
        if classifies:
            labels.append(batch["cls"])
            probabilities.append(output["cls"].float().softmax(1)[:, 1].cpu())
    filled = torch.cat(dice) if dice else torch.empty(0)
    scores = {"dice": float(filled.mean()) if len(filled) else float("nan")}
    if classifies:
        scores |= _classification_scores(torch.cat(labels).numpy(), torch.cat(probabilities).numpy())
        scores["dice_and_balanced_accuracy"] = float(
            np.nanmean([scores["dice"], scores["balanced_accuracy"]])
        )
    return scores


def _filled_dice(predicted: Tensor, truth: Tensor) -> Tensor:
    predicted, truth = predicted.flatten(1), truth.flatten(1)
    overlap = 2 * (predicted & truth).sum(1) / (predicted.sum(1) + truth.sum(1))
    return overlap[truth.any(dim=1)]


def _classification_scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    if len(np.unique(labels)) < 2:
        return {"balanced_accuracy": float("nan"), "roc_auc": float("nan")}
    accuracy = balanced_accuracy(labels, probabilities >= 0.5, np.ones((1, len(labels))))
    from sklearn.metrics import roc_auc_score  # takes half a second: only here

    return {"balanced_accuracy": float(accuracy[0]), "roc_auc": float(roc_auc_score(labels, probabilities))}
