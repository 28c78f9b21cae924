"""A coronary clip to be played: the report that is written, where the writing looked, the nearest reports."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Protocol

import ipywidgets
import numpy as np
from matplotlib import colormaps

from mtl.errors import MtlError, ParameterError
from mtl.inference.angiography.attention_maps import CaptionAttention, upsampled
from mtl.interactive.canvas import CanvasWidget
from mtl.interactive.stills import Still, figure_bundle, still, without_math

PICTURE, ATTENTION = "picture", "attention"
MOST_HEAT, HEAT = 0.65, "inferno"
MILLISECONDS = 200  # a frame, while it is played
WIDEST = 78  # letters of a line below a still


class SeenClip(Protocol):
    """What a network makes of a clip; see `mtl.studies.angiography.clip_in_depth`."""

    video: np.ndarray  # float (3, T, H, W) in [0, 1]
    report: str
    attention: CaptionAttention


class AngiographyPlayer(ipywidgets.VBox):
    """Choose a clip, play it, see what the network writes of it and looks at.

    Args:
        clips: by name; what ``look`` takes.
        look: a clip to what the network makes of it.
        true_report: a clip to the report that belongs to it.
        nearest: a clip to ``(report, cosine)`` of the training reports nearest to it, the nearest first.
        note: what has to stand beside every claim, e.g. that it is about a phantom.

    Raises:
        ParameterError: no clips.

    Attributes:
        canvas: the `CanvasWidget`; its slices are the frames.
        seen: of the clip that is shown.
    """

    def __init__(
        self,
        clips: Mapping[str, Any],
        look: Callable[[Any], SeenClip],
        true_report: Callable[[Any], str],
        nearest: Callable[[Any], Sequence[tuple[str, float]]],
        note: str = "",
    ) -> None:
        if not clips:
            raise ParameterError("clips: one or more are expected")
        self.clips, self._look, self._true_report, self._nearest = dict(clips), look, true_report, nearest
        self.note = note
        self.seen: SeenClip | None = None
        self.last_error: Exception | None = None
        self.choice = ipywidgets.Dropdown(options=list(self.clips), description="Clip")
        self.view = ipywidgets.ToggleButtons(options=[PICTURE, ATTENTION], style={"button_width": "7em"})
        self.word = ipywidgets.Dropdown(options=[("the whole report", -1)], description="Attention of")
        self.canvas = CanvasWidget(np.zeros((1, 8, 8), np.uint8), "clip")
        self.canvas.slice_name, self.canvas.takes_points = "frame", False
        self.play = ipywidgets.Play(min=0, max=0, interval=MILLISECONDS)
        self.told = ipywidgets.HTML()
        self.play.observe(lambda change: self._to_frame(change["new"]), "value")
        self.canvas.observe(lambda change: self.play.set_trait("value", change["new"]), "slice_index")
        self.choice.observe(lambda change: self.choose(change["new"]), "value")
        self.view.observe(lambda _: self._draw(), "value")
        self.word.observe(lambda _: self._draw(), "value")
        narrow = {"flex_flow": "row wrap"}  # a narrow page has them below each other
        chooser = ipywidgets.HBox([self.choice, self.play], layout=narrow)
        views = ipywidgets.HBox([self.view, self.word], layout=narrow)
        noted = ipywidgets.HTML(f"<p><b>{escape(note)}</b></p>" if note else "")
        super().__init__([chooser, views, self.canvas, self.told, noted])
        self.choose(next(iter(self.clips)))
        self._to_frame(self.play.max // 2)  # contrast has come by then

    def choose(self, name: str) -> None:
        """Show another clip; one that cannot be read leaves a message instead."""
        clip, self._name = self.clips[name], name
        try:
            self.last_error, self.seen = None, self._look(clip)
            nearest = self._nearest(clip)
        except MtlError as error:
            self.last_error, self.seen = error, None
            self.canvas.show(np.zeros((1, 8, 8), np.uint8), f"{name}, which cannot be shown")
            self.play.max = 0
            self.told.value = f'<p role="alert" style="color:#8a2c0d">{escape(f"{name}: {error}")}</p>'
            return
        words = self.seen.attention.words
        with self.word.hold_trait_notifications():
            self.word.options = [
                ("the whole report", -1),
                *((f"{n + 1}: {w}", n) for n, w in enumerate(words)),
            ]
            self.word.value = -1
        self.play.max = self.seen.video.shape[1] - 1
        self.told.value = _page(self.seen.report, self._true_report(clip), nearest)
        self._draw()

    def frames(self) -> np.ndarray:
        """What is shown: ``(T, H, W)`` grey, or ``(T, H, W, 3)`` under the attention; in [0, 1]."""
        grey = self.seen.video.mean(0)
        if self.view.value == PICTURE:
            return grey
        attention, n = self.seen.attention, self.word.value
        cells = attention.average if n < 0 else attention.maps[n]
        share = upsampled(cells, *grey.shape)
        share = (share / max(float(share.max()), 1e-12))[..., None]
        return (1 - MOST_HEAT * share) * grey[..., None] + MOST_HEAT * share * colormaps[HEAT](share[..., 0])[
            ..., :3
        ]

    def _repr_mimebundle_(self, **options: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The widgets, and for reports a still picture of the canvas."""
        return figure_bundle(super()._repr_mimebundle_(**options), *self.still(), "angiography player")

    def still(self) -> Still:
        """The frame that is shown; below it what is written, what is true, and the note. For reports."""
        figure, alt = still(self.canvas)
        lines = [self.said(), self.note] if self.note else [self.said()]
        text = "\n".join(textwrap.fill(line, WIDEST) for line in "\n".join(lines).splitlines())
        figure.supxlabel(without_math(text), fontsize=9, ha="left", x=0.02)
        return Still(figure, f"{alt} {' '.join(lines)}".replace("\n", " "))

    def said(self) -> str:
        """What is written of the clip and what is true, a line each; or why it cannot be shown."""
        if self.seen is None:
            return str(self.last_error)
        true = self._true_report(self.clips[self._name])
        return f"Written: {self.seen.report or '(nothing)'}\nTrue: {true}"

    def _to_frame(self, frame: int) -> None:
        """Show a frame that is played; they follow each other too fast to be read out."""
        if frame <= self.canvas.picture.shape[0] - 1 and frame != self.canvas.slice_index:
            with self.canvas.hold_sync():
                self.canvas.slice_index = frame
                self.canvas.say("")

    def _draw(self) -> None:
        if self.seen is None:
            return
        frame = min(self.canvas.slice_index, self.seen.video.shape[1] - 1)
        what = "" if self.view.value == PICTURE else f", attention of {self.word.label}"
        with self.play.hold_sync():
            self.canvas.show(self.frames(), f"{self._name}{what}", window=(0.0, 1.0))
            self._to_frame(frame)


def _page(written: str, true: str, nearest: Sequence[tuple[str, float]]) -> str:
    rows = "".join(f"<tr><td>{escape(report)}</td><td>{cosine:.2f}</td></tr>" for report, cosine in nearest)
    table = (
        f"<table><caption>Nearest training reports, and their cosine</caption>{rows}</table>"
        if rows
        else "<p>No nearest reports: this network has no common space of clips and reports.</p>"
    )
    return (
        f'<div role="status" aria-live="polite"><p><b>Written:</b> {escape(written or "(nothing)")}</p>'
        f"<p><b>True:</b> {escape(true)}</p></div>{table}"
    )
