"""The canvas in a real browser: real clicks, wheel and keys; what Python got and what the pixels show.

The image names its own pixels: red is 5 x, green is 8 y, blue tells the slice. So the colour under the
pointer says what a click there must deliver, whatever the zoom and the pan.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from live_page import LivePage

from mtl.interactive.canvas import CanvasWidget
from mtl.interactive.points import Point

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SLICES, ROWS, COLUMNS = 5, 30, 40
BLUE = (0, 0x72, 0xB2)
PLACES = [(0.31, 0.22), (0.5, 0.5), (0.64, 0.83)]


def self_naming() -> np.ndarray:
    z, y, x = np.meshgrid(np.arange(SLICES), np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    return np.stack([5 * x, 8 * y, 40 * z], axis=-1).astype(np.uint8)


def halves(points) -> np.ndarray:
    """The left half while there are more positive than negative points."""
    mask = np.zeros((SLICES, ROWS, COLUMNS), bool)
    mask[:, :, : COLUMNS // 2] = sum(1 if point.label else -1 for point in points) > 0
    return mask


def named(colour: tuple[int, ...]) -> tuple[int, int, int]:
    """(z, y, x) of the pixel of this colour."""
    red, green, blue, alpha = colour
    assert alpha == 255 and red % 5 == green % 8 == blue % 40 == 0
    return blue // 40, green // 8, red // 5


@pytest.fixture
def widget() -> CanvasWidget:
    return CanvasWidget(
        self_naming(),
        "test volume",
        buttons={"Accept": lambda w: f"{len(w.points)} points accepted.", "Fail": lambda w: 1 / 0},
    )


@pytest.fixture
def live(browser, widget: CanvasWidget) -> Iterator[LivePage]:
    opened = LivePage(browser, widget)
    yield opened
    opened.page.close()
    assert opened.faults == []


def reset_view(live: LivePage) -> None:
    live.widget.reset()
    live.settle()


def check_places(live: LivePage) -> list[tuple[int, int, int]]:
    """Click in several places; every click must deliver the pixel that is shown there."""
    found = []
    for place in PLACES:
        reset_view(live)
        at = live.at(*place)
        expected = named(live.colour(*at))
        live.click(*at)
        assert [point[:3] for point in live.widget.points] == [expected]
        found.append(expected)
    return found


@pytest.mark.parametrize("ratio", [1, 2], ids=["screen", "fine screen"])
def test_a_click_delivers_the_pixel_that_is_shown(browser, widget, ratio):
    live = LivePage(browser, widget, device_scale_factor=ratio)
    whole = check_places(live)
    live.page.mouse.move(*live.at(*PLACES[0]))
    live.page.keyboard.down("Control")
    live.page.mouse.wheel(0, -300)
    live.page.keyboard.up("Control")
    zoomed = check_places(live)
    assert zoomed[0] == whole[0] and zoomed[1:] != whole[1:]  # the pixel under the pointer stays there
    pan(live, "middle", 70, 40)
    panned = check_places(live)
    assert panned[0][1] < zoomed[0][1] and panned[0][2] < zoomed[0][2]
    live.page.get_by_role("button", name="Fit").click()
    assert check_places(live) == whole
    live.page.close()


def pan(live: LivePage, button: str, dx: int, dy: int) -> None:
    x, y = live.at(0.5, 0.5)
    live.page.mouse.move(x, y)
    live.page.mouse.down(button=button)
    live.page.mouse.move(x + dx / 2, y + dy / 2)
    live.page.mouse.move(x + dx, y + dy)
    live.page.mouse.up(button=button)
    live.settle()


def test_space_and_drag_pans_and_sets_no_point(live):
    for _ in range(4):
        live.page.get_by_role("button", name="Zoom in").click()
    at = live.at(0.5, 0.5)
    before = named(live.colour(*at))
    live.canvas.focus()
    live.page.keyboard.down(" ")
    pan(live, "left", 60, 0)
    live.page.keyboard.up(" ")
    assert named(live.colour(at[0] + 60, at[1])) == before
    assert live.widget.points == ()


def test_a_canvas_to_look_at_takes_no_points(live):
    live.widget.takes_points = False
    live.settle()
    tools = [live.page.get_by_role("button", name=name) for name in ("Undo", "Clear", "Keyboard cursor")]
    assert all(tool.is_hidden() for tool in tools) and live.page.get_by_text("No points yet").is_hidden()
    for _ in range(4):
        live.page.get_by_role("button", name="Zoom in").click()
    at = live.at(0.5, 0.5)
    before = named(live.colour(*at))
    pan(live, "left", 60, 0)
    assert named(live.colour(at[0] + 60, at[1])) == before, "a drag moves the view"
    for button in ("left", "right"):
        live.click(*at, button=button)
    for key in ("k", "Enter", "p", "n", "o", "Control+z", "Escape", "PageDown"):
        live.page.keyboard.press(key)
    live.settle()
    assert live.widget.points == () and live.widget.slice_index == 1
    assert live.page.evaluate("window.sent.map((content) => content.do)") == ["slice"]


def test_left_is_positive_right_and_shift_are_negative(live):
    x, y = live.at(0.4, 0.4)
    live.click(x, y)
    live.click(x + 40, y, button="right")
    live.page.keyboard.down("Shift")
    live.click(x + 80, y)
    live.page.keyboard.up("Shift")
    assert [point.label for point in live.widget.points] == [1, 0, 0]
    assert len({point.x for point in live.widget.points}) == 3
    entries = live.page.locator("ol button").all_inner_texts()
    assert [entry[0] for entry in entries] == ["+", "−", "−"]
    assert live.page.locator("h4").inner_text() == "Points: 1 +, 2 −"


def test_points_and_overlays_change_the_pixels(live):
    live.widget.on_points = halves
    left, right = live.at(0.4, 0.3), live.at(0.6, 0.3)
    before = live.colour(*left), live.colour(*right)
    live.click(*live.at(0.6, 0.7))
    assert live.colour(*left) != before[0] and live.colour(*right) == before[1]
    assert live.colour(*live.at(0.6, 0.7))[:3] in ((255, 255, 255), BLUE)  # the point's sign or disc
    live.page.locator("label", has_text="Mask opacity").locator("input").fill("0")
    live.settle()
    assert live.widget.mask_opacity == 0 and live.colour(*left) == before[0]


def test_instances_are_shown_at_their_opacity(live):
    before = live.colour(*live.at(0.5, 0.5))
    labels = np.zeros((SLICES, ROWS, COLUMNS), np.int32)
    labels[0, 5:25, 10:30] = 7
    live.widget.instances, live.widget.instance_opacity = labels, 1.0
    live.settle()
    inside = live.colour(*live.at(0.5, 0.5))
    assert inside != before
    live.widget.slice_index = 1
    live.settle()
    assert named(live.colour(*live.at(0.5, 0.5)))[0] == 1


def test_wheel_slider_and_keys_change_the_slice(live):
    live.page.mouse.move(*live.at(0.5, 0.5))
    live.page.mouse.wheel(0, 100)
    live.settle()
    assert live.widget.slice_index == 1 and named(live.colour(*live.at(0.5, 0.5)))[0] == 1
    for _ in range(8):  # past the end
        live.page.mouse.wheel(0, 100)
        live.settle()
    assert live.widget.slice_index == SLICES - 1
    live.canvas.focus()
    live.press("PageUp")
    assert live.widget.slice_index == SLICES - 2 and "Slice z 3 of 0 to 4." in live.status
    live.page.locator("label", has_text="Slice z").locator("input").fill("2")
    live.settle()
    assert named(live.colour(*live.at(0.5, 0.5)))[0] == live.widget.slice_index == 2
    live.click(*live.at(0.5, 0.5))
    assert live.widget.points[0].z == 2


def test_slices_that_look_alike_still_show_their_own_points(browser):
    live = LivePage(browser, CanvasWidget(np.zeros((2, 30, 40), np.uint8)))
    live.widget.points = [(0, 15, 20, 1)]
    live.settle()
    assert blue_in_sight(live)
    live.widget.slice_index = 1
    live.settle()
    assert not blue_in_sight(live)
    live.page.close()


def test_a_fast_wheel_asks_for_one_slice_at_a_time(live):
    live.page.evaluate("""() => { const canvas = document.querySelector("canvas");
        for (let i = 0; i < 4; i++) canvas.dispatchEvent(new WheelEvent("wheel",
            { deltaY: 100, bubbles: true, cancelable: true })); }""")
    live.settle()
    asked = [message["index"] for message in live.page.evaluate("window.sent")]
    assert asked == [1, 4] and live.widget.slice_index == 4


def test_keyboard_undo_redo_and_clear(live):
    live.click(*live.at(0.4, 0.4))
    live.click(*live.at(0.6, 0.6))
    live.press("Control+z")
    assert len(live.widget.points) == 1 and "Undone" in live.status
    live.press("Control+y")
    assert len(live.widget.points) == 2 and "Redone" in live.status
    live.press("Escape")
    assert live.widget.points == () and live.status == "All points cleared."
    live.press("Control+z")
    live.page.get_by_role("button", name="Undo").focus()
    live.press("Control+z")  # from a button too
    live.press("Control+Shift+z")
    assert len(live.widget.points) == 2


def test_points_are_set_without_a_mouse(live):
    live.canvas.focus()
    live.press("k")
    assert live.status.startswith("Keyboard cursor at y 15, x 20.")
    live.press("ArrowLeft")
    live.press("ArrowUp")
    live.press("Shift+ArrowDown")
    assert live.status == "Cursor at y 24, x 19."
    live.press("Enter")
    live.press("ArrowRight")
    live.press("Shift+Enter")
    assert live.widget.points == (Point(0, 24, 19, 1), Point(0, 24, 20, 0))
    assert live.status == "Negative point 2 at z 0, y 24, x 20."
    for _ in range(9):
        live.press("Shift+ArrowDown")  # stays on the image
    live.press("p")
    assert live.widget.points[-1] == Point(0, ROWS - 1, 20, 1)


def test_the_keyboard_cursor_stays_in_sight(live):
    live.canvas.focus()
    for _ in range(12):
        live.press("+")
    live.press("k")
    for _ in range(3):
        live.press("Shift+ArrowRight")
    live.press("Enter")
    assert len(live.widget.points) == 1
    assert blue_in_sight(live)


def blue_in_sight(live: LivePage) -> bool:
    """Whether the disc of a positive point is drawn somewhere in the canvas."""
    script = """() => { const c = document.querySelector("canvas"), d = c.getContext("2d")
        .getImageData(0, 0, c.width, c.height).data;
        for (let i = 0; i < d.length; i += 4)
            if (d[i] === 0 && d[i + 1] === 0x72 && d[i + 2] === 0xb2) return true;
        return false; }"""
    return live.page.evaluate(script)


def test_a_drag_draws_an_outline(live):
    drawn = []
    live.widget.on_outline = lambda vertices: drawn.append(vertices) or "Nucleus added."
    live.widget._can_outline = True
    live.settle()
    live.page.get_by_role("button", name="Outline").click()
    live.settle()
    assert live.widget.mode == "outline"
    corners = [(0.4, 0.3), (0.6, 0.3), (0.6, 0.7), (0.4, 0.7), (0.4, 0.31)]
    expected = [named(live.colour(*live.at(*corner)))[1:] for corner in corners]
    live.page.mouse.move(*live.at(*corners[0]))
    live.page.mouse.down()
    for corner in corners[1:]:
        live.page.mouse.move(*live.at(*corner), steps=12)
    live.page.mouse.up()
    live.settle()
    [vertices] = drawn
    assert live.status == "Nucleus added." and live.widget.points == () and len(vertices) > 20
    for corner in expected:
        assert min(np.abs(np.asarray(vertices) - corner).max(axis=1)) <= 1.0  # a vertex a pixel
    low, high = np.min(vertices, axis=0), np.max(vertices, axis=0)
    np.testing.assert_allclose([low, high], [np.min(expected, axis=0), np.max(expected, axis=0)], atol=1)


def test_an_outline_is_drawn_without_a_mouse_and_abandoned(live):
    drawn = []
    live.widget.on_outline, live.widget._can_outline = drawn.append, True
    live.widget.points = [(0, 0, 0, 1)]
    live.settle()
    live.canvas.focus()
    live.press("o")
    live.press("k")
    live.press("Enter")
    live.press("Escape")
    assert live.status == "Outline abandoned." and len(live.widget.points) == 1
    for key in ("Enter", "Shift+ArrowRight", "Enter", "Shift+ArrowDown", "Enter", "Shift+Enter"):
        live.press(key)
    assert drawn == [[(15, 20), (15, 30), (25, 30)]]


def test_buttons_press_python_and_errors_are_said(live):
    live.click(*live.at(0.5, 0.5))
    live.page.get_by_role("button", name="Accept").click()
    live.settle()
    assert live.status == "1 points accepted."
    live.page.get_by_role("button", name="Fail").click()
    live.settle()
    assert live.status == "Fail failed: ZeroDivisionError: division by zero"
    assert "failed" in live.page.locator("[aria-live=polite]").get_attribute("class")
    live.press("Control+z")
    assert "failed" not in live.page.locator("[aria-live=polite]").get_attribute("class")


def test_clicks_beside_the_image_and_slips_set_no_point(live):
    live.widget.height = 200  # leaves room left and right
    live.settle()
    live.click(*live.at(0.01, 0.5))
    assert live.status == "Outside of the image: no point set."
    x, y = live.at(0.5, 0.5)
    live.page.mouse.move(x, y)
    live.page.mouse.down()
    live.page.mouse.move(x + 30, y)
    live.page.mouse.up()
    live.settle()
    assert "The pointer moved" in live.status and live.widget.points == ()


def test_a_listed_point_is_brought_into_sight(live):
    live.widget.points = [(3, 2, 4, 1)]
    live.settle()
    live.page.get_by_role("button", name="Point 1, positive, z 3, y 2, x 4: show it").click()
    live.settle()
    assert live.widget.slice_index == 3 and blue_in_sight(live)


def test_everything_has_a_name_and_can_be_reached(live):
    live.widget.on_points = halves
    live.widget.points = [(0, 1, 1, 1)]
    live.settle()
    nameless = live.page.evaluate("""() => [...document.querySelectorAll("button, input")]
        .filter((n) => !n.textContent.trim() && !n.ariaLabel && !n.labels?.[0]?.textContent.trim()).length""")
    assert nameless == 0
    assert live.canvas.get_attribute("role") == "application"
    assert live.canvas.get_attribute("aria-label") == "test volume, 40 wide, 30 high, slice 0 of 0 to 4"
    live.page.locator("button").first.focus()
    reached = set()
    for _ in range(25):
        reached.add(live.page.evaluate("document.activeElement.tagName"))
        live.page.keyboard.press("Tab")
    assert {"BUTTON", "CANVAS", "INPUT", "SUMMARY"} <= reached


@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_is_cut_off(browser, widget, width):
    widget.on_points = halves
    widget.points = [(0, 1, 1, 1)] * 3
    live = LivePage(browser, widget, width=width)
    live.page.locator("summary").click()
    too_wide = live.page.evaluate("""() => [...document.querySelectorAll(".mtl-canvas *")]
        .filter((n) => n.clientWidth && n.scrollWidth > n.clientWidth + 1)
        .map((n) => n.className || n.tagName)""")
    assert too_wide == []
    assert live.page.evaluate("document.documentElement.scrollWidth") <= width + 24
    live.page.close()


def test_a_flat_image_leaves_the_wheel_to_the_page(browser):
    live = LivePage(browser, CanvasWidget(self_naming()[0], "flat"))
    assert live.page.locator("label", has_text="Slice z").is_hidden()
    live.page.evaluate("document.body.style.height = '3000px'")
    live.page.mouse.move(*live.at(0.5, 0.5))
    live.page.mouse.wheel(0, 200)
    live.page.wait_for_function("window.scrollY > 0")
    live.page.close()


def test_a_closed_view_hears_nothing_more(live):
    assert live.page.evaluate("window.listeners()") > 0
    live.page.evaluate("window.close_view()")
    assert live.page.evaluate("window.listeners()") == 0
