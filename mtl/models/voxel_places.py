"""Voxel coordinates to places in a flattened volume and back; the device is never asked or sent anything."""

from __future__ import annotations

import torch
from torch import Tensor


def flat_places(points: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Place of every point in a volume of ``shape``, and whether the point lies inside.

    ``(..., S)`` int64 to ``(...)`` int64 and bool; points outside get place 0.
    """
    place = torch.zeros_like(points[..., 0])
    inside = torch.ones_like(place, dtype=torch.bool)
    for axis, length in enumerate(shape):
        at = points[..., axis]
        inside = inside & (at >= 0) & (at < length)
        place = place * length + at
    return torch.where(inside, place, 0), inside


def coordinates(places: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Points ``(..., S)`` of places ``(...)``; undoes :func:`flat_places`."""
    found = []
    for length in reversed(shape):
        found.append(places % length)
        places = places // length
    return torch.stack(found[::-1], dim=-1)
