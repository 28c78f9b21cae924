"""A segmentation's few parameters tuned on a validation part, by adapted Rand error over a small grid.

Network and baselines go through the same function, on the same part, with the same treatment of background: a
tuned method against an untuned one would be no comparison. The test part is never seen here.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from mtl.errors import ParameterError
from mtl.evaluation.contingency import Background, Labels
from mtl.evaluation.em.segmentation import adapted_rand_error

Item, Result = TypeVar("Item"), TypeVar("Result")
MOST_THREADS = 8  # each holds a labelling of the validation part
Grid = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]]


def grid_points(grid: Grid) -> list[dict[str, Any]]:
    """Every choice of values, in order, of a grid (values by name) or of several grids.

    Raises ParameterError for a grid without points.
    """
    grids = [grid] if isinstance(grid, Mapping) else list(grid)
    for one in grids:
        if not one or not all(one.values()):
            raise ParameterError(f"the grid over {', '.join(one) or 'nothing'} has no points")
    return [
        dict(zip(one, values, strict=True)) for one in grids for values in itertools.product(*one.values())
    ]


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results in order, a thread per core: what watersheds and components do leaves the interpreter free."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(min(cores, MOST_THREADS)) as pool:
        return list(pool.map(function, items))


@dataclass(frozen=True)
class Tuned:
    """The best parameters, their adapted Rand error, and every point of the grid (best first)."""

    parameters: dict[str, Any]
    error: float
    table: pd.DataFrame


def tune(
    segment: Callable[..., Labels],
    grid: Grid,
    truth: Labels,
    *,
    background: Background = "exclude",
    ignore_index: int = -100,
) -> Tuned:
    """Call ``segment(**parameters) -> labels (*sp)`` on every point of ``grid``; the lowest error wins.

    Points are segmented side by side, in threads: ``segment`` must bear that.

    grid: values by name, or several such grids. truth (*sp): the validation part's instances. Of equal errors
    the first in the grid's order is taken.
    Raises ParameterError for a grid without points.
    """
    points = grid_points(grid)

    def error_of(point: Mapping[str, Any]) -> float:
        labels = segment(**point)
        return adapted_rand_error(labels, truth, background=background, ignore_index=ignore_index)

    errors = in_threads(error_of, points)
    best = min(range(len(points)), key=errors.__getitem__)
    table = pd.DataFrame(points).assign(adapted_rand=errors)
    return Tuned(
        points[best], errors[best], table.sort_values("adapted_rand", kind="stable", ignore_index=True)
    )
