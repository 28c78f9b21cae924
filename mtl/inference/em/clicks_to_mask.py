r"""From clicks to a mask: one rule for every injection arm that predicts an embedding.

With :math:`m_+` and :math:`m_-` the mean embeddings at the positive and at the negative clicks, a voxel of
embedding :math:`f` is a candidate if it is predicted foreground and

.. math:: |f - m_+| \le \delta_d \quad\text{and}\quad |f - m_+| < |f - m_-|

(the second only where there are negative clicks). The mask is what is connected, by faces and through
candidates, to a positive click. Without positive clicks it is empty: the automatic instance is chosen
elsewhere.

The mask grows outwards from the clicks: only the box that holds it is ever looked at, so that a small object
in a large volume is a small computation, with the same result as over the whole volume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cc3d
import numpy as np
import torch
from torch import Tensor

from mtl.errors import ParameterError

Box = tuple[slice, ...]
DELTA_D = 1.5
#: Voxels between a click and the faces of the first box that is looked at.
FIRST_REACH = 16
#: Voxels worked on at once: what an axis-wise temporary of them takes stays in a core's cache.
_VOXELS_AT_ONCE = 2**15


def predicted_foreground(semantic: Tensor) -> Tensor:
    """Logits ``(C, *sp)`` to bool ``(*sp)``: true where a class other than 0 is the likeliest."""
    return (semantic[1:] > semantic[:1]).any(dim=0)


def clicks_to_mask(
    embedding: Tensor,
    foreground: Tensor,
    points: Tensor,
    labels: Tensor,
    delta_d: float = DELTA_D,
) -> np.ndarray:
    """The mask that the clicks stand for.

    Args:
        embedding: ``(E, *sp)`` float, of the model with the same clicks as prompts where its arm has them.
        foreground: ``(*sp)`` bool, see :func:`predicted_foreground`.
        points: ``(P, S)`` integers, (z, y, x) or (y, x).
        labels: ``(P,)``: 1 positive, 0 negative; -1 is padding and ignored.
        delta_d: largest distance from the mean embedding at the positive clicks.

    Returns:
        ``(*sp)`` bool, C-contiguous.

    Raises:
        ParameterError: a point outside the volume, named with its axis; shapes that do not fit.
    """
    shape = tuple(embedding.shape[1:])
    if tuple(foreground.shape) != shape:
        raise ParameterError(f"foreground has shape {tuple(foreground.shape)}; the embedding's is {shape}")
    points, labels = torch.as_tensor(points), torch.as_tensor(labels)
    checked_points(points.tolist(), shape)
    positive, negative = points[labels == 1], points[labels == 0]
    if len(positive) == 0:
        return np.zeros(shape, dtype=bool)
    at_positive = _mean_embedding(embedding, positive)
    at_negative = _mean_embedding(embedding, negative) if len(negative) else None

    def found(box: Box) -> Tensor:
        return candidates(embedding[:, *box], foreground[box], at_positive, at_negative, delta_d)

    return grown_from_clicks(found, positive.cpu().numpy(), shape)


def grown_from_clicks(
    found: Callable[[Box], Tensor], clicked: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """What is connected to the clicks, asking for no larger box than that takes.

    Args:
        found: a box of the volume to the bool tensor of its candidates.
        clicked: ``(P, S)`` integers, P >= 1.
        shape: of the volume.

    Returns:
        ``shape`` bool.
    """
    box = box_around(clicked.min(0), clicked.max(0), FIRST_REACH, shape)
    while True:
        part = connected_part(found(box).cpu().numpy(), clicked - [side.start for side in box])
        grown = _grown(box, part, shape)
        if grown == box:
            mask = np.zeros(shape, dtype=bool)
            mask[box] = part
            return mask
        box = grown


def candidates(
    embedding: Tensor, foreground: Tensor, positive: Tensor, negative: Tensor | None, delta_d: float
) -> Tensor:
    """Foreground voxels near the positive mean and nearer to it than to the negative one.

    Args:
        embedding: ``(E, *sp)``; ``foreground``: ``(*sp)`` bool.
        positive, negative: mean embeddings ``(E,)``; ``negative`` may be absent.

    Returns:
        ``(*sp)`` bool.
    """
    planes = max(1, _VOXELS_AT_ONCE // max(1, foreground[0].numel()))
    mean = positive.view(-1, *[1] * foreground.ndim)
    room = torch.empty_like(embedding[:, :planes], memory_format=torch.contiguous_format)
    found = torch.empty_like(foreground, memory_format=torch.contiguous_format)
    for start in range(0, len(foreground), planes):
        part = slice(start, start + planes)
        # Relative to the positive mean, "nearer to it" is one product: |g| < |g - d| where 2 g.d < |d|^2.
        relative = torch.sub(embedding[:, part], mean, out=room[:, : len(foreground[part])])
        inside = foreground[part]
        if negative is not None:
            across = negative - positive
            inside = inside & (2 * torch.tensordot(across, relative, dims=1) < across.dot(across))
        found[part] = inside & (relative.square_().sum(dim=0) <= delta_d**2)
    return found


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
        if int(value) != value:
            raise ParameterError(f"{said}: {axis} = {value} is no integer; voxel coordinates are expected")
        if not 0 <= value < size:
            raise ParameterError(
                f"{said} is outside the volume: {axis} = {value}, 0 to {size - 1} is expected"
            )
    return tuple(int(value) for value in point)


def _mean_embedding(embedding: Tensor, points: Tensor) -> Tensor:
    return embedding[:, *points.T.to(embedding.device)].mean(dim=1)


def _grown(box: Box, part: np.ndarray, shape: Sequence[int]) -> Box:
    """The box, longer by its own length at every face that ``part`` touches; the same if it touches none."""
    grown = []
    for axis, (side, size) in enumerate(zip(box, shape, strict=True)):
        length = side.stop - side.start
        first, last = part.take(0, axis).any(), part.take(-1, axis).any()
        start = max(0, side.start - length) if first else side.start
        grown.append(slice(start, min(size, side.stop + length) if last else side.stop))
    return tuple(grown)
