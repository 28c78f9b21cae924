"""What a trained network says about a part of the volume, in automatic mode."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtl.datasets.em import EMVolume
from mtl.inference.em.sliding_window import sliding_window
from mtl.models.em import EMModel
from mtl.studies.em.parameters import EMParameters


@dataclass(frozen=True)
class VolumePrediction:
    """Outputs of the heads, blended over windows.

    Attributes:
        foreground: probability of any class but background, float32 ``(*sp)``.
        embedding: float32 ``(E, *sp)``.
        direction: float32 ``(S, *sp)``, or None where nobody asked for it. Nothing else of the geometry is
            decoded, so that nothing else of it is kept.
    """

    foreground: np.ndarray
    embedding: np.ndarray
    direction: np.ndarray | None


def predict(
    model: EMModel,
    volume: EMVolume,
    parameters: EMParameters,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
    directions: bool = False,
) -> VolumePrediction:
    """Run the network over ``volume`` in overlapping windows; planes one by one where it is 2-D.

    ``directions``: keep them too; the network must have learnt them.
    """
    model.eval().to(device)

    def network(images: Tensor) -> Tensor:
        with autocast():
            output = model(images)
        foreground = 1 - output["semantic"].float().softmax(dim=1)[:, :1]
        ways = [output["geometry"][:, : parameters.dims].float()] if directions else []
        return torch.cat([foreground, output["instance"].float(), *ways], dim=1)

    window = [
        min(side, length) for side, length in zip(parameters.window, _sides(volume, parameters), strict=True)
    ]
    found = sliding_window(network, volume, window, overlap=parameters.window_overlap, device=device)
    channels = model.instance_head.project.out_features
    direction = found[1 + channels :] if directions else None
    return VolumePrediction(found[0], found[1 : 1 + channels], direction)


def _sides(volume: EMVolume, parameters: EMParameters) -> tuple[int, ...]:
    return volume.shape[-parameters.dims :]
