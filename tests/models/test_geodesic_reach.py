"""Geodesic distances: against Dijkstra's algorithm, around a wall, and for several clicks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from mtl.models import geodesic_reach
from mtl.models.geodesic_reach import MOST, ROUNDS, STEP, UNREACHED, geodesic_distance, walking_cost


def shortest(cost: np.ndarray, start: tuple[int, ...]) -> np.ndarray:
    """Dijkstra over voxel faces: stepping into a voxel costs its cost, the first one is free."""
    number = np.arange(cost.size).reshape(cost.shape)
    ends = []
    for axis in range(cost.ndim):
        low, high = (
            number.take(range(*r), axis).ravel() for r in ((cost.shape[axis] - 1,), (1, cost.shape[axis]))
        )
        ends += [(low, high), (high, low)]
    start_of, end_of = (np.concatenate(side) for side in zip(*ends, strict=True))
    graph = coo_array((cost.ravel()[end_of], (start_of, end_of)), shape=(cost.size,) * 2)
    return dijkstra(graph.tocsr(), indices=number[start]).reshape(cost.shape)


def distance(cost: np.ndarray, *starts: tuple[int, ...], dtype: torch.dtype = torch.float32) -> np.ndarray:
    points = torch.tensor([starts])
    counted = torch.ones(points.shape[:2], dtype=torch.bool)
    found = geodesic_distance(torch.tensor(cost, dtype=dtype)[None, None], points, counted)
    return found[0, 0].numpy()


def of_few_runs(cost: np.ndarray, start: tuple[int, ...], runs: int) -> np.ndarray:
    """The shortest of the paths that are made of so many straight runs at most, by trying every run."""
    best = np.full(cost.shape, np.inf)
    best[start] = 0
    for _ in range(runs):
        longer = best.copy()
        for axis in range(cost.ndim):
            lines, before, after = (np.moveaxis(field, axis, -1) for field in (cost, best, longer))
            for place in np.ndindex(lines.shape[:-1]):
                for first in range(lines.shape[-1]):
                    ahead = before[place][first] + np.cumsum(lines[place][first + 1 :])
                    back = before[place][first] + np.cumsum(lines[place][:first][::-1])[::-1]
                    after[place][first + 1 :] = np.minimum(after[place][first + 1 :], ahead)
                    after[place][:first] = np.minimum(after[place][:first], back)
        best = longer
    return best


def drawn(seed: int, dims: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Costs and a click."""
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0.02, 0.1, (5, 7, 6)[-dims:])
    return cost, tuple(int(rng.integers(side)) for side in cost.shape)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dims=st.sampled_from([2, 3]))
def test_no_path_of_as_many_straight_runs_as_rounds_is_shorter(seed: int, dims: int) -> None:
    cost, start = drawn(seed, dims)
    found = distance(cost, start)
    assert (found >= shortest(cost, start) - 1e-5).all()
    assert (found <= of_few_runs(cost, start, ROUNDS) + 1e-5).all()


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dims=st.sampled_from([2, 3]))
def test_with_enough_rounds_it_is_the_shortest_path(seed: int, dims: int) -> None:
    cost, start = drawn(seed, dims)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geodesic_reach, "ROUNDS", cost.size)
        found = distance(cost, start, dtype=torch.float64)  # so many sums of single precision drift
    assert found == pytest.approx(shortest(cost, start), abs=1e-9)


def test_a_path_goes_around_a_wall() -> None:
    cost = np.full((21, 21), 0.02)
    cost[3:, 10] = 6.0
    found = distance(cost, (18, 5))
    assert found[18, 15] == pytest.approx(0.02 * (16 + 10 + 16), abs=1e-4)
    assert found == pytest.approx(shortest(cost, (18, 5)), abs=1e-4)


def test_several_clicks_are_the_least_of_each_to_the_last_bit() -> None:
    cost = np.random.default_rng(0).uniform(0.02, 6, (6, 20, 20))
    one, other = distance(cost, (1, 2, 3)), distance(cost, (5, 15, 11))
    np.testing.assert_array_equal(distance(cost, (1, 2, 3), (5, 15, 11)), np.minimum(one, other))
    assert one[1, 2, 3] == 0


def test_points_that_do_not_count_reach_nothing() -> None:
    cost = torch.full((2, 1, 8, 8), 0.1)
    points = torch.tensor([[[2, 2], [0, 0]], [[3, 3], [0, 0]]])
    counted = torch.tensor([[True, False], [False, False]])
    found = geodesic_distance(cost, points, counted)
    assert found[0, 0, 0, 0] == pytest.approx(0.4) and (found[1] == UNREACHED).all()


def test_costs_follow_the_foreground_and_carry_no_gradient() -> None:
    semantic = torch.tensor([[40.0, 0.0, -40.0], [0.0, 0.0, 0.0]]).view(1, 2, 1, 3).requires_grad_()
    cost = walking_cost(semantic)
    assert not cost.requires_grad
    assert cost.flatten().tolist() == pytest.approx([STEP + MOST, STEP + np.log(2), STEP], abs=1e-5)
