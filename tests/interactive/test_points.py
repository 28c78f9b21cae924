"""Points are checked, and their log goes back and forth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.errors import ParameterError
from mtl.interactive.points import Point, PointLog, checked_outline, checked_point, checked_points

SHAPE = (4, 10, 20)


@pytest.mark.parametrize(
    "value",
    [(3, 9, 19, 1), [3, 9, 19, 1], {"z": 3, "y": 9, "x": 19}, np.array([3, 9, 19, 1])],
    ids=["tuple", "list", "mapping", "array"],
)
def test_a_point_is_given_in_several_ways(value):
    point = checked_point(value, SHAPE)
    assert point == Point(3, 9, 19, 1) and all(type(number) is int for number in point)


def test_a_mapping_needs_no_z_in_one_image_but_in_a_volume():
    assert checked_point({"y": 1, "x": 2, "label": 0}, (1, 10, 20)) == Point(0, 1, 2, 0)
    with pytest.raises(ParameterError, match="keys z, y, x and label"):
        checked_point({"y": 1, "x": 2}, SHAPE)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((4, 0, 0, 1), "z = 4 is outside of 0 to 3"),
        ((0, -1, 0, 1), "y = -1 is outside of 0 to 9"),
        ((0, 0, 20, 1), "x = 20 is outside of 0 to 19"),
        ((0, 0, 0, 2), "label 1 .positive. or 0 .negative."),
        ((0, 0.5, 0, 1), "four whole numbers"),
        ((0, 0, 0, 1, 1), "four whole numbers"),
        ((1, 2, 3), "four whole numbers"),
        (7, "four whole numbers"),
        ({"z": 0, "y": 0, "x": 0, "t": 0}, "keys z, y, x and label"),
    ],
)
def test_what_is_no_point_of_the_image_is_refused(value, message):
    with pytest.raises(ParameterError, match=message):
        checked_point(value, SHAPE)


@pytest.mark.parametrize("values", ["points", 3, {"z": 0}])
def test_points_are_a_list(values):
    with pytest.raises(ParameterError, match="a list of"):
        checked_points(values, SHAPE)


def test_an_outline_reaches_to_the_edges_of_the_outer_pixels():
    corners = [(-0.5, -0.5), (-0.5, 19.5), (9.5, 19.5)]
    assert checked_outline(np.asarray(corners), SHAPE) == corners


@pytest.mark.parametrize(
    ("vertices", "message"),
    [
        ([(0, 0), (1, 1)], "at least three"),
        ([(0, 0, 0)] * 3, "at least three"),
        ([(0, 0), (1,), (2, 2)], "at least three"),
        ([(0, 0), (1, np.nan), (2, 2)], "at least three"),
        ([(0, 0), (1, 1), (9.6, 2)], "leaves the image, which is 10 x 20"),
        ([(0, 0), (1, 1), (2, -0.6)], "leaves the image"),
    ],
)
def test_what_is_no_outline_is_refused(vertices, message):
    with pytest.raises(ParameterError, match=message):
        checked_outline(vertices, SHAPE)


@given(st.lists(st.sampled_from(["put", "undo", "redo"]), max_size=30))
def test_the_log_equals_a_list_of_states_with_a_finger_on_it(deeds):
    log, states, now = PointLog(), [()], 0
    for number, deed in enumerate(deeds):
        assert (log.can_undo, log.can_redo) == (now > 0, now < len(states) - 1)
        if deed == "put":
            states, now = [*states[: now + 1], (*states[now], Point(0, number, 0))], now + 1
            log.put(states[now])
        elif deed == "undo" and now > 0:
            now -= 1
            log.undo()
        elif deed == "redo" and now < len(states) - 1:
            now += 1
            log.redo()
        assert log.points == states[now]


def test_the_history_names_every_action():
    log, a, b = PointLog(), Point(0, 1, 1), Point(0, 2, 2, 0)
    log.put((a,))
    log.put((a, b))
    log.undo()
    log.redo()
    log.put((b,))
    log.put(())
    log.reset()
    assert [action.name for action in log.history] == ["add", "add", "undo", "redo", "set", "clear", "reset"]
    assert log.history[1].points == (a, b)
    assert not log.can_undo and not log.can_redo
