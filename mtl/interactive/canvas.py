"""The canvas: an image or a volume that people point at, with masks that answer.

The browser (``canvas.js``) draws and sends what was clicked; everything else happens here, so that a test
needs no browser: ``w.points = [(0, 20, 31, 1)]`` calls ``on_points`` and changes ``w.mask``. Only the slice
that is shown travels, as PNG files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets

from mtl.errors import ParameterError
from mtl.interactive.pictures import MASK_COLOUR, Picture, checked_picture, overlay_png
from mtl.interactive.points import Action, Point, PointLog, PointsTrait, checked_outline, checked_point
from mtl.interactive.speaking import SpeakingWidget
from mtl.interactive.words import told_change, told_mask

OnPoints = Callable[[tuple[Point, ...]], np.ndarray | None]
OnOutline = Callable[[list[tuple[float, float]]], str | None]
OnPress = Callable[["CanvasWidget"], str | None]


class CanvasWidget(SpeakingWidget):
    """An image or a volume to point at.

    Args:
        image: ``(Y,X)`` grey, ``(Y,X,3)`` colour, ``(Z,Y,X)`` or ``(Z,Y,X,3)``; uint8 or other numbers.
        label: what the image is, in a few words: read out to those who do not see it.
        on_points: called with all points after every change of them; returns the mask, in the image's shape
            ((Y,X) or (Z,Y,X)), or None to leave it as it is.
        on_outline: called with the (y, x) vertices of a drawn polygon, ``slice_index`` being its slice;
            a text that it returns is shown. Without it no outlines can be drawn.
        buttons: further buttons, by their text; pressed, they are called with this widget, and a text that
            they return is shown.
        window: grey values shown as black and white; see `checked_picture`.

    An error in a callback is shown in the widget and kept in ``last_error``; no point is lost by it.
    ``mask_is_stale`` says whether the mask belongs to earlier points, ``on_points`` having failed.
    ``points`` can be set, ``slice_index``, ``mask`` and ``instances`` too: the browser follows.
    ``slice_name`` is what the first axis counts: "slice z", "frame"; without ``takes_points`` the browser
    offers none of the tools for points, and the pointer moves the view.

    Raises:
        DataError: an image, mask or labels of another shape or type.
        ParameterError: a point, slice or outline outside of the image.
    """

    _esm = Path(__file__).with_name("canvas.js")
    _css = Path(__file__).with_name("canvas.css")

    points = PointsTrait(()).tag(sync=True, to_json=lambda points, _: [list(point) for point in points])
    slice_index = traitlets.CInt(0).tag(sync=True)
    slice_name = traitlets.Unicode("slice z").tag(sync=True)
    takes_points = traitlets.Bool(True).tag(sync=True)
    mode = traitlets.Enum(("points", "outline"), "points").tag(sync=True)
    mask_opacity = traitlets.Float(0.7, min=0, max=1).tag(sync=True)
    instance_opacity = traitlets.Float(0.5, min=0, max=1).tag(sync=True)
    label = traitlets.Unicode("image").tag(sync=True)
    height = traitlets.Int(440, min=120).tag(sync=True)

    _can_undo = traitlets.Bool(False).tag(sync=True)
    _can_redo = traitlets.Bool(False).tag(sync=True)
    _can_outline = traitlets.Bool(False).tag(sync=True)
    _buttons = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)
    _era = traitlets.Int(0).tag(sync=True)  # begins anew with every picture and every button that was pressed
    _shown_slice = traitlets.Int(0).tag(sync=True)
    _image_png = traitlets.Bytes().tag(sync=True)
    _mask_png = traitlets.Bytes().tag(sync=True)
    _instances_png = traitlets.Bytes().tag(sync=True)

    def __init__(
        self,
        image: Any,
        label: str = "image",
        on_points: OnPoints | None = None,
        on_outline: OnOutline | None = None,
        buttons: Mapping[str, OnPress] | None = None,
        window: tuple[float, float] | None = None,
        height: int = 440,
    ) -> None:
        self._picture = checked_picture(image, window)
        self._log = PointLog()
        self._mask: np.ndarray | None = None
        self._instances: np.ndarray | None = None
        self._instance_colours: dict[int, str] = {}
        self._presses = dict(buttons or {})
        self.mask_is_stale = False
        self.outline: list[tuple[float, float]] | None = None
        self.outline_slice = 0
        super().__init__(label=label, height=height)
        self.on_points, self.on_outline, self._buttons = on_points, on_outline, list(self._presses)
        self.on_msg(self._received)
        self._show(self._picture)

    @property
    def on_outline(self) -> OnOutline | None:
        """Called with the vertices of a drawn polygon; None: none can be drawn."""
        return self._on_outline

    @on_outline.setter
    def on_outline(self, callback: OnOutline | None) -> None:
        self._on_outline, self._can_outline = callback, callback is not None

    @property
    def picture(self) -> Picture:
        """The image as it is shown."""
        return self._picture

    @property
    def history(self) -> tuple[Action, ...]:
        """Every change of the points since the widget was made, oldest first."""
        return tuple(self._log.history)

    @property
    def mask(self) -> np.ndarray | None:
        """``(Y,X)`` or ``(Z,Y,X)`` bool as the image, or None."""
        return self._given_shape(self._mask)

    @mask.setter
    def mask(self, mask: Any) -> None:
        self._mask = None if mask is None else self._picture.stack(mask, "the mask") != 0
        self.mask_is_stale = False
        self._draw_mask()

    @property
    def instances(self) -> np.ndarray | None:
        """``(Y,X)`` or ``(Z,Y,X)`` whole numbers as the image, 0 for nothing, or None."""
        return self._given_shape(self._instances)

    @instances.setter
    def instances(self, labels: Any) -> None:
        self._instances = None if labels is None else self._picture.stack(labels, "the instances")
        self._draw_instances()

    @property
    def instance_colours(self) -> dict[int, str]:
        """Colours "#rrggbb" of some instances; the others take turns in the palette."""
        return dict(self._instance_colours)

    @instance_colours.setter
    def instance_colours(self, colours: Mapping[int, str]) -> None:
        before, self._instance_colours = self._instance_colours, dict(colours)
        try:
            self._draw_instances()
        except Exception:
            self._instance_colours = before
            raise

    def show(self, image: Any, label: str | None = None, window: tuple[float, float] | None = None) -> None:
        """Another image: points, masks and what could be undone are forgotten, the history goes on."""
        picture = checked_picture(image, window)
        with self.hold_sync():
            self.label = self.label if label is None else label
            self.reset()
            self.outline = self._instances = None
            self._instance_colours = {}
            self._show(picture)
            self._era += 1

    def add(self, y: int, x: int, z: int | None = None, positive: bool = True) -> None:
        """One more point, by default on the slice that is shown."""
        place = (self.slice_index if z is None else z, y, x, int(positive))
        self.points = (*self.points, checked_point(place, self._picture.shape))

    def undo(self) -> None:
        """Take back the last change of the points."""
        if self._log.can_undo:
            self._log.undo()
            self.points = self._log.points
        else:
            self.say("Nothing to undo.")

    def redo(self) -> None:
        """Bring back what was undone last."""
        if self._log.can_redo:
            self._log.redo()
            self.points = self._log.points
        else:
            self.say("Nothing to redo.")

    def clear(self) -> None:
        """Remove all points; can be undone."""
        if not self.points:
            self.say("There are no points to clear.")
        self.points = ()

    def reset(self) -> None:
        """No points, no mask, nothing to undo: the next object. ``on_points`` is not called."""
        self._log.reset()
        with self.hold_sync():
            self.points = ()
            self._can_undo = self._can_redo = False
            self.mask = None

    def draw_outline(self, vertices: Sequence[Sequence[float]]) -> None:
        """A polygon on the slice that is shown, (y, x) in pixels; hands it to ``on_outline``."""
        self.outline, self.outline_slice = checked_outline(vertices, self._picture.shape), self.slice_index
        self._call(f"Outline with {len(self.outline)} vertices.", self.on_outline, self.outline)

    def press(self, button: str) -> None:
        """As a click on one of the ``buttons``."""
        if button not in self._presses:
            raise ParameterError(
                f"button {button!r}: one of {', '.join(self._presses) or 'none'} is expected"
            )
        try:
            self._call(f"{button}.", self._presses[button], self)
        finally:
            self._era += 1

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and for reports a still picture of it as it is now."""
        from mtl.interactive.stills import still_beside

        return still_beside(super()._repr_mimebundle_(**options), self)

    @traitlets.validate("slice_index")
    def _valid_slice(self, proposal: dict[str, Any]) -> int:
        index, last = proposal["value"], self._picture.shape[0] - 1
        if not 0 <= index <= last:
            raise ParameterError(f"slice_index = {index}: 0 to {last} is expected")
        return index

    @traitlets.observe("points")
    def _points_changed(self, change: dict[str, Any]) -> None:
        if change["new"] != self._log.points:
            self._log.put(change["new"])
        if self._log.history[-1].name == "reset":
            return
        with self.hold_sync():
            self._can_undo, self._can_redo = self._log.can_undo, self._log.can_redo
            self.say(told_change(self._log.history[-1], self._picture))
        if self.on_points is not None:
            self.mask_is_stale = True
            with self._at_work("The mask could not be updated; all points are kept"):
                self._take_mask(self.on_points(self.points))
                self.mask_is_stale = False

    def _take_mask(self, mask: np.ndarray | None) -> None:
        if mask is None:
            return
        with self.hold_sync():
            self.mask = mask
            self.message = f"{self.message} {told_mask(self._mask[self.slice_index])}"

    @traitlets.observe("slice_index")
    def _slice_changed(self, change: dict[str, Any]) -> None:
        self._draw_slice()
        self.say(f"{self.slice_name.capitalize()} {change['new']} of 0 to {self._picture.shape[0] - 1}.")

    def _show(self, picture: Picture) -> None:
        self._picture = picture
        self._shape, self.slice_index = list(picture.shape), 0
        self._draw_slice()

    def _draw_slice(self) -> None:
        with self.hold_sync():
            self._image_png = self._picture.png(self.slice_index)
            self._draw_mask()
            self._draw_instances()
            self._shown_slice = self.slice_index

    def _draw_mask(self) -> None:
        mask = self._mask
        self._mask_png = b"" if mask is None else overlay_png(mask[self.slice_index], {1: MASK_COLOUR})

    def _draw_instances(self) -> None:
        labels, colours = self._instances, self._instance_colours
        self._instances_png = b"" if labels is None else overlay_png(labels[self.slice_index], colours)

    def _given_shape(self, labels: np.ndarray | None) -> np.ndarray | None:
        return labels[0] if labels is not None and self._picture.flat else labels

    def _received(self, _: Any, content: dict[str, Any], __: Any) -> None:
        """What the browser sent: a click, a key, a slice, an outline or a button."""
        deeds: dict[str, Callable[[dict[str, Any]], Any]] = {
            "point": self._point_received,
            "slice": lambda sent: self.set_trait("slice_index", sent["index"]),
            "outline": self._outline_received,
            "press": lambda sent: self.press(sent["button"]),
            "undo": lambda _: self.undo(),
            "redo": lambda _: self.redo(),
            "clear": lambda _: self.clear(),
        }
        self._answer(deeds, content)

    def _point_received(self, sent: dict[str, Any]) -> None:
        self._require_same_picture(sent)
        self.add(sent["y"], sent["x"], sent["z"], sent["positive"])

    def _outline_received(self, sent: dict[str, Any]) -> None:
        self._require_same_picture(sent)
        self.slice_index = sent["z"]
        self.draw_outline(sent["vertices"])

    def _require_same_picture(self, sent: dict[str, Any]) -> None:
        """A click that was made on what has been replaced meanwhile would hit something else."""
        if sent["era"] != self._era:
            raise ParameterError("the picture has changed since you pointed at it; point again")
