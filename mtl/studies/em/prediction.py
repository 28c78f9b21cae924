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
        geometry: float32 ``(G, *sp)``, or None without that head.
    """

    foreground: np.ndarray
    embedding: np.ndarray
    geometry: np.ndarray | None


def predict(
    model: EMModel,
    volume: EMVolume,
    parameters: EMParameters,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> VolumePrediction:
    """Run the network over ``volume`` in overlapping windows; planes one by one where it is 2-D."""
    model.eval().to(device)

    def network(images: Tensor) -> Tensor:
        with autocast():
            output = model(images)
        foreground = 1 - output["semantic"].float().softmax(dim=1)[:, :1]
        rest = [output[name].float() for name in ("instance", "geometry") if name in output]
        return torch.cat([foreground, *rest], dim=1)

    window = [
        min(side, length) for side, length in zip(parameters.window, _sides(volume, parameters), strict=True)
    ]
    found = sliding_window(network, volume, window, overlap=parameters.window_overlap, device=device)
    channels = model.instance_head.project.out_features
    geometry = found[1 + channels :]
    return VolumePrediction(found[0], found[1 : 1 + channels], geometry if len(geometry) else None)


def _sides(volume: EMVolume, parameters: EMParameters) -> tuple[int, ...]:
    return volume.shape[-parameters.dims :]
