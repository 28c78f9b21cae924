"""What a masked video model sees of a clip, and what it makes of the rest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mtl.errors import DataError
from mtl.inference.angiography.batches import evaluating
from mtl.models.angiography import VideoTextModel
from mtl.models.angiography.masked_video import completed, masked_video


def reconstruct(
    model: VideoTextModel, clip: Tensor, generator: torch.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mask a clip and predict what is hidden, in the clip's own grey values.

    The network predicts pixels normalised by tubelet; see ``completed`` for how they are shown.

    Args:
        clip: ``(3, T, H, W)`` in [0, 1]; generator: what the mask is drawn from.

    Returns:
        The clip with NaN where it was hidden, and the clip with predictions there, each ``(3, T, H, W)``
        float32 in [0, 1].

    Raises:
        DataError: another shape.
    """
    if clip.ndim != 4:
        raise DataError(f"clip {tuple(clip.shape)}: one clip (3, T, H, W) is expected")
    device = next(model.parameters()).device
    with evaluating(model):
        video = clip[None].to(device)
        found = masked_video(model.video, model.masked, video, generator=generator)
        hidden = found | {"masked_prediction": torch.full_like(found["masked_prediction"], torch.nan)}
        both = (completed(model.video, video, output) for output in (hidden, found))
        seen, predicted = (filled[0].float().clamp(0, 1).cpu().numpy() for filled in both)
    return seen, predicted
