"""The house style of figures, and how a notebook shows one: never without an alternative text."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito (2008), "Color Universal Design": distinguishable with every common colour blindness.
# Black comes last; yellow is left out, it is too light for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DPI = 160
CSS_DPI = 96


def use_report_style() -> None:
    """Set matplotlib and seaborn to the house style: call once, in a notebook's first cell."""
    seaborn.set_theme(context="notebook", style="ticks", palette=PALETTE)
    plt.rcParams.update(
        {
            "figure.dpi": CSS_DPI,
            "figure.constrained_layout.use": True,
            "font.size": 10.5,
            "axes.labelsize": 10.5,
            "axes.titlesize": 11.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#55606b",
            "axes.grid": True,
            "axes.grid.axis": "y",
            "axes.formatter.useoffset": False,
            "axes.axisbelow": True,
            "grid.color": "#e3e8ec",
            "xtick.labelsize": 9.5,
            "ytick.labelsize": 9.5,
            "legend.fontsize": 9.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "image.interpolation": "nearest",
            "svg.fonttype": "none",
        }
    )


def show_figure(
    figure: Figure, alt: str, source: str | None = None, caption: str | None = None, close: bool = True
) -> None:
    """Display ``figure`` as PNG with its alternative text in the metadata, then close it.

    ``alt``: what a reader who cannot see it should know; ``ValueError`` if empty. ``source``: the file
    that its figures come from, e.g. ``"predictions/joint.parquet"``. ``caption``: shown below it.
    """
    data, metadata = picture_bundle(figure, alt, source, caption)
    if close:
        plt.close(figure)
    display(data, raw=True, metadata=metadata)
    if caption:  # for JupyterLab; the report takes it from the picture's metadata
        style = "margin:.3em 0 1em;color:#55606b;font-size:.92em;max-width:46em"
        display(HTML(f'<p style="{style}">{html.escape(caption)}</p>'), metadata={"mtl_caption": True})


def picture_bundle(
    figure: Figure, alt: str, source: str | None = None, caption: str | None = None
) -> tuple[dict[str, str], dict[str, Any]]:
    """``figure`` as the data and metadata of a notebook's output; arguments as in ``show_figure``."""
    if not alt or not alt.strip():
        raise ValueError("show_figure needs an alt text: say in a sentence what the figure shows")
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=DPI, facecolor="white", bbox_inches="tight")
    png = target.getvalue()
    said: dict[str, Any] = {"alt": " ".join(alt.split()), **_css_size(png)}
    said |= {key: value for key, value in {"source": source, "caption": caption}.items() if value}
    data = {"image/png": base64.b64encode(png).decode(), "text/plain": f"<figure: {said['alt']}>"}
    return data, {"image/png": said}


def _css_size(png: bytes) -> dict[str, int]:
    """Size to show a PNG at, in CSS pixels, from its header."""
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    return {"width": round(width * CSS_DPI / DPI), "height": round(height * CSS_DPI / DPI)}


def image_grid(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    overlays: Sequence[np.ndarray | Sequence[np.ndarray | None] | None] | None = None,
    ncols: int = 4,
    size: float = 2.1,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Grey images (H,W) or colour (H,W,3) side by side; ``overlays``: a mask or several for each image.

    Several masks of one image are outlined in the palette's colours, solid and then dashed.
    ``size``: inches per image. ``limits``: grey values for black and white, the same in all images.
    """
    if not len(images):
        raise ValueError("image_grid needs at least one image")
    ncols = min(ncols, len(images))
    nrows = math.ceil(len(images) / ncols)
    figure, axes = plt.subplots(
        nrows, ncols, figsize=(size * ncols, (size + 0.3 * bool(titles)) * nrows), squeeze=False
    )
    low, high = limits or (None, None)
    for index, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if index >= len(images):
            continue
        axis.imshow(np.asarray(images[index]), cmap="gray", vmin=low, vmax=high)
        if overlays is not None and overlays[index] is not None:
            mask_contour_overlay(axis, overlays[index])
        if titles is not None:
            axis.set_title(titles[index], fontsize=9, fontweight="normal", loc="center")
    return figure


def mask_contour_overlay(
    axis: Axes, masks: np.ndarray | Sequence[np.ndarray | None], labels: Sequence[str] | None = None
) -> None:
    """Outline one mask (H,W) or several on an image: colour and line style both tell them apart."""
    several = [masks] if isinstance(masks, np.ndarray) and masks.ndim == 2 else list(masks)
    colours, styles = ("#56B4E9", "#E69F00", "#CC79A7"), ("solid", "dashed", "dotted")  # light on dark
    for index, mask in enumerate(several):
        if mask is None or not np.any(mask):
            continue
        colour, style = colours[index % 3], styles[index % 3]
        padded = np.pad(np.asarray(mask, dtype=float), 1)  # closes outlines at the border
        axis.contour(
            np.arange(-1, mask.shape[1] + 1), np.arange(-1, mask.shape[0] + 1), padded,
            levels=[0.5], colors=[colour], linestyles=[style], linewidths=1.4,
        )  # fmt: skip
        if labels:
            axis.plot([], [], color=colour, linestyle=style, label=labels[index])
    rows, columns = np.asarray(several[0] if several[0] is not None else axis.images[0].get_array()).shape[:2]
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
