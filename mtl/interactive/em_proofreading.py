"""Proofreading of an EM volume by pointing: click, see the object, accept it; split, merge, remove; go back.

The canvas shows what is there; the answers come from a `ClickSession`, and everything that is accepted lies
in a `Proofreading`, on the disk before the next click.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np

from mtl.errors import DataError, ParameterError
from mtl.files import write_json
from mtl.inference.em.click_session import ClickSession
from mtl.inference.em.label_zarr import write_label_zarr
from mtl.inference.em.proofreading import Proofreading
from mtl.inference.label_tiff import write_label_tiff
from mtl.interactive.canvas import CanvasWidget
from mtl.interactive.pictures import INSTANCE_COLOURS
from mtl.interactive.points import Point

#: Of segments that nobody has accepted yet: yellow, which stands out from tissue; accepted ones take turns in
#: the other colours.
OPEN_COLOUR = "#F0E442"
ACCEPTED_COLOURS = tuple(colour for colour in INSTANCE_COLOURS if colour != OPEN_COLOUR)
HELP = (
    "Left click: belongs to the object. Right or shift-click: does not. "
    "<b>Accept</b> takes the mask into the labels (an accepted object under the first click is replaced). "
    "<b>Split</b> cuts the object under the points, positive from negative. <b>Merge</b> joins the "
    "objects under the positive points. <b>Remove</b> empties the object under the first point. Every action "
    "is on the disk at once; <b>Undo action</b> takes the last one back."
)


class ProofreadingDesk(ipywidgets.VBox):
    """A canvas with what proofreading needs, and a slider over the history.

    Args:
        image: ``(Z,Y,X)`` or ``(Y,X)`` float in [0, 1].
        session: of this image.
        work: of labels of this shape.
        label: what the image is, in a few words.
        corner: first voxel of the image in the volume that it was cut from: saved files say so.

    Attributes:
        canvas: the `CanvasWidget`; ``desk.canvas.points = [(z, y, x, 1)]`` is a click.
        seconds: from each change of the points to its mask, in this process.

    Raises:
        DataError: image, session and work are not of one shape.
    """

    def __init__(
        self,
        image: np.ndarray,
        session: ClickSession,
        work: Proofreading,
        label: str = "EM volume",
        corner: Sequence[int] | None = None,
    ) -> None:
        if not image.shape == session.shape == work.labels.shape:
            raise DataError(
                f"image {image.shape}, session {session.shape}, labels {work.labels.shape}: one shape is "
                "expected"
            )
        self.session, self.work, self.seconds = session, work, []
        self.corner = None if corner is None else tuple(map(int, corner))
        buttons = {
            "Accept": self._accept,
            "Split": self._split,
            "Merge": self._merge,
            "Remove": self._remove,
            "Undo action": self._undo,
            "Save files": self._save,
        }
        self.canvas = CanvasWidget(image, label, on_points=self._clicked, buttons=buttons, window=(0.0, 1.0))
        self.replay = ipywidgets.IntSlider(
            description="history", min=0, max=0, continuous_update=False, layout={"width": "60%"}
        )
        self.replay.observe(self._replayed, "value")
        self.canvas.slice_index = self.canvas.picture.shape[0] // 2
        self._show_labels()
        if work.history:
            self.canvas.say(f"{len(work.history)} actions are there from before: going on with them.")
        super().__init__([ipywidgets.HTML(HELP), self.canvas, self.replay])

    def press(self, button: str) -> None:
        """As a click on a button of the canvas."""
        self.canvas.press(button)

    def save(self, folder: str | Path | None = None) -> dict[str, Path]:
        """Write ``labels.tif``, the OME-Zarr folder ``labels.zarr`` and ``accepted.json``, ids that count.

        folder: by default that of the work.
        """
        folder = Path(folder or self.work.folder)
        labels, spacing = self.work.labels, self.work.spacing
        there = self.work.accepted & set(np.unique(labels).tolist())
        files = {
            "TIFF": write_label_tiff(folder / "labels.tif", labels, spacing),
            "OME-Zarr": write_label_zarr(folder / "labels.zarr", labels, spacing, self.corner),
            "accepted ids": folder / "accepted.json",
        }
        write_json(files["accepted ids"], {"accepted": sorted(map(int, there)), "corner": self.corner})
        return files

    def _repr_mimebundle_(self, **options: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The widgets, and for reports a still picture of the canvas."""
        from mtl.interactive.stills import still_beside

        return still_beside(super()._repr_mimebundle_(**options), self.canvas)

    # ------------------------------------------------------------------ points
    def _clicked(self, points: tuple[Point, ...]) -> np.ndarray:
        start = time.perf_counter()
        mask = self.session.answer([self._place(p) for p in points], [p.label for p in points])
        self.seconds.append(time.perf_counter() - start)
        return mask

    def _place(self, point: Point) -> tuple[int, ...]:
        return tuple(point[:3])[-len(self.session.shape) :]

    def _places(self, label: int) -> list[tuple[int, ...]]:
        return [self._place(point) for point in self.canvas.points if point.label == label]

    def _note(self) -> dict[str, Any]:
        return {"clicks": [[*self._place(p), p.label] for p in self.canvas.points], "time": time.time()}

    # ------------------------------------------------------------------ buttons
    def _accept(self, _: CanvasWidget) -> str:
        positive = self._places(1)
        if not positive:
            raise ParameterError("click on an object first: a positive point is expected")
        mask, below = self.canvas.mask, self.work.object_at(positive[0])
        if mask is None or self.canvas.mask_is_stale:
            raise ParameterError("there is no mask to accept: the last click was not answered")
        replaces = below if below in self.work.accepted else 0
        taken = int(np.count_nonzero(mask))
        number = self.work.accept(mask, replaces=replaces, **self._note())
        size = int(np.count_nonzero(self.work.labels == number))
        self._next_object()
        kept = f"; {taken - size:,} voxels stay with objects accepted before" if taken > size else ""
        return f"Object {number} {'replaced' if replaces else 'accepted'}: {size:,} voxels{kept}."

    def _split(self, _: CanvasWidget) -> str:
        if not (self._places(1) and self._places(0)):
            raise ParameterError("a positive point in one part and a negative one in the other are expected")
        ids = self.work.split([self._places(1), self._places(0)], **self._note())
        self._next_object()
        return f"Object {ids[0]} split: its other part is object {ids[1]}."

    def _merge(self, _: CanvasWidget) -> str:
        objects = list(dict.fromkeys(self.work.object_at(place) for place in self._places(1)))
        number = self.work.merge(objects, **self._note())
        self._next_object()
        return f"Objects {', '.join(map(str, objects))} are now object {number}."

    def _remove(self, _: CanvasWidget) -> str:
        if not self.canvas.points:
            raise ParameterError("a point on the object to remove is expected")
        number = self.work.object_at(self._place(self.canvas.points[0]))
        self.work.remove(number, **self._note())
        self._next_object()
        return f"Object {number} removed."

    def _undo(self, _: CanvasWidget) -> str:
        undone = self.work.undo()
        self._show_labels()
        return (
            "There is no action to undo."
            if undone is None
            else f"Undone: {undone.name} of object {undone.object}."
        )

    def _save(self, _: CanvasWidget) -> str:
        return "Saved: " + ", ".join(f"{kind} {path}" for kind, path in self.save().items()) + "."

    # ------------------------------------------------------------------ labels
    def _next_object(self) -> None:
        self.canvas.reset()
        self.session.clear()
        self._show_labels()

    def _show_labels(self) -> None:
        done = len(self.work.history)
        self.replay.max = max(done, self.replay.value)
        if self.replay.value == done:
            self._draw(done)
        else:
            self.replay.value = done  # draws
        self.replay.max = done

    def _replayed(self, change: dict[str, Any]) -> None:
        done = len(self.work.history)
        self._draw(change["new"])
        if change["new"] < done:
            self.canvas.say(f"History: after {change['new']} of {done} actions; clicks go on from the last.")

    def _draw(self, n: int) -> None:
        """The labels after the first ``n`` actions."""
        labels, accepted = self.work.after(n)
        colours = {number: OPEN_COLOUR for number in np.unique(labels).tolist() if number}
        for turn, number in enumerate(sorted(accepted)):
            colours[number] = ACCEPTED_COLOURS[turn % len(ACCEPTED_COLOURS)]
        with self.canvas.hold_sync():
            self.canvas.instances, self.canvas.instance_colours = labels, colours
