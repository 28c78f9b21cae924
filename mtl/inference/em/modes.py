r"""Modes of an embedding: mean shift on a few thousand core voxels, then the nearest mode for every voxel.

Mean shift over all voxels (Fukunaga and Hostetler 1975; De Brabandere et al. 2017) costs seeds x voxels per
iteration. But the discriminative loss leaves one cluster per instance, of radius :math:`\delta_v`, centres
:math:`2\delta_d` apart, and a mode is known well from a few dozen voxels:

1. voxels are drawn at random and the smoothest quarter kept (*cores*: least change of the embedding between
   the two neighbours along every axis), because voxels at a boundary hold mixtures of two instances, which
   would give modes of their own; each is averaged with its neighbours;
2. flat-kernel mean shift on these, with radius ``bandwidth``; ends within ``bandwidth`` are one mode;
3. every voxel takes its nearest mode: one matrix product in chunks that stay in the cache;
4. cores farther than ``bandwidth`` from every mode belong to instances too small for the first draw: another
   draw among them, at most ``rounds`` times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 16_384  # voxels: 50 modes' scores of them stay in the second-level cache
CORE_SHARE = 4  # one in so many drawn voxels is a core
MIN_CORES = 4  # fewer make no mode
FEWEST, MOST = 1024, 2048  # cores of a round; between them one per 512 voxels
ROUNDS = 3
MAX_SHIFTS = 5


@dataclass(frozen=True)
class Modes:
    """``centres`` (K, E); ``nearest`` (N,) int32: each voxel's mode (background's too), 0 to K - 1."""

    centres: Tensor
    nearest: Tensor


def find_modes(
    embedding: Tensor, foreground: Tensor, bandwidth: float, min_size: int = 0, seed: int = 0
) -> Modes:
    """Modes of the foreground voxels.

    embedding (E, *sp) float32, foreground (*sp) bool, on the CPU. Rounds end when fewer than ``min_size``
    foreground voxels are far from every mode. The draw is seeded.
    """
    shape = embedding.shape[1:]
    flat, inside = embedding.reshape(len(embedding), -1), foreground.reshape(-1)
    generator = torch.Generator().manual_seed(seed)
    wanted = min(max(math.prod(shape) // 512, FEWEST), MOST)
    left, smooth = torch.nonzero(inside)[:, 0], math.inf
    centres = flat.new_zeros(0, len(flat))
    nearest = torch.zeros(len(inside), dtype=torch.int32)
    score = flat.new_full((len(inside),), -math.inf)
    for number in range(ROUNDS):
        cores, roughness = _cores(flat, shape, left, wanted, generator)
        if number == 0:
            smooth = float(torch.quantile(roughness, 1 / CORE_SHARE)) if len(roughness) else 0.0
        found = _shifted(cores[roughness <= smooth], bandwidth)
        if number:
            found = found[_squared(found, centres).amin(1) > bandwidth**2]
        if len(found) == 0:
            break
        squared_distance = _update_nearest(flat, found, len(centres), nearest, score)
        centres = torch.cat([centres, found])
        left = torch.nonzero((squared_distance > bandwidth**2) & inside)[:, 0]
        if len(left) < max(min_size, MIN_CORES * CORE_SHARE):
            break
    return Modes(centres, nearest)


def _cores(
    flat: Tensor, shape: Sequence[int], among: Tensor, wanted: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Drawn voxels averaged with their face neighbours (n, E), and how rough the embedding is there (n,)."""
    drawn = torch.randint(max(len(among), 1), (min(wanted * CORE_SHARE, len(among)),), generator=generator)
    picked = among[drawn].sort().values  # in the order of memory
    mean = flat.index_select(1, picked)
    roughness = mean.new_zeros(len(picked))
    stride = 1
    for length in reversed(shape):
        place = picked // stride % length
        above = flat.index_select(1, torch.where(place < length - 1, picked + stride, picked))
        below = flat.index_select(1, torch.where(place > 0, picked - stride, picked))
        roughness += (above - below).square().sum(0)
        mean += above + below
        stride *= length
    return (mean / (1 + 2 * len(shape))).T.contiguous(), roughness


def _shifted(points: Tensor, bandwidth: float) -> Tensor:
    """Modes (K, E) of points (n, E), densest first: all points climb together, ends that are near are one."""
    if len(points) == 0:
        return points
    ends = points
    for _ in range(MAX_SHIFTS):
        near = (_squared(ends, points) < bandwidth**2).to(points.dtype)
        support = near.sum(1)
        # A point that lost all neighbours (rounding) stays where it is.
        moved = torch.where(support[:, None] > 0, near @ points / support.clamp(min=1)[:, None], ends)
        settled = float((moved - ends).square().sum(1).max()) < (bandwidth / 100) ** 2
        ends = moved
        if settled:
            break
    modes: list[Tensor] = []
    while int(support.max()) >= MIN_CORES:
        modes.append(ends[int(support.argmax())])
        support[(ends - modes[-1]).square().sum(1) <= bandwidth**2] = 0
    return torch.stack(modes) if modes else points[:0]


def _update_nearest(flat: Tensor, found: Tensor, offset: int, nearest: Tensor, score: Tensor) -> Tensor:
    """Let voxels nearer to ``found`` than to any mode before change over; squared distances (N,).

    |f - m|^2 = |f|^2 - 2 (f.m - |m|^2 / 2): the nearest mode is the one with the largest bracket, ``score``.
    """
    half = found.square().sum(1, keepdim=True) / 2
    distance = torch.empty_like(score)
    number = torch.arange(len(found), dtype=torch.int32)[:, None]
    low_bits = (1 << len(found).bit_length()) - 1
    for start in range(0, flat.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        voxels = flat[:, part]
        scores = torch.addmm(half, found, voxels, beta=-1)
        # A maximum without its index is many times faster: the index rides in the last bits of the score.
        scores.view(torch.int32).bitwise_and_(~low_bits).bitwise_or_(number)
        best = scores.amax(0)
        which = best.view(torch.int32) & low_bits
        if offset:
            better = best > score[part]
            best, which = torch.maximum(best, score[part]), torch.where(better, which + offset, nearest[part])
        score[part], nearest[part] = best, which
        distance[part] = voxels.square().sum(0) - 2 * best
    return distance


def _squared(one: Tensor, other: Tensor) -> Tensor:
    """Squared distances (n, m)."""
    return one.square().sum(1, keepdim=True) + other.square().sum(1) - 2 * one @ other.T
