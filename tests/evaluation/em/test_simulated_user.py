"""The simulated user on cases small enough to be done by hand, in 2-D and 3-D, isotropic and not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mtl.errors import DataError, ParameterError
from mtl.evaluation.em.simulated_user import Click, SimulatedUser

SQUARE = SimulatedUser(spacing=(1.0, 1.0))
CUBE = SimulatedUser(spacing=(1.0, 1.0, 1.0))


def box(shape: tuple[int, ...], *parts: slice) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[parts] = True
    return mask


def naive_next(truth: np.ndarray, mask: np.ndarray, spacing: tuple[float, ...]) -> Click | None:
    """After the first click: components by scipy, distance by scipy on a padded array."""
    found = []
    for errors, positive in ((truth & ~mask, True), (mask & ~truth, False)):
        parts, count = ndimage.label(errors)
        sizes = [int((parts == i + 1).sum()) for i in range(count)]
        if sizes:
            found.append((max(sizes), positive, parts == int(np.argmax(sizes)) + 1))
    if not found:
        return None
    size, positive, part = max(found, key=lambda item: (item[0], item[1]))
    distance = ndimage.distance_transform_edt(np.pad(part, 1), sampling=spacing)
    distance = distance[(slice(1, -1),) * truth.ndim]
    point = np.unravel_index(int(distance.argmax()), part.shape)
    return Click(tuple(int(n) for n in point), positive)


def test_first_click_is_the_middle_of_the_object_whatever_the_mask() -> None:
    truth = box((11, 11), slice(2, 9), slice(1, 8))
    for mask in (np.zeros_like(truth), truth, ~truth):
        assert SQUARE.next_click(truth, mask) == Click((5, 4), True)


def test_largest_error_decides_and_its_kind_gives_the_sign() -> None:
    truth = box((9, 30), slice(0, 9), slice(0, 9))
    half = box((9, 30), slice(0, 9), slice(0, 6))
    given = [Click((4, 4), True)]
    assert SQUARE.next_click(truth, half, given) == Click((1, 7), True)  # 27 voxels missed, three wide
    leak = half | box((9, 30), slice(2, 9), slice(20, 27))  # 49 falsely included
    assert SQUARE.next_click(truth, leak, given) == Click((5, 23), False)


def test_three_dimensions_with_thick_sections() -> None:
    """Sections of 50 nm, pixels of 4 nm: the middle in nm is not the middle in voxels."""
    truth = box((7, 41, 41), slice(1, 6), slice(2, 39), slice(2, 39))
    assert SimulatedUser((50.0, 4.0, 4.0)).next_click(truth, truth) == Click((2, 20, 20), True)
    # In nm the plate is 250 by 148 by 148: the distance is that to the sides, 76 nm in three of the planes;
    # in voxels the middle plane alone is deepest.
    assert CUBE.next_click(truth, truth).point[0] == 3


def test_missing_part_and_leak_in_three_dimensions() -> None:
    truth = box((9, 9, 20), slice(1, 8), slice(1, 8), slice(1, 8))
    mask = box((9, 9, 20), slice(1, 8), slice(1, 8), slice(1, 19))
    click = CUBE.next_click(truth, mask, [Click((4, 4, 4), True)])
    assert click == Click((4, 4, 11), False)
    assert CUBE.next_click(truth, truth, [Click((4, 4, 4), True)]) is None


def test_the_edge_of_the_view_is_a_boundary() -> None:
    truth = box((9, 9), slice(0, 9), slice(0, 9))
    assert SQUARE.next_click(truth, truth) == Click((4, 4), True)


def test_an_ignored_click_is_not_repeated() -> None:
    truth = box((9, 9), slice(1, 8), slice(1, 8))
    empty, clicks = np.zeros_like(truth), []
    for _ in range(6):
        clicks.append(SQUARE.next_click(truth, empty, clicks))
    points = {click.point for click in clicks}
    assert len(points) == 6 and all(click.positive and truth[click.point] for click in clicks)
    # The second click keeps away from the first and from the edge.
    assert np.linalg.norm(np.subtract(clicks[1].point, clicks[0].point)) >= 2


def test_a_component_clicked_through_gives_way_to_the_next() -> None:
    truth = box((5, 9), slice(0, 5), slice(0, 5))
    mask = truth.copy()
    mask[2, 2] = False
    mask[0, 7] = True
    first = [Click((2, 2), True)]
    assert SQUARE.next_click(truth, mask, first) == Click((0, 7), False)
    assert SQUARE.next_click(truth, mask, [*first, Click((0, 7), False)]) is None


def test_unknown_voxels_are_no_errors() -> None:
    truth = box((9, 30), slice(0, 9), slice(0, 9))
    leak = truth | box((9, 30), slice(0, 9), slice(12, 30))
    known = ~box((9, 30), slice(0, 9), slice(11, 30))
    assert SQUARE.next_click(truth, leak, [Click((4, 4), True)], known) is None


def test_jitter_is_seeded_stays_in_the_component_and_grows() -> None:
    truth = box((31, 31), slice(3, 28), slice(3, 28))
    empty = np.zeros_like(truth)
    exact = SQUARE.next_click(truth, empty).point

    def spread(jitter: float) -> float:
        clicks = [SimulatedUser((1.0, 1.0), jitter, seed).next_click(truth, empty) for seed in range(40)]
        assert all(truth[click.point] for click in clicks)
        return float(np.mean([np.abs(np.subtract(click.point, exact)).max() for click in clicks]))

    assert spread(0.0) == 0 < spread(0.3) < spread(1.0)
    one, again = (SimulatedUser((1.0, 1.0), 0.5, 7).next_click(truth, empty) for _ in range(2))
    assert one == again


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1.0, 1.0), (3.0, 1.0, 1.0), (1.0, 1.0, 1.0)]))
def test_later_clicks_equal_a_naive_user(seed: int, spacing: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    shape = (12, 14) if len(spacing) == 2 else (5, 9, 10)
    fields = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, *[1.5] * len(shape)))
    truth, mask = fields[0] > 0, fields[1] > 0
    outside = Click((-1,) * len(shape), True)  # a click that touches nothing
    ours = SimulatedUser(spacing).next_click(truth, mask, [outside])
    expected = naive_next(truth, mask, spacing)
    assert (ours is None) == (expected is None)
    if ours is not None:
        assert ours.positive == expected.positive
        # Equal maxima may be rounded apart: compare how deep the two points lie.
        errors = truth & ~mask if ours.positive else mask & ~truth
        distance = ndimage.distance_transform_edt(np.pad(errors, 1), sampling=spacing)
        depth = [distance[tuple(n + 1 for n in click.point)] for click in (ours, expected)]
        assert depth[0] == pytest.approx(depth[1], rel=1e-5)


def test_clear_errors() -> None:
    truth = box((4, 4), slice(0, 2), slice(0, 2))
    with pytest.raises(ParameterError, match="jitter = 2"):
        SimulatedUser((1.0, 1.0), jitter=2)
    with pytest.raises(ParameterError, match="spacing"):
        SimulatedUser((1.0, 0.0))
    with pytest.raises(DataError, match="2 dimensions"):
        CUBE.next_click(truth, truth)
    with pytest.raises(DataError, match="boolean arrays of one shape"):
        SQUARE.next_click(truth, truth.astype(int))
    with pytest.raises(DataError, match="empty"):
        SQUARE.next_click(truth & False, truth)
