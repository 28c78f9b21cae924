"""A labelled still picture of a canvas, for reports where no widget can live."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mtl.interactive.pictures import MASK_COLOUR, NEGATIVE_COLOUR, POSITIVE_COLOUR, overlay_png
from mtl.interactive.words import told_mask, told_points

if TYPE_CHECKING:
    from mtl.interactive.canvas import CanvasWidget

DPI, CSS_DPI = 160, 96
LONGER_SIDE = 5.0  # inches


class Still(NamedTuple):
    """A picture and what a reader who cannot see it should know: ``show_figure(*still(w))``."""

    figure: Figure
    alt: str


def still(widget: CanvasWidget) -> Still:
    """The slice that ``widget`` shows with its overlays, outline and points, and a legend of them."""
    picture, z = widget.picture, widget.slice_index
    height, width = picture.shape[1:]
    scale = LONGER_SIDE / max(height, width)
    figure = Figure(figsize=(max(width * scale, 3.2), max(height * scale, 1.6) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    pixels = picture.pixels(z)
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    _draw_overlays(axis, widget, z)
    _draw_outline(axis, widget)
    _draw_points(axis, widget, z)
    title = {"fontsize": 10.5, "fontweight": "bold", "loc": "left", "wrap": True}
    axis.set_title(without_math(_title(widget)), **title)
    axis.set(xlabel="x (pixels)", ylabel="y (pixels)", xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axis.grid(False)
    if axis.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return Still(figure, _alt(widget, z))


def without_math(text: str) -> str:
    """``text`` for matplotlib, which takes what stands between dollar signs for a formula."""
    return text.replace("$", r"\$")


def still_beside(shown: Any, widget: CanvasWidget) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ipywidgets shows of a canvas, or of a box with one, with a still of it for reports."""
    return figure_bundle(shown, *still(widget), "canvas")


def figure_bundle(shown: Any, figure: Figure, alt: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Data and metadata of a notebook's output: a widget, and a still picture where no widget can live.

    shown: what ipywidgets' ``_repr_mimebundle_`` returned. name: of the widget, for plain text.
    """
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=DPI, facecolor="white", bbox_inches="tight")
    with Image.open(target) as opened:
        width, height = (round(side * CSS_DPI / DPI) for side in opened.size)
    data, metadata = shown if isinstance(shown, tuple) else (shown, {})
    picture = {"image/png": base64.b64encode(target.getvalue()).decode(), "text/plain": f"<{name}: {alt}>"}
    return {**data, **picture}, {**metadata, "image/png": {"alt": alt, "width": width, "height": height}}


def _title(widget: CanvasWidget) -> str:
    return (
        widget.label if widget.picture.flat else f"{widget.label}, {widget.slice_name} {widget.slice_index}"
    )


def _draw_overlays(axis: Axes, widget: CanvasWidget, z: int) -> None:
    """The very overlays of the browser, at their opacity."""
    layers = (
        (widget.instances, widget.instance_colours, widget.instance_opacity),
        (widget.mask, {1: MASK_COLOUR}, widget.mask_opacity),
    )
    for labels, colours, opacity in layers:
        if labels is None:
            continue
        shown = widget.picture.stack(labels, "the overlay")[z]
        with Image.open(io.BytesIO(overlay_png(shown, colours))) as opened:
            axis.imshow(np.asarray(opened.convert("RGBA")), alpha=opacity, interpolation="nearest")
    if widget.mask is not None:
        axis.fill([], [], color=MASK_COLOUR, label="mask")


def _draw_outline(axis: Axes, widget: CanvasWidget) -> None:
    if widget.outline is not None and widget.outline_slice == widget.slice_index:
        y, x = np.asarray([*widget.outline, widget.outline[0]]).T
        axis.plot(x, y, color="black", linewidth=3)
        axis.plot(x, y, color="#F0E442", linewidth=1.4, label="drawn outline")


def _draw_points(axis: Axes, widget: CanvasWidget, z: int) -> None:
    """A white + or - on a disc: sign and colour both tell them apart."""
    signs = (
        (1, "+", POSITIVE_COLOUR, "+ positive point"),
        (0, "_", NEGATIVE_COLOUR, "\N{MINUS SIGN} negative point"),
    )
    for label, sign, colour, name in signs:
        places = [(p.x, p.y) for p in widget.points if p.z == z and p.label == label]
        if places:
            x, y = np.asarray(places).T
            axis.scatter(x, y, s=110, color=colour, edgecolors="white", linewidths=1.2, zorder=3, label=name)
            axis.scatter(x, y, s=45, marker=sign, color="white", linewidths=1.8, zorder=4)


def _alt(widget: CanvasWidget, z: int) -> str:
    picture = widget.picture
    where = "" if picture.flat else f" of {picture.shape[0]} {widget.slice_name.split()[0]}s"
    parts = [f"{_title(widget)}{where}, {picture.shape[1]} x {picture.shape[2]} pixels"]
    here = [point for point in widget.points if point.z == z]
    parts += [f"{told_points(here)} on it"] if widget.points else []
    if widget.mask is not None:
        parts.append(told_mask(picture.stack(widget.mask, "the mask")[z]).rstrip("."))
    if widget.instances is not None:
        found = np.unique(picture.stack(widget.instances, "the instances")[z])
        parts.append(f"{np.count_nonzero(found)} instances")
    if widget.outline and widget.outline_slice == z:
        parts.append(f"an outline with {len(widget.outline)} vertices")
    return "; ".join(parts) + "."
