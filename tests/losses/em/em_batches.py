"""Small random labels and targets, in two or three dimensions."""

from __future__ import annotations

import torch

SHAPES = {2: (7, 6), 3: (4, 5, 3)}


def random_labels(seed: int, dims: int, batch: int = 2, ids: int = 4, unknown: float = 0.2) -> torch.Tensor:
    """``(B, *sp)`` ids 0..``ids``, a share of the voxels -100."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, *SHAPES[dims])
    labels = torch.randint(0, ids + 1, shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < unknown, -100, labels)


def random_tensor(seed: int, channels: int | None, dims: int, batch: int = 2) -> torch.Tensor:
    """Normal ``(B, C, *sp)``, or ``(B, *sp)`` in [0, 1) without channels; float64."""
    generator = torch.Generator().manual_seed(seed)
    if channels is None:
        return torch.rand(batch, *SHAPES[dims], generator=generator, dtype=torch.float64)
    return torch.randn(batch, channels, *SHAPES[dims], generator=generator, dtype=torch.float64)


def targets(seed: int, dims: int, batch: int = 2) -> dict[str, torch.Tensor]:
    return {
        "weight": random_tensor(seed, None, dims, batch) + 0.1,
        "direction": random_tensor(seed + 1, dims, dims, batch),
        "tensor": random_tensor(seed + 2, dims**2, dims, batch),
    }
