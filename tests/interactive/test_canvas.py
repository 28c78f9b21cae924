"""The canvas without a browser: points in, masks out, and nothing that a callback does is fatal."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mtl.errors import DataError, MtlError, ParameterError
from mtl.interactive.canvas import CanvasWidget
from mtl.interactive.points import Point

VOLUME = np.random.default_rng(0).integers(0, 256, (4, 10, 20), dtype=np.uint8)
ONE, TWO = Point(1, 2, 3, 1), Point(2, 4, 5, 0)


def marked(points) -> np.ndarray:
    """A mask of just the positive points."""
    mask = np.zeros(VOLUME.shape, bool)
    for point in points:
        mask[point.z, point.y, point.x] |= bool(point.label)
    return mask


@pytest.fixture
def widget() -> CanvasWidget:
    return CanvasWidget(VOLUME, "test volume", on_points=marked)


def alphas(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as opened:
        return np.asarray(opened.convert("RGBA"))[..., 3]


def sent(widget: CanvasWidget, do: str, **content) -> None:
    """As a message of the browser, which knows the present picture."""
    widget._handle_custom_msg({"do": do, "era": widget._era, **content}, [])


def test_points_change_the_mask(widget):
    widget.points = [(1, 2, 3, 1), {"z": 2, "y": 4, "x": 5, "label": 0}]
    assert widget.points == (ONE, TWO)
    np.testing.assert_array_equal(widget.mask, marked([ONE, TWO]))
    assert widget.get_state("points") == {"points": [[1, 2, 3, 1], [2, 4, 5, 0]]}


def test_only_the_shown_slice_travels(widget):
    widget.points = [ONE]
    assert not alphas(widget._mask_png).any()
    widget.slice_index = 1
    assert np.argwhere(alphas(widget._mask_png)).tolist() == [[2, 3]]
    with Image.open(io.BytesIO(widget._image_png)) as opened:
        np.testing.assert_array_equal(np.asarray(opened), VOLUME[1])
    assert widget._shown_slice == 1 and widget.message == "Slice z 1 of 0 to 3."


def test_undo_redo_and_clear(widget):
    widget.add(2, 3, z=1)
    widget.add(4, 5, z=2, positive=False)
    widget.undo()
    assert widget.points == (ONE,) and widget.mask.sum() == 1
    widget.redo()
    assert widget.points == (ONE, TWO)
    widget.clear()
    assert widget.points == () and not widget.mask.any()
    widget.undo()
    assert widget.points == (ONE, TWO) and widget.mask.any()
    names = [action.name for action in widget.history]
    assert names == ["add", "add", "undo", "redo", "clear", "undo"]
    assert widget._can_undo and widget._can_redo


def test_what_cannot_be_done_is_said(widget):
    for deed, text in ((widget.undo, "undo"), (widget.redo, "redo"), (widget.clear, "clear")):
        deed()
        assert text in widget.message and widget.points == () and widget.history == ()


@pytest.mark.parametrize("bad", [[(4, 0, 0, 1)], [(0, 0, 20, 1)], [(0, 0, 0, 5)], ["ab"], 3, None])
def test_points_out_of_range_are_refused_and_change_nothing(widget, bad):
    widget.points = [ONE]
    with pytest.raises(ParameterError):
        widget.points = bad
    assert widget.points == (ONE,) and len(widget.history) == 1


def test_a_mask_that_does_not_fit_leaves_the_older_one_marked_as_stale(widget):
    widget.points = [ONE]
    assert not widget.mask_is_stale
    widget.on_points = lambda points: np.zeros((2, 2), bool)
    widget.points = [ONE, TWO]
    assert widget.mask_is_stale and isinstance(widget.last_error, DataError)
    np.testing.assert_array_equal(widget.mask, marked([ONE]))


@pytest.mark.parametrize("index", [-1, 4])
def test_slices_out_of_range_are_refused(widget, index):
    with pytest.raises(ParameterError, match=f"slice_index = {index}: 0 to 3"):
        widget.slice_index = index
    assert widget.slice_index == 0


def test_an_error_in_a_callback_is_shown_and_loses_no_point(widget):
    widget.points = [ONE]
    widget.on_points = lambda points: 1 / 0
    widget.points = [ONE, TWO]
    assert widget.points == (ONE, TWO) and widget.mask.sum() == 1 and not widget._busy
    assert "all points are kept: ZeroDivisionError: division by zero" in widget.message and widget._failed
    assert isinstance(widget.last_error, ZeroDivisionError)
    widget.on_points = marked
    widget.undo()
    assert not widget._failed and widget.last_error is None


@pytest.mark.parametrize("answer", [np.zeros((3, 3), bool), np.zeros(VOLUME.shape), "mask"])
def test_a_mask_that_does_not_fit_is_an_error_of_the_callback(widget, answer):
    widget.on_points = lambda points: answer
    widget.points = [ONE]
    assert isinstance(widget.last_error, DataError) and ("expected" in widget.message)
    assert widget.mask is None and widget.points == (ONE,)


def test_a_callback_may_leave_the_mask_and_set_instances(widget):
    labels = np.arange(VOLUME.size).reshape(VOLUME.shape) % 5

    def proposals(points):
        widget.instances = labels

    widget.on_points = proposals
    widget.points = [ONE]
    assert widget.mask is None
    np.testing.assert_array_equal(widget.instances, labels)
    np.testing.assert_array_equal(alphas(widget._instances_png) > 0, labels[0] > 0)


def test_the_busy_flag_is_up_while_the_callback_works(widget):
    seen = []
    widget.on_points = lambda points: seen.append(widget._busy)
    widget.points = [ONE]
    assert seen == [True] and not widget._busy


def test_messages_say_what_happened(widget):
    widget.slice_index = 1
    widget.add(2, 3)
    assert widget.message == "Positive point 1 at z 1, y 2, x 3. Mask: 1 pixels, 0.5% of the slice."
    widget.on_points = None
    widget.add(4, 5, positive=False)
    assert widget.message == "Negative point 2 at z 1, y 4, x 5."
    widget.undo()
    assert widget.message == "Undone: 1 positive and 0 negative points."


def test_buttons_call_python_and_show_what_it_returns():
    pressed = []
    widget = CanvasWidget(
        VOLUME[0],
        buttons={
            "Accept": lambda w: pressed.append(w),
            "Reject": lambda w: "Gone.",
            "Fail": lambda w: {}["k"],
        },
    )
    widget.press("Accept")
    assert pressed == [widget] and widget.message == "Accept." and widget._buttons[0] == "Accept"
    widget.press("Reject")
    assert widget.message == "Gone."
    widget.press("Fail")
    assert widget.message == "Fail failed: KeyError: 'k'" and widget._failed
    with pytest.raises(ParameterError, match="button 'Save': one of Accept, Reject, Fail"):
        widget.press("Save")


def test_an_error_on_the_way_is_not_talked_over(widget):
    widget.points = [ONE]
    widget.on_points = lambda points: 1 / 0
    widget._presses["Next"] = lambda w: w.clear() or "All well."
    widget.press("Next")
    assert widget._failed and "ZeroDivisionError" in widget.message


def test_outlines_reach_python():
    drawn = []
    widget = CanvasWidget(VOLUME[0], on_outline=lambda vertices: drawn.append(vertices) or "Added.")
    widget.draw_outline([(1, 1), (1, 5), (5, 5)])
    assert drawn == [[(1.0, 1.0), (1.0, 5.0), (5.0, 5.0)]] and widget.message == "Added."
    assert widget._can_outline and widget.outline == drawn[0]
    with pytest.raises(ParameterError, match="at least three"):
        widget.draw_outline([(1, 1)])


def test_reset_is_for_the_next_object(widget):
    asked = []
    widget.points = [ONE]
    widget.on_points = asked.append
    widget.reset()
    assert widget.points == () and widget.mask is None and not widget._can_undo and asked == []
    assert [action.name for action in widget.history] == ["add", "reset"]
    widget.undo()
    assert widget.points == () and widget.message == "Nothing to undo."


def test_another_image_forgets_points_and_masks(widget):
    widget.slice_index, widget.points, widget.instances = 3, [(3, 9, 19, 1)], VOLUME.astype(int)
    widget.show(np.zeros((6, 7, 3)), "colour")
    assert (widget.points, widget.mask, widget.instances) == ((), None, None)
    assert (widget.slice_index, widget._shape, widget.label) == (0, [1, 6, 7], "colour")
    assert widget._mask_png == widget._instances_png == b""
    with pytest.raises(DataError):
        widget.show(np.zeros(3))
    assert widget._shape == [1, 6, 7]


def test_a_flat_image_has_flat_masks():
    widget = CanvasWidget(VOLUME[0], on_points=lambda points: VOLUME[0] > 100)
    widget.add(0, 0)
    np.testing.assert_array_equal(widget.mask, VOLUME[0] > 100)
    assert widget.message.startswith("Positive point 1 at y 0, x 0.")


def test_messages_of_the_browser_do_the_same(widget):
    sent(widget, "slice", index=2)
    sent(widget, "point", z=1, y=2, x=3, positive=True)  # clicked on what was shown then
    sent(widget, "point", z=2, y=4, x=5, positive=False)
    assert widget.slice_index == 2 and widget.points == (ONE, TWO)
    sent(widget, "undo")
    assert widget.points == (ONE,)
    sent(widget, "redo")
    sent(widget, "clear")
    assert widget.points == () and widget._answers == 6


def test_an_outline_of_the_browser_belongs_to_the_slice_it_was_drawn_on(widget):
    seen = []
    widget.on_outline = lambda vertices: seen.append(widget.slice_index)
    sent(widget, "outline", z=3, vertices=[[0, 0], [0, 5], [5, 5]])
    assert seen == [3] and widget.outline_slice == 3


@pytest.mark.parametrize(
    "content",
    [
        {"do": "explode"},
        {},
        {"do": "point", "z": 99, "y": 0, "x": 0, "positive": True, "era": 0},
        {"do": "slice"},
    ],
)
def test_a_message_that_cannot_be_is_said_and_answered(widget, content):
    widget._handle_custom_msg(content, [])
    assert widget.message.startswith("Not done:") and widget._failed and widget._answers == 1
    assert widget.points == () and widget.slice_index == 0


def test_own_errors_are_shown_without_their_class(widget):
    def refuse(points):
        raise MtlError("click on a cell")

    widget.on_points = refuse
    widget.points = [ONE]
    assert widget.message.endswith("all points are kept: click on a cell")


def test_opacity_stays_within_its_range(widget):
    import traitlets

    with pytest.raises(traitlets.TraitError):
        widget.mask_opacity = 1.5
