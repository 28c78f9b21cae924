"""Annotation of nuclei by pointing: accept or reject what the network proposes, add what it missed, train it.

Every action is on the disk before it is shown. What is proposed comes from the network as it is now; after
*Train* it has learnt from all that was outlined, and the proposals are new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import ipywidgets
import numpy as np
from skimage.draw import polygon2mask

from mtl.errors import ParameterError
from mtl.inference.histology.annotation_session import AnnotationSession
from mtl.interactive.canvas import CanvasWidget
from mtl.interactive.points import Point

#: Okabe and Ito (2008): green is outlined, orange is proposed.
OUTLINED_COLOUR, PROPOSED_COLOUR = "#009E73", "#E69F00"
HELP = (
    "Green: outlined. Orange: proposed. Left click on a proposal accepts it, right or shift-click rejects "
    "it. Left click beside all of them adds a nucleus that was missed, as far as the network half sees one; "
    "else draw its outline. <b>Train</b> makes a bounded number of steps on what is outlined and proposes "
    "anew. Every action is on the disk at once; <b>Undo action</b> takes the last one back."
)


class Annotation(Protocol):
    """What the desk works on; see `mtl.studies.histology.annotation_by_hand`."""

    session: AnnotationSession
    tiles: Mapping[str, Any]  # each with ``image`` uint8 (H, W, 3) and ``group``
    trainings: int

    def proposals(self, tile: str) -> tuple[np.ndarray, np.ndarray]: ...

    def nucleus_around(self, tile: str, place: tuple[int, int]) -> np.ndarray: ...

    def act(self, action: str, tile: str, mask: np.ndarray) -> None: ...

    def train(self, on_step: Callable[[int, int], None] | None = None) -> int: ...

    def save(self, folder: str | Path | None = None) -> list[Path]: ...


class AnnotationDesk(ipywidgets.VBox):
    """A canvas with what annotating needs, and a progress bar.

    Attributes:
        canvas: the `CanvasWidget`; ``desk.canvas.points = [(0, y, x, 1)]`` is a click.
        tile: id of the tile that is shown.
        proposals: ids ``(H, W)`` of what is proposed on it.
    """

    def __init__(self, annotation: Annotation) -> None:
        self.annotation, self.session = annotation, annotation.session
        self.tile = next(iter(annotation.tiles))
        buttons = {
            "Accept all": self._accept_all,
            "Previous tile": lambda _: self._turn(-1),
            "Next tile": lambda _: self._turn(1),
            "Train": self._train,
            "Undo action": self._undo,
            "Save files": self._save,
        }
        self.canvas = CanvasWidget(
            annotation.tiles[self.tile].image, "tile", on_points=self._clicked, on_outline=self._drawn,
            buttons=buttons,
        )  # fmt: skip
        self.progress = ipywidgets.IntProgress(description="training", layout={"visibility": "hidden"})
        self._show_tile()
        if done := len(self.session.entries):
            self.canvas.say(f"{done} actions are there from before: going on with them.")
        super().__init__([ipywidgets.HTML(HELP), self.canvas, self.progress])

    def press(self, button: str) -> None:
        """As a click on a button of the canvas."""
        self.canvas.press(button)

    def _repr_mimebundle_(self, **options: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The widgets, and for reports a still picture of the canvas."""
        from mtl.interactive.stills import still_beside

        return still_beside(super()._repr_mimebundle_(**options), self.canvas)

    # ------------------------------------------------------------------ pointing
    def _clicked(self, points: tuple[Point, ...]) -> None:
        if not points:
            return
        *_, (_, y, x, positive) = points
        self.canvas.reset()
        try:
            self.canvas.say(self._accepted_or_added((y, x)) if positive else self._rejected((y, x)))
        except Exception as error:  # whatever it is, no point is left to be kept
            self.canvas.fail(error, "Not done")

    def _accepted_or_added(self, place: tuple[int, int]) -> str:
        number = self.proposals[place]
        if number:
            return self._do("accept", self.proposals == number, "Accepted")
        return self._do("add", self.annotation.nucleus_around(self.tile, place), "Added")

    def _rejected(self, place: tuple[int, int]) -> str:
        number = self.proposals[place]
        if not number:
            raise ParameterError(
                f"nothing is proposed at y {place[0]}, x {place[1]}: there is nothing to reject"
            )
        return self._do("reject", self.proposals == number, "Rejected")

    def _drawn(self, vertices: list[tuple[float, float]]) -> str:
        mask = polygon2mask(self.proposals.shape, np.asarray(vertices))
        self.canvas.outline = None
        return self._do("add", mask, "Added")

    def _do(self, action: str, mask: np.ndarray, told: str) -> str:
        taken = mask & (self.session.instances(self.tile) == 0) if action == "add" else mask
        self.annotation.act(action, self.tile, mask)
        self._show_labels()
        return f"{told}: {int(taken.sum()):,} pixels. {self._told()}"

    # ------------------------------------------------------------------ buttons
    def _accept_all(self, _: CanvasWidget) -> str:
        numbers = [n for n in np.unique(self.proposals).tolist() if n]
        if not numbers:
            raise ParameterError("nothing is proposed on this tile")
        shown = self.proposals
        for number in numbers:
            self.annotation.act("accept", self.tile, shown == number)
        self._show_labels()
        return f"Accepted: {len(numbers)} proposals. {self._told()}"

    def _turn(self, by: int) -> str:
        tiles = list(self.annotation.tiles)
        self.tile = tiles[(tiles.index(self.tile) + by) % len(tiles)]
        self._show_tile()
        return f"Tile {tiles.index(self.tile) + 1} of {len(tiles)}. {self._told()}"

    def _train(self, _: CanvasWidget) -> str:
        self.progress.value = 0
        self.progress.layout.visibility = "visible"
        try:
            outlined = self.annotation.train(self._stepped)
        finally:
            self.progress.layout.visibility = "hidden"
        self._show_labels()
        return f"Trained {self.progress.max} steps on {outlined} outlined nuclei. {self._told()}"

    def _stepped(self, done: int, total: int) -> None:
        self.progress.max, self.progress.value = total, done
        self.progress.description = f"{done}/{total}"

    def _undo(self, _: CanvasWidget) -> str:
        undone = self.session.undo()
        if undone is None:
            return "There is no action to undo."
        if undone.tile != self.tile:
            self.tile = undone.tile
            self._show_tile()
        self._show_labels()
        return f"Undone: {undone.action}. {self._told()}"

    def _save(self, _: CanvasWidget) -> str:
        written = self.annotation.save()
        if not written:
            raise ParameterError("no nucleus is outlined yet: there is nothing to save")
        return f"Saved {len(written)} files (PNG, TIFF, GeoJSON) in {written[0].parent}."

    # ------------------------------------------------------------------ what is shown
    def _show_tile(self) -> None:
        tile = self.annotation.tiles[self.tile]
        self.canvas.show(tile.image, f"tile {self.tile} ({tile.group})")
        self._show_labels()

    def _show_labels(self) -> None:
        self.proposals, _ = self.annotation.proposals(self.tile)
        outlined = self.session.instances(self.tile)
        n = int(outlined.max(initial=0))
        free = (outlined == 0) & (self.proposals > 0)
        labels = np.where(free, self.proposals + n, outlined)
        numbers = np.unique(labels).tolist()
        colours = {k: OUTLINED_COLOUR if k <= n else PROPOSED_COLOUR for k in numbers if k}
        with self.canvas.hold_sync():
            self.canvas.instances, self.canvas.instance_colours = labels, colours

    def _told(self) -> str:
        outlined = int(self.session.instances(self.tile).max(initial=0))
        proposed = np.count_nonzero(np.unique(self.proposals))
        return f"Here {outlined} outlined, {proposed} proposed."
