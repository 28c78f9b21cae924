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

#: Sparse labels move probabilities: one threshold would rather say when it fits.
THRESHOLDS = (0.3, 0.5, 0.7)


def validation_scores(
    model: UNetMultiTask,
    tiles: Sequence[NucleiTile],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager],
) -> dict[str, float]:
    """``dice``: mean over tiles of the overlap of all nuclei as one mask, at the best of three thresholds."""
    maps = predict_maps(model, [t.image for t in tiles], with_hv=False, device=device, autocast=autocast)
    at_threshold = [
        [dice(found.probability > threshold, t.instances > 0) for found, t in zip(maps, tiles, strict=True)]
        for threshold in THRESHOLDS
    ]
    return {"dice": float(np.max(np.mean(at_threshold, axis=1)))}
