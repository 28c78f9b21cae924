"""A linear layer for a few rows at a time, its weights laid out for that once.

While tokens are written one by one, a network does little but read its weights. For 3 to 64 rows CPU
libraries copy them into another order first, in each call; done beforehand, a call takes about half the time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

FEWEST_ROWS, MOST_ROWS = 3, 64
Linear = Callable[[Tensor], Tensor]


def packed_linear(weight: Tensor, bias: Tensor | None, rows: int) -> Linear:
    """``x`` to ``x W^T + b`` for ``x`` of ``rows`` rows; the layer as it is where packing does not help.

    The packed copy has the values of ``weight`` at the time of the call.
    """
    if not packing_helps(weight, rows):
        return lambda x: F.linear(x, weight, bias)
    packed = torch.ops.mkl._mkl_reorder_linear_weight(weight.detach(), rows)
    return lambda x: torch.ops.mkl._mkl_linear(x, packed, weight, bias, rows)


def packing_helps(weight: Tensor, rows: int) -> bool:
    """On a CPU, in float32, with Intel's library, for a few rows; no gradient flows through it."""
    return (
        not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and FEWEST_ROWS <= rows <= MOST_ROWS
        and torch.backends.mkl.is_available()
        and hasattr(torch.ops.mkl, "_mkl_linear")
    )
