"""Points set on an image, checked, with undo, redo and a history: what a click leaves behind."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import traitlets

from mtl.errors import ParameterError


class Point(NamedTuple):
    """One pixel that somebody pointed at; ``label`` is 1 (positive) or 0 (negative), ``z`` 0 in an image."""

    z: int
    y: int
    x: int
    label: int = 1


class PointsTrait(traitlets.TraitType):
    """The points of a widget with a ``picture``: every value is checked, None too."""

    def validate(self, obj: Any, value: Any) -> tuple[Point, ...]:
        """What is kept. Raises `ParameterError` as `checked_points`."""
        return checked_points(value, obj.picture.shape)


class Action(NamedTuple):
    """One change: ``name`` is add, set, clear, undo, redo or reset; ``points`` are those after it."""

    name: str
    points: tuple[Point, ...]


def checked_point(value: Any, shape: Sequence[int]) -> Point:
    """``value``, a ``(z, y, x, label)`` or a mapping with these keys, as a point within ``shape`` (Z,Y,X).

    A mapping may leave out ``label`` (1) and, for an image of one slice, ``z``.

    Raises:
        ParameterError: not four whole numbers, outside of the image, or a label that is neither 1 nor 0.
    """
    given = _in_order(value, shape) if isinstance(value, Mapping) else value
    try:
        z, y, x, label = (operator.index(number) for number in given)
    except (TypeError, ValueError):
        raise ParameterError(f"point {value!r}: four whole numbers (z, y, x, label) are expected") from None
    point = Point(z, y, x, label)
    for axis, place, size in zip("zyx", point, shape, strict=False):
        if not 0 <= place < size:
            raise ParameterError(f"point {value!r}: {axis} = {place} is outside of 0 to {size - 1}")
    if point.label not in (0, 1):
        raise ParameterError(f"point {value!r}: label 1 (positive) or 0 (negative) is expected")
    return point


def _in_order(value: Mapping[str, Any], shape: Sequence[int]) -> list[Any]:
    filled = {"label": 1, **({"z": 0} if shape[0] == 1 else {}), **value}
    if set(filled) != set(Point._fields):
        raise ParameterError(f"point {value!r}: the keys z, y, x and label are expected")
    return [filled[key] for key in Point._fields]


def checked_points(values: Any, shape: Sequence[int]) -> tuple[Point, ...]:
    """Every one of ``values`` as a point within ``shape`` (Z,Y,X); errors as in `checked_point`."""
    if isinstance(values, Mapping | str) or not isinstance(values, Iterable):
        raise ParameterError(f"points = {values!r}: a list of (z, y, x, label) is expected")
    return tuple(checked_point(value, shape) for value in values)


def checked_outline(vertices: Any, shape: Sequence[int]) -> list[tuple[float, float]]:
    """``vertices`` ``(V, 2)`` as (y, x) in pixels, the centre of the first pixel at (0, 0).

    Raises:
        ParameterError: fewer than three vertices, not pairs of finite numbers, or outside of the image.
    """
    try:
        corners = np.asarray(vertices, dtype=float)
    except (TypeError, ValueError):
        corners = np.empty(0)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise ParameterError("an outline is a list of at least three vertices (y, x)")
    edge = np.asarray(shape[1:]) - 0.5
    if (corners < -0.5).any() or (corners > edge).any():
        raise ParameterError(f"an outline leaves the image, which is {shape[1]} x {shape[2]} pixels (y, x)")
    return [(float(y), float(x)) for y, x in corners]


class PointLog:
    """The points that count, the states to go back and forth to, and every action ever taken."""

    def __init__(self) -> None:
        self.points: tuple[Point, ...] = ()
        self.history: list[Action] = []
        self._before: list[tuple[Point, ...]] = []
        self._undone: list[tuple[Point, ...]] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is a state to go back to."""
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        """Whether something undone can come back."""
        return bool(self._undone)

    def put(self, points: tuple[Point, ...]) -> None:
        """New points; what was undone is forgotten."""
        name = "clear" if not points else "add" if points[:-1] == self.points else "set"
        self._before.append(self.points)
        self._undone.clear()
        self._take(name, points)

    def undo(self) -> None:
        """Back to the points before the last change; there must be one."""
        self._undone.append(self.points)
        self._take("undo", self._before.pop())

    def redo(self) -> None:
        """The points that were undone last; there must be some."""
        self._before.append(self.points)
        self._take("redo", self._undone.pop())

    def reset(self) -> None:
        """No points and nothing to undo; the history goes on."""
        self._before.clear()
        self._undone.clear()
        self._take("reset", ())

    def _take(self, name: str, points: tuple[Point, ...]) -> None:
        self.points = points
        self.history.append(Action(name, points))
