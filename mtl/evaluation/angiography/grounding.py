r"""Does the captioner look where the stenosis is? Cross-attention, and boxes it names, against planted boxes.

Boxes are ``y0 x0 y1 x1`` as shares of the picture. A map ``(t, h, w)`` of non-negative attention is one
token grid; its cell (i, j) covers ``[i/h, (i+1)/h] x [j/w, (j+1)/w]``. Space is judged on the map summed over
frames, time on the map summed over space. Beside each figure stands what a map that knows nothing (constant)
gets by the same rule:

* **pointing**: the largest cell is inside. A cell is inside where its centre is in the box; also the cell
  that holds the box's centre is, so that a box smaller than a cell can be met. Several largest cells: the
  share of them inside.
* **mass**: share of the attention inside the box, cells counted by the share of them that the box covers;
  a constant map gets the box's share of the ``area``.
* **frame error**: frames between the middle of the largest time step and the planted frame. A step of the
  grid holds several frames, so it cannot be 0 for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mtl.errors import DataError
from mtl.evaluation.angiography.summary import UNIT, mean_estimates, require_lengths
from mtl.evaluation.statistics import Estimate

Floats = NDArray[np.float64]
GROUNDING_METRICS = (
    "pointing", "pointing_chance", "mass", "area", "mass_gain", "frame_error", "frame_error_chance",
)  # fmt: skip
BOX_METRICS = ("iou", "hit", "centre_error", "missing", "frame_error")
HIT = 0.5  # IoU


def grounding_scores(
    maps: Sequence[ArrayLike],
    boxes: ArrayLike,
    frames: Sequence[float],
    studies: Sequence[str],
    *,
    n_frames: int,
) -> pd.DataFrame:
    """One row per map: ``study`` and ``GROUNDING_METRICS``.

    Args:
        maps: each ``(t, h, w)``, non-negative, not all 0; of any scale.
        boxes: ``(N, 4)``; frames: planted frame of each, 0 to ``n_frames - 1``.
        n_frames: of the clip.

    Returns:
        ``mass_gain`` = mass / area: 1 for a constant map; the rest as in the module's text.

    Raises:
        DataError: lengths differ; a map is not ``(t, h, w)``, negative, not finite or all 0; a box is empty
            or outside the picture; a frame is outside the clip.
    """
    planted = checked_boxes(boxes)
    require_lengths(maps=maps, boxes=planted, frames=frames, studies=studies)
    rows = [
        {UNIT: study} | _one(checked_map(attention), box, frame, n_frames)
        for attention, box, frame, study in zip(maps, planted, frames, studies, strict=True)
    ]
    return pd.DataFrame(rows)


def box_scores(
    predicted: ArrayLike,
    boxes: ArrayLike,
    studies: Sequence[str],
    *,
    predicted_frames: ArrayLike | None = None,
    frames: ArrayLike | None = None,
) -> pd.DataFrame:
    """Named boxes against planted ones, a row each: ``study`` and ``BOX_METRICS``.

    Args:
        predicted: ``(N, 4)``, rows of NaN where the captioner named no box.
        boxes: ``(N, 4)``; frames and predicted_frames: ``(N,)`` for ``frame_error``, in frames.

    Returns:
        ``iou`` (0 where missing, or where the box has no area), ``hit`` (IoU of at least one half),
        ``centre_error`` (distance of the centres, in picture sides; NaN where missing), ``missing``.
    """
    named, planted = np.asarray(predicted, float), checked_boxes(boxes)
    if named.shape != planted.shape:
        raise DataError(f"predicted boxes {named.shape}, planted {planted.shape}: expected one shape (N, 4)")
    require_lengths(boxes=planted, studies=studies)
    overlap = np.nan_to_num(iou(named, planted))
    centres = [(side[:, :2] + side[:, 2:]) / 2 for side in (named, planted)]
    table = pd.DataFrame({UNIT: list(studies), "iou": overlap, "hit": (overlap >= HIT).astype(float)})
    table["centre_error"] = np.linalg.norm(centres[0] - centres[1], axis=1)
    table["missing"] = np.isnan(named).any(axis=1).astype(float)
    if frames is not None and predicted_frames is not None:
        table["frame_error"] = np.abs(np.asarray(predicted_frames, float) - np.asarray(frames, float))
    return table


def summarise_grounding(
    table: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, Estimate]:
    """Means over the rows of ``grounding_scores`` or ``box_scores``, with intervals over studies.

    A column ``on_whole``, attention that has no place (``CaptionAttention``), is averaged as well.
    """
    columns = list(dict.fromkeys([*GROUNDING_METRICS, "on_whole", *BOX_METRICS]))
    return mean_estimates(table, columns, n_resamples=n_resamples, seed=seed)


def iou(one: Floats, other: Floats) -> Floats:
    """Intersection over union of boxes ``(N, 4)``, pair by pair; a box with a corner amiss has no area."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    sizes = [np.clip(box[:, 2:] - box[:, :2], 0, None).prod(axis=1) for box in (one, other)]
    return shared / (sizes[0] + sizes[1] - shared)


def coverage(box: ArrayLike, height: int, width: int) -> Floats:
    """Share of each cell of a grid ``(height, width)`` that a box covers."""
    y0, x0, y1, x1 = np.asarray(box, float)
    return np.outer(_covered(y0, y1, height), _covered(x0, x1, width))


def cells_inside(box: ArrayLike, height: int, width: int) -> NDArray[np.bool_]:
    """Cells ``(height, width)`` whose centre is in the box, and the one that holds the box's centre."""
    y0, x0, y1, x1 = np.asarray(box, float)
    y, x = ((np.arange(side) + 0.5) / side for side in (height, width))
    inside = np.outer((y0 <= y) & (y <= y1), (x0 <= x) & (x <= x1))
    middle = np.array([(y0 + y1) / 2 * height, (x0 + x1) / 2 * width]) + 1e-9  # a border is the next cell's
    centre = tuple(np.minimum(middle.astype(int), (height - 1, width - 1)))
    inside[centre] = True
    return inside


def checked_boxes(boxes: ArrayLike) -> Floats:
    """Boxes ``(N, 4)``; raises DataError where one is empty or outside the picture."""
    array = np.asarray(boxes, float)
    if array.ndim != 2 or array.shape[1] != 4:
        raise DataError(f"boxes {array.shape}: expected (N, 4), y0 x0 y1 x1 as shares of the picture")
    good = ((array >= 0) & (array <= 1)).all(axis=1) & (array[:, :2] < array[:, 2:]).all(axis=1)
    if not good.all():
        first = int(good.argmin())
        raise DataError(f"box {first} is {array[first].tolist()}: expected 0 <= y0 < y1 <= 1, and so for x")
    return array


def checked_map(attention: ArrayLike) -> Floats:
    """A map ``(t, h, w)`` scaled to sum 1; raises DataError as ``grounding_scores``."""
    array = np.asarray(attention, float)
    if array.ndim != 3 or 0 in array.shape:
        raise DataError(f"attention map {array.shape}: expected (t, h, w), the grid of video tokens")
    if not (np.isfinite(array).all() and (array >= 0).all() and array.sum() > 0):
        raise DataError("attention map: expected finite weights of at least 0, not all 0")
    return array / array.sum()


def _one(attention: Floats, box: Floats, frame: float, n_frames: int) -> dict[str, float]:
    if not 0 <= frame <= n_frames - 1:
        raise DataError(f"planted frame {frame}: expected 0 to {n_frames - 1}")
    steps, height, width = attention.shape
    space, time = attention.sum(axis=0), attention.sum(axis=(1, 2))
    inside, area = cells_inside(box, height, width), float((box[2:] - box[:2]).prod())
    mass = float((space * coverage(box, height, width)).sum())
    errors = np.abs((np.arange(steps) + 0.5) * n_frames / steps - 0.5 - frame)
    return {
        "pointing": float(inside[_largest(space)].mean()),
        "pointing_chance": float(inside.mean()),
        "mass": mass,
        "area": area,
        "mass_gain": mass / area,
        "frame_error": float(errors[_largest(time)].mean()),
        "frame_error_chance": float(errors.mean()),
    }


def _largest(values: Floats) -> NDArray[np.bool_]:
    """Where the largest value is; sums that differ by rounding only are one value."""
    return values >= values.max() * (1 - 1e-9)


def _covered(start: float, stop: float, cells: int) -> Floats:
    edges = np.arange(cells + 1)
    return np.clip(np.minimum(edges[1:], stop * cells) - np.maximum(edges[:-1], start * cells), 0, None)
