"""Which crops, and of an object which plane and square, pictures show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl.studies.em.study import EMStudy


def crops_of_each_kind(study: EMStudy, variant: str, n: int = 4, among: int = 48) -> list[dict[str, Any]]:
    """``n`` training crops of a variant as its network gets them, the first of every ``mode`` among them.

    Looked for among the first ``among`` crops of an epoch; see `CropDataset` for what a crop is.
    """
    crops, seen, others = study.crops(variant), {}, []
    for index in range(min(among, len(crops))):
        sample = crops[index]
        if sample["mode"] is not None and sample["mode"] not in seen:
            seen[sample["mode"]] = sample
        elif len(others) < n:
            others.append(sample)
        if len(seen) == 2 and len(seen) + len(others) >= n:
            break
    return [*seen.values(), *others][:n]


def worst_plane(truth: np.ndarray, masks: Sequence[np.ndarray]) -> int:
    """The plane of an object with most wrong voxels over all masks; bool ``(Z, H, W)`` each.

    Only planes that hold the object are asked; of equals the one with most of it.
    """
    wrong = sum((mask ^ truth).sum(axis=(1, 2)) for mask in masks)
    held = truth.sum(axis=(1, 2))
    return int(np.lexsort((held, np.where(held > 0, wrong, -1)))[-1])


def square_around(
    seen: np.ndarray, wanted: np.ndarray, margin: int = 6, most: int = 128
) -> tuple[int, int, int]:
    """First row, first column and side of a square that holds ``wanted`` ``(H, W)`` bool and a margin.

    Where that would be more than ``most`` pixels the square lies around ``seen`` (part of ``wanted``), which
    it holds in any case. Row and column may be negative, and the square may leave the plane.
    """

    def around(part: np.ndarray) -> tuple[np.ndarray, int]:
        inside = np.argwhere(part)
        first, last = inside.min(0), inside.max(0)
        return (first + last) / 2, int((last - first).max()) + 1 + 2 * margin

    middle, side = around(wanted)
    if side > most:
        middle, least = around(seen)
        side = max(least, most)
    row, column = np.round(middle - (side - 1) / 2).astype(int).tolist()
    return row, column, side


def cut_square(plane: np.ndarray, square: tuple[int, int, int], outside: float) -> np.ndarray:
    """A square (see `square_around`) of a plane ``(H, W)``; ``outside`` of the plane."""
    row, column, side = square
    cut = np.full((side, side), outside, plane.dtype if outside == 0 else float)
    top, left = max(row, 0), max(column, 0)
    part = plane[top : max(row + side, 0), left : max(column + side, 0)]
    cut[top - row : top - row + part.shape[0], left - column : left - column + part.shape[1]] = part
    return cut
