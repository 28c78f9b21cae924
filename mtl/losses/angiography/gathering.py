"""The embeddings of all ranks beside one's own, with gradients back to where they came from."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def ranks(gather: bool = True) -> tuple[int, int]:
    """This rank and the number of ranks; (0, 1) without a process group or where nothing is gathered."""
    if not (gather and dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def of_all_ranks(x: Tensor) -> Tensor:
    """``(b, ...)`` of each rank to ``(R b, ...)``, rank by rank; gradients of all ranks are summed.

    All ranks must call it, each with the same shape.
    """
    from torch.distributed.nn.functional import all_gather

    if x.requires_grad:
        return torch.cat(all_gather(x))
    found = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(found, x.contiguous())
    return torch.cat(found)
