"""What the canvas says in its live region, and how a still picture describes itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtl.interactive.pictures import Picture
from mtl.interactive.points import Action, Point


def told_point(point: Point, flat: bool) -> str:
    """Where a point is, without z in an image that has none."""
    return f"y {point.y}, x {point.x}" if flat else f"z {point.z}, y {point.y}, x {point.x}"


def told_change(action: Action, picture: Picture) -> str:
    """What just happened to the points."""
    if action.name == "add":
        last = action.points[-1]
        sign = "Positive" if last.label else "Negative"
        return f"{sign} point {len(action.points)} at {told_point(last, picture.flat)}."
    if action.name == "clear":
        return "All points cleared."
    verb = {"undo": "Undone", "redo": "Redone"}.get(action.name, "Points set")
    return f"{verb}: {told_points(action.points)}."


def told_points(points: Sequence[Point]) -> str:
    """How many points of either kind."""
    positive = sum(point.label for point in points)
    return f"{positive} positive and {len(points) - positive} negative points"


def told_mask(mask: np.ndarray) -> str:
    """How much of a slice ``(Y,X)`` the mask covers."""
    covered = int(np.count_nonzero(mask))
    return f"Mask: {covered:,} pixels, {covered / mask.size:.1%} of the slice."
