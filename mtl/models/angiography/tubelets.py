"""A video as small boxes of space and time, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.errors import DataError

Grid = tuple[int, int, int]


def grid_of(video: Tensor, tubelet: Sequence[int], channels: int) -> Grid:
    """Tubelets ``(t, h, w)`` along each side of ``(B, C, T, H, W)``.

    Raises:
        DataError: not five axes, another number of channels, no frame, or sides that the tubelet does not
            divide.
    """
    if video.ndim != 5:
        raise DataError(f"video has shape {tuple(video.shape)}; (B, C, T, H, W) is expected")
    if video.shape[1] != channels:
        raise DataError(f"video has {video.shape[1]} channels; {channels} are expected")
    sides = tuple(video.shape[2:])
    if 0 in sides:
        raise DataError(f"video of {sides[0]} frames of {sides[1]} x {sides[2]} pixels: the clip is empty")
    if any(side % step for side, step in zip(sides, tubelet, strict=True)):
        raise DataError(
            f"video of (frames, height, width) = {sides}: multiples of the tubelet {tuple(tubelet)} are "
            "expected"
        )
    t, h, w = (side // step for side, step in zip(sides, tubelet, strict=True))
    return t, h, w


def tubelets_of(video: Tensor, tubelet: Sequence[int]) -> Tensor:
    """``(B, C, T, H, W)`` to ``(B, N, C * pt * ph * pw)``: time slowest, then rows, then columns."""
    return _split(video, tubelet).flatten(4).flatten(1, 3)


def tubelets_at(video: Tensor, tubelet: Sequence[int], places: Tensor) -> Tensor:
    """Those at ``places`` (B, K) only, ``(B, K, C * pt * ph * pw)``; the others are not touched."""
    split = _split(video, tubelet)
    _, rows, columns = split.shape[1:4]
    batch = torch.arange(len(video), device=video.device)[:, None]
    time, row, column = places // (rows * columns), places // columns % rows, places % columns
    return split[batch, time, row, column].flatten(2)


def _split(video: Tensor, tubelet: Sequence[int]) -> Tensor:
    """A view ``(B, t, h, w, C, pt, ph, pw)``."""
    batch, channels, *sides = video.shape
    (pt, ph, pw), (t, h, w) = tubelet, (side // step for side, step in zip(sides, tubelet, strict=True))
    split = video.reshape(batch, channels, t, pt, h, ph, w, pw)
    return split.permute(0, 2, 4, 6, 1, 3, 5, 7)


def video_of(patches: Tensor, tubelet: Sequence[int], grid: Grid) -> Tensor:
    """The inverse of :func:`tubelets_of`: ``(B, N, C * pt * ph * pw)`` to ``(B, C, T, H, W)``."""
    (pt, ph, pw), (t, h, w) = tubelet, grid
    split = patches.reshape(len(patches), t, h, w, -1, pt, ph, pw)
    return split.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(len(patches), -1, t * pt, h * ph, w * pw)


def picked(tokens: Tensor, places: Tensor) -> Tensor:
    """``tokens`` (B, N, D) at ``places`` (B, K): (B, K, D)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
