"""Tuning picks the lowest adapted Rand error of the grid."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.errors import ParameterError
from mtl.evaluation.em.tuning import tune


def test_the_grid_is_walked_and_the_lowest_error_wins() -> None:
    truth = np.repeat([1, 2, 3, 4], 4)[None].repeat(4, 0)
    columns = np.arange(16)[None].repeat(4, 0)
    seen = []

    def segment(width: int, shift: int) -> np.ndarray:
        seen.append((width, shift))
        return (columns + shift) // width + 1

    found = tune(segment, {"width": [2, 4, 8], "shift": [0, 2]}, truth)
    assert seen == [(2, 0), (2, 2), (4, 0), (4, 2), (8, 0), (8, 2)]
    assert found.parameters == {"width": 4, "shift": 0} and found.error == 0
    assert found.table["adapted_rand"].is_monotonic_increasing and len(found.table) == 6
    assert found.table.loc[0, ["width", "shift"]].tolist() == [4, 0]


def test_unknown_voxels_do_not_tune() -> None:
    truth = np.array([[1, 1, 2, 2, -100, -100, -100, -100]])
    wrong_where_unknown = np.array([[1, 1, 2, 2, 1, 2, 1, 2]])
    wrong_where_known = np.array([[1, 1, 1, 2, 3, 3, 3, 3]])
    labels = {"first": wrong_where_known, "second": wrong_where_unknown}
    assert tune(lambda which: labels[which], {"which": list(labels)}, truth).parameters == {"which": "second"}


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(ParameterError, match="no points"):
        tune(lambda: np.ones((2, 2), int), {}, np.ones((2, 2), int))
    with pytest.raises(ParameterError, match="sigma has no points"):
        tune(lambda sigma: np.ones((2, 2), int), {"sigma": []}, np.ones((2, 2), int))
