"""The score that picks a training's checkpoint: overlap with all nuclei of the validation tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch

from mtl.datasets.histology import NucleiTile
from mtl.evaluation.segmentation import dice
from mtl.inference.histology import predict_maps
from mtl.models.histology import UNetMultiTask

#: An outlined pixel weighs as much as many unlabelled ones: where probabilities part is not at one half.
THRESHOLDS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)


def validation_scores(
    model: UNetMultiTask,
    tiles: Sequence[NucleiTile],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager],
) -> dict[str, float]:
    """``dice``: mean over tiles of the overlap of all nuclei as one mask, at the best of the thresholds."""
    maps = predict_maps(model, [t.image for t in tiles], with_hv=False, device=device, autocast=autocast)
    at_threshold = [
        [dice(found.probability > threshold, t.instances > 0) for found, t in zip(maps, tiles, strict=True)]
        for threshold in THRESHOLDS
    ]
    return {"dice": float(np.max(np.mean(at_threshold, axis=1)))}
