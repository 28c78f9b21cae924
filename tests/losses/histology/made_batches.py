"""Small random batches for the histology losses."""

from __future__ import annotations

import torch
from torch import Tensor


def random_mask(seed: int, batch: int = 2, height: int = 9, width: int = 11, share: float = 0.3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, 1, height, width, generator=generator) < share).float()


def random_tensor(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True)


def blob_mask(batch: int = 2, side: int = 48) -> Tensor:
    """Discs, two of which touch."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    mask = torch.zeros(batch, 1, side, side)
    for b in range(batch):
        for cy, cx, r in ((10, 10 + b, 6), (10, 22 + b, 6), (34, 30, 8)):
            mask[b, 0][((y - cy) ** 2 + (x - cx) ** 2) <= r * r] = 1
    return mask


def output_of(
    mask: Tensor, seed: int = 0, size: float = 1.0, channels: int = 8, maps: int = 1
) -> dict[str, Tensor]:
    """A made model output with every key; embeddings of length 1."""
    batch, _, height, width = mask.shape
    return {
        "preds": random_tensor(seed, batch, 1, height, width, scale=3 * size).requires_grad_(),
        "hv_map": random_tensor(seed + 1, batch, maps, height, width).sigmoid().requires_grad_(),
        "recon": random_tensor(seed + 2, batch, 3, height, width).sigmoid().requires_grad_(),
        "obj_emb": unit(random_tensor(seed + 3, batch, channels, height, width)).requires_grad_(),
        "pixel_emb": unit(random_tensor(seed + 4, batch, channels, height, width)).requires_grad_(),
    }
