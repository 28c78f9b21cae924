"""The network's maps of whole images, of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mtl.errors import DataError
from mtl.models.histology import UNetMultiTask

LARGEST = 1024  # pixels along a side that the network sees at once
OVERLAP = 0.25


@dataclass(frozen=True)
class NucleiMaps:
    """Of one image: ``probability`` float32 ``(H, W)``; ``hv_map`` float32 ``(C, H, W)`` if asked for."""

    probability: NDArray[np.float32]
    hv_map: NDArray[np.float32] | None


@torch.no_grad()
def predict_maps(
    model: UNetMultiTask,
    images: Sequence[NDArray[np.uint8]],
    *,
    with_hv: bool = True,
    device: torch.device | str = "cpu",
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> list[NucleiMaps]:
    """Maps of each image uint8 ``(H, W, 3)``, one by one; large ones window by window (MONAI), blended.

    Raises `DataError` for an image of another shape or type.
    """
    model = model.to(device).eval()
    found = []
    for number, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(f"image {number}: {image.dtype} {image.shape}; uint8 (H, W, 3) is expected")
        # Channels stay last: convolutions and poolings of few channels take half as long so on a CPU.
        x = torch.from_numpy(np.ascontiguousarray(image))[None].to(device).permute(0, 3, 1, 2).float() / 255
        with autocast():
            output = (
                _windowed(model, x, with_hv) if max(x.shape[-2:]) > LARGEST else model(x, return_hv=with_hv)
            )
        probability = output["preds"].float().sigmoid()[0, 0].cpu().numpy()
        hv_map = output["hv_map"].float()[0].cpu().numpy() if with_hv else None
        found.append(NucleiMaps(probability, hv_map))
    return found


def _windowed(model: UNetMultiTask, x: torch.Tensor, with_hv: bool) -> dict[str, torch.Tensor]:
    from monai.inferers import sliding_window_inference

    statistics = model.statistics(x)  # of the whole image: a window has others
    window = [min(side, LARGEST) for side in x.shape[-2:]]
    return sliding_window_inference(
        x,
        window,
        1,
        lambda part: model(part, return_hv=with_hv, statistics=statistics),
        overlap=OVERLAP,
        mode="gaussian",
    )
