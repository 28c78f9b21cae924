r"""From clicks to a mask: one rule for every injection arm that predicts an embedding.

A voxel of embedding :math:`f` is a candidate if its predicted probability of foreground is above a threshold
and, with the embeddings :math:`f_p` at the positive clicks and :math:`f_n` at the negative ones,

.. math:: \min_p |f - f_p| \le \delta_d \quad\text{and}\quad \min_p |f - f_p| < \min_n |f - f_n|

(the second only where there are negative clicks). Where prompts move the embedding near a click but not far
from it, :math:`f_p` and :math:`f_n` are known twice, with the clicks and without: both count, so that voxels
on either side are compared with their like. A voxel clicked as positive is one in any case. What is
connected to a positive click, by faces and through candidates, is the heart of the mask. With a threshold
above one half, which keeps the heart from leaking through faint membranes, it then grows back voxel by voxel
over foreground (probability above one half) that the threshold cut off, as far as ``GROWTH`` times the finest
voxel side. Other foreground above the threshold and negative clicks grow against it; what both reach at once
stays out. Without positive clicks the mask is empty: the automatic instance is chosen elsewhere.

The mask grows outwards from the clicks: only the box that holds it is ever looked at, so that a small object
in a large volume is a small computation, with the same result as over the whole volume.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real

import cc3d
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from mtl.errors import ParameterError

Box = tuple[slice, ...]
DELTA_D = 1.5
FOREGROUND = 0.5  # probability from which a voxel counts as foreground at all
GROWTH = 6  # finest voxel sides by which a strict threshold may have made an object thinner
#: Voxels between a click and the faces of the first box that is looked at.
FIRST_REACH = 16
#: Voxels worked on at once: what an axis-wise temporary of them takes stays in a core's cache.
_VOXELS_AT_ONCE = 2**15


def predicted_foreground(semantic: Tensor) -> Tensor:
    """Logits ``(C, *sp)`` to the probability ``(*sp)`` of any class other than 0."""
    return 1 - semantic.softmax(dim=0)[0]


def clicks_to_mask(
    embedding: Tensor,
    foreground: Tensor,
    points: Tensor,
    labels: Tensor,
    delta_d: float = DELTA_D,
    threshold: float = FOREGROUND,
    spacing: Sequence[float] | None = None,
    unprompted: Tensor | None = None,
) -> np.ndarray:
    """The mask that the clicks stand for.

    Args:
        embedding: ``(E, *sp)`` float, of the model with the same clicks as prompts where its arm has them.
        foreground: ``(*sp)`` probability (or bool), see :func:`predicted_foreground`.
        points: ``(P, S)`` integers, (z, y, x) or (y, x).
        labels: ``(P,)``: 1 positive, 0 negative; -1 is padding and ignored.
        delta_d: largest distance from the embedding at a positive click.
        threshold: probability of foreground above which a voxel can carry the mask on.
        spacing: nm per voxel along each axis; the same along all where not given.
        unprompted: ``(E, P)``, the embedding at each point without any click, where clicks change it.

    Returns:
        ``(*sp)`` bool, C-contiguous.

    Raises:
        ParameterError: a point outside the volume, named with its axis; shapes that do not fit; a threshold
            outside of [0.5, 1).
    """
    shape = tuple(embedding.shape[1:])
    if tuple(foreground.shape) != shape:
        raise ParameterError(f"foreground has shape {tuple(foreground.shape)}; the embedding's is {shape}")
    checked_threshold(threshold)
    points, labels = torch.as_tensor(points), torch.as_tensor(labels)
    checked_points(points.tolist(), shape)
    positive, negative = points[labels == 1], points[labels == 0]
    if len(positive) == 0:
        return np.zeros(shape, dtype=bool)
    at_points = embedding[:, *points.T.to(embedding.device)]
    known = [at_points] if unprompted is None else [at_points, unprompted]
    at_positive, at_negative = (torch.cat([at[:, labels == sign] for at in known], 1) for sign in (1, 0))

    def found(box: Box) -> Tensor:
        inside = _with_clicks(foreground[box] > threshold, positive, box)
        return inside & _with_clicks(
            candidates(embedding[:, *box], inside, at_positive, at_negative, delta_d), positive, box
        )

    box, heart = grown_from_clicks(found, positive.cpu().numpy(), shape)
    if threshold > FOREGROUND:
        sides = spacing or (1.0,) * len(shape)
        box, heart = _grown_back(box, heart, foreground, negative.cpu().numpy(), threshold, sides)
    return painted(box, heart, shape)


def grown_from_clicks(
    found: Callable[[Box], Tensor],
    clicked: np.ndarray,
    shape: tuple[int, ...],
    likely: np.ndarray | None = None,
) -> tuple[Box, np.ndarray]:
    """What is connected to the clicks, asking for no larger box than that takes.

    Args:
        found: a box of the volume to the bool tensor of its candidates.
        clicked: ``(P, S)`` integers, P >= 1.
        shape: of the volume.
        likely: ``(*sp)`` bool, where the result is likely to be; saves boxes that turn out too small.

    Returns:
        The last box, and bool in it.
    """
    box = box_around(clicked.min(0), clicked.max(0), FIRST_REACH, shape)
    if likely is not None and likely.any():
        other = _wider(tuple(slice(0, size) for size in shape), likely, 1, shape)
        box = tuple(
            slice(min(one.start, two.start), max(one.stop, two.stop))
            for one, two in zip(box, other, strict=True)
        )
    while True:
        part = connected_part(found(box).cpu().numpy(), clicked - [side.start for side in box])
        grown = _grown(box, part, shape)
        if grown == box:
            return box, part
        box = grown


def painted(box: Box, part: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``part``, bool in ``box``, as a mask of the whole volume of ``shape``."""
    mask = np.zeros(shape, dtype=bool)
    mask[box] = part
    return mask


def candidates(
    embedding: Tensor, inside: Tensor, positive: Tensor, negative: Tensor, delta_d: float
) -> Tensor:
    """Voxels of ``inside`` near an embedding at a positive click and nearer to it than to negative ones.

    Args:
        embedding: ``(E, *sp)``; ``inside``: ``(*sp)`` bool.
        positive, negative: embeddings at the clicks, ``(E, P)`` with P >= 1 and ``(E, N)``.

    Returns:
        ``(*sp)`` bool.
    """
    planes = max(1, _VOXELS_AT_ONCE // max(1, inside[0].numel()))
    # Relative to one click, what squared distances lose to rounding is small where it matters.
    origin = positive[:, :1]
    positive, negative = positive - origin, negative - origin
    found = torch.empty_like(inside, memory_format=torch.contiguous_format)
    for start in range(0, len(inside), planes):
        part = slice(start, start + planes)
        relative = embedding[:, part].flatten(1) - origin
        squared = relative.square().sum(dim=0)
        near = squared + _least_excess(relative, positive)
        good = near <= delta_d**2
        if negative.shape[1]:
            good &= near < squared + _least_excess(relative, negative)
        found[part] = inside[part] & good.view(inside[part].shape)
    return found


def _least_excess(relative: Tensor, clicked: Tensor) -> Tensor:
    """The least of |f - m|^2 - |f|^2 over the embeddings m ``(E, P)``, for f ``(E, N)``: ``(N,)``."""
    half = clicked.square().sum(dim=0)[:, None] / 2
    return 2 * torch.addmm(half, clicked.T, relative, alpha=-1).amin(dim=0)


def connected_part(found: np.ndarray, clicked: np.ndarray) -> np.ndarray:
    """Voxels of ``found`` ``(*sp)`` bool connected by faces to a click; ``clicked``: ``(P, S)`` integers."""
    parts = cc3d.connected_components(found, connectivity=2 * found.ndim, binary_image=True)
    held = np.unique(parts[tuple(clicked.T)])
    held = held[held > 0]
    return parts == held[0] if len(held) == 1 else np.isin(parts, held)


def checked_points(points: Sequence[Sequence[int]], shape: Sequence[int]) -> list[tuple[int, ...]]:
    """The points as tuples of integers.

    Raises:
        ParameterError: names the point and the axis by which it is not a voxel of a volume of ``shape``.
    """
    return [_checked_point(point, shape) for point in points]


def checked_threshold(threshold: float) -> None:
    """Raises ParameterError for a threshold of the rule outside of [0.5, 1)."""
    if not FOREGROUND <= threshold < 1:
        raise ParameterError(f"threshold = {threshold}: at least {FOREGROUND} and below 1 is expected")


def box_around(lowest: Sequence[int], highest: Sequence[int], reach: int, shape: Sequence[int]) -> Box:
    """The box from ``lowest`` to ``highest`` (inclusive) and ``reach`` voxels more, clipped to ``shape``."""
    return tuple(
        slice(max(0, int(low) - reach), min(size, int(high) + reach + 1))
        for low, high, size in zip(lowest, highest, shape, strict=True)
    )


def _checked_point(point: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    axes = "zyx"[-len(shape) :]
    said = f"point {tuple(point)}"
    if len(point) != len(shape):
        raise ParameterError(
            f"{said} has {len(point)} coordinates; {len(shape)} are expected: {', '.join(axes)}"
        )
    for axis, value, size in zip(axes, point, shape, strict=True):
        if not (isinstance(value, Real) and math.isfinite(value) and int(value) == value):
            raise ParameterError(f"{said}: {axis} = {value} is no integer; voxel coordinates are expected")
        if not 0 <= value < size:
            raise ParameterError(
                f"{said} is outside the volume: {axis} = {value}, 0 to {size - 1} is expected"
            )
    return tuple(int(value) for value in point)


def _with_clicks(found: Tensor, positive: Tensor, box: Box) -> Tensor:
    """``found`` in ``box``, with the voxels clicked as positive; changed in place."""
    corner = torch.tensor([side.start for side in box])
    found[*(positive.cpu() - corner).T.to(found.device)] = True
    return found


def _grown_back(
    box: Box,
    heart: np.ndarray,
    foreground: Tensor,
    negative: np.ndarray,
    threshold: float,
    spacing: Sequence[float],
) -> tuple[Box, np.ndarray]:
    """``heart`` in ``box``, grown over the foreground that the threshold cut off; with its larger box."""
    wide = _wider(box, heart, 2 * GROWTH, tuple(foreground.shape))  # as far as rivals can matter
    probability = foreground[wide].cpu().numpy()
    mine = np.zeros(probability.shape, dtype=bool)
    mine[_within(box, wide)] = heart[_within(wide, box)]
    core = probability > threshold
    rivals = core & ~mine
    for point in negative:
        if all(side.start <= voxel < side.stop for voxel, side in zip(point, wide, strict=True)):
            rivals[tuple(point - [side.start for side in wide])] = True
    rivals &= ~mine
    free = (probability > FOREGROUND) & ~core & ~rivals & ~mine
    strides = [max(1, round(side / min(spacing))) for side in spacing]
    for step in range(1, GROWTH + 1):
        axes = [axis for axis, stride in enumerate(strides) if step % stride == 0]
        ours, theirs = (_dilated(seeds, axes) & free for seeds in (mine, rivals))
        mine |= ours & ~theirs
        rivals |= theirs & ~ours
        free &= ~(ours | theirs)
    return wide, mine


def _wider(box: Box, part: np.ndarray, margin: int, shape: tuple[int, ...]) -> Box:
    """The box of what is true in ``part``, which lies in ``box``, and ``margin`` voxels more."""
    [inside] = ndimage.find_objects(part.view(np.uint8))
    lowest = [side.start + found.start for side, found in zip(box, inside, strict=True)]
    highest = [side.start + found.stop - 1 for side, found in zip(box, inside, strict=True)]
    return box_around(lowest, highest, margin, shape)


def _within(inner: Box, outer: Box) -> Box:
    """The part of ``inner`` that lies in ``outer``, counted from the corner of ``outer``."""
    return tuple(
        slice(max(one.start, other.start) - other.start, min(one.stop, other.stop) - other.start)
        for one, other in zip(inner, outer, strict=True)
    )


def _dilated(seeds: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Seeds and their neighbours along ``axes``; SciPy's is too slow for a click on a large object."""
    grown = seeds.copy()
    for axis in axes:
        lower, upper = (np.moveaxis(array, axis, 0) for array in (seeds, grown))
        upper[1:] |= lower[:-1]
        upper[:-1] |= lower[1:]
    return grown


def _grown(box: Box, part: np.ndarray, shape: Sequence[int]) -> Box:
    """The box, longer by its own length at every face that ``part`` touches; the same if it touches none."""
    grown = []
    for axis, (side, size) in enumerate(zip(box, shape, strict=True)):
        length = side.stop - side.start
        first, last = part.take(0, axis).any(), part.take(-1, axis).any()
        start = max(0, side.start - length) if first else side.start
        grown.append(slice(start, min(size, side.stop + length) if last else side.stop))
    return tuple(grown)
