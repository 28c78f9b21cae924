r"""Which tubelets are hidden: anywhere, in tubes through time, or in one block.

Every sample of a batch gets the same number of hidden tubelets, so that shapes are known beforehand.

==========  ==========================================================  ==================
shape       hidden                                                      how many of N = t h w
==========  ==========================================================  ==================
``random``  any                                                         round(ratio N)
``tube``    places of the frame, at all times (Tong et al. 2022)        t round(ratio h w)
``block``   those nearest to a random centre, by the largest of the     round(ratio N)
            distances in time, rows and columns as shares of the clip
==========  ==========================================================  ==================

At least one tubelet is hidden and at least one (of ``tube``: one place) stays visible.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mtl.errors import ParameterError
from mtl.models.angiography.tubelets import Grid

MASK_SHAPES = ("random", "tube", "block")


def drawn_mask(
    grid: Grid,
    batch: int,
    ratio: float = 0.75,
    shape: str = "random",
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Places of visible ``(B, K)`` and of hidden ``(B, M)`` tubelets, int64, each in rising order.

    Args:
        grid: ``(t, h, w)``; batch: B; ratio: share of hidden ones, above 0 and below 1.
        shape: a name of ``MASK_SHAPES``.
        device: where they are needed; generator: to draw from, on that device.

    Raises:
        ParameterError: unknown shape, a ratio out of range, or a grid too small to hide a part of.
    """
    if shape not in MASK_SHAPES:
        raise ParameterError(f"mask shape: {shape!r} is not one of {', '.join(MASK_SHAPES)}")
    if not 0 < ratio < 1:
        raise ParameterError(f"mask ratio = {ratio}: above 0 and below 1 is expected")
    t, h, w = grid
    cells = h * w if shape == "tube" else t * h * w
    if cells < 2:
        raise ParameterError(f"grid {grid}: mask shape {shape!r} needs 2 cells at least")
    hidden = min(max(round(ratio * cells), 1), cells - 1)
    if shape == "block":
        score = _distance_to_a_centre(grid, batch, device, generator)
    else:
        score = torch.rand(batch, cells, device=device, generator=generator)
    order = score.argsort(dim=1, stable=True)
    masked, keep = order[:, :hidden], order[:, hidden:]
    if shape == "tube":
        masked, keep = (_through_time(places, t, cells) for places in (masked, keep))
    return keep.sort(dim=1).values, masked.sort(dim=1).values


def _through_time(places: Tensor, steps: int, cells: int) -> Tensor:
    times = torch.arange(steps, device=places.device)[:, None] * cells
    return (places[:, None] + times).flatten(1)


def _distance_to_a_centre(
    grid: Grid, batch: int, device: torch.device | str, generator: torch.Generator | None
) -> Tensor:
    """``(B, N)``: max-norm distance, each axis as a share of the clip."""
    centre = torch.rand(batch, 3, device=device, generator=generator)
    axes = [(torch.arange(side, device=device) + 0.5) / side for side in grid]
    cells = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 2)
    return (cells - centre[:, None]).abs().amax(dim=-1)
