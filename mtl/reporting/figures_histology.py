"""Figures of the histology notebooks: outlined nuclei, the eight losses, curves over labels and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from skimage.segmentation import find_boundaries

from mtl.reporting.figures import PALETTE
from mtl.reporting.figures_results import MARKERS, STYLES
from mtl.studies.histology.loss_sets import SHOWN
from mtl.studies.histology.loss_toys import Toy

#: Outlines on tissue, which is pink and blue: black for the truth, yellow for what else is shown.
TRUTH, OTHER = (0.0, 0.0, 0.0), (0.95, 0.89, 0.12)
FADED = 0.45  # tissue under outlines is made paler by this


def nuclei_grid(
    images: Sequence[np.ndarray],
    layers: Sequence[Mapping[str, np.ndarray]],
    titles: Sequence[str],
    colours: Mapping[str, tuple[float, float, float]],
    ncols: int = 4,
    size: float = 2.5,
) -> Figure:
    """Tiles with outlines of one or two sets of nuclei, and a legend below.

    Args:
        images: uint8 ``(H, W, 3)``.
        layers: of each image, name to instance ids ``(H, W)``; drawn in this order.
        colours: of each name.
    """
    ncols = min(ncols, len(images))
    nrows = -(-len(images) // ncols)
    figure, axes = plt.subplots(nrows, ncols, figsize=(size * ncols, (size + 0.3) * nrows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, layer, title in zip(axes.flat, images, layers, titles, strict=False):
        shown = image / 255
        shown = shown + FADED * (1 - shown) if layer else shown
        axis.imshow(outlined(shown, layer, colours))
        axis.set_title(title, fontsize=9.5, fontweight="normal", loc="center")
    if colours:
        handles = [Line2D([], [], color=colour, linewidth=3, label=name) for name, colour in colours.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def outlined(
    image: np.ndarray, layers: Mapping[str, np.ndarray], colours: Mapping[str, tuple[float, float, float]]
) -> np.ndarray:
    """A picture ``(H, W, 3)`` in [0, 1], twice as large, with the borders of each layer's nuclei."""
    large = image.repeat(2, axis=0).repeat(2, axis=1).copy()
    for name, instances in layers.items():
        border = find_boundaries(instances.repeat(2, axis=0).repeat(2, axis=1), mode="inner")
        large[border] = colours[name]
    return large


def maps_of_tile(image: np.ndarray, maps: Mapping[str, np.ndarray], size: float = 2.6) -> Figure:
    """A tile and what is computed from it, side by side; maps with negative values in two colours."""
    figure, axes = plt.subplots(1, 1 + len(maps), figsize=(size * (1 + len(maps)), size + 0.3), squeeze=False)
    axes[0, 0].imshow(image)
    axes[0, 0].set_title("image", fontsize=9.5, fontweight="normal", loc="center")
    for axis, (name, values) in zip(axes[0, 1:], maps.items(), strict=True):
        signed = values.min() < 0
        limits = (
            {"vmin": -1, "vmax": 1, "cmap": "RdBu_r"} if signed else {"vmin": 0, "vmax": 1, "cmap": "cividis"}
        )
        drawn = axis.imshow(values, **limits)
        axis.set_title(name, fontsize=9.5, fontweight="normal", loc="center")
        figure.colorbar(drawn, ax=axis, shrink=0.7, ticks=[-1, 0, 1] if signed else [0, 0.5, 1])
    for axis in axes.flat:
        axis.set_axis_off()
    return figure


def loss_toys(toys: Sequence[Toy], size: float = 1.75) -> Figure:
    """A row per loss: what it aims at, then input and push where it works, then where it fails.

    Pushes are orange where a value is moved up, purple where down, with one scale per row.
    """
    figure, axes = plt.subplots(len(toys), 5, figsize=(size * 5 + 1.4, size * len(toys) + 0.6), squeeze=False)
    heads = ("aims at", "works on", "pushes", "fails on", "pushes")
    for row, toy in zip(axes, toys, strict=True):
        row[0].set_ylabel(SHOWN[toy.loss], fontsize=10, rotation=0, ha="right", va="center", labelpad=8)
        _draw(row[0], toy.target)
        strongest = max(np.quantile(np.abs(case.push), 0.995) for case in (toy.works, toy.fails)) or 1.0
        for place, case in ((1, toy.works), (3, toy.fails)):
            _draw(row[place], case.said)
            cost = "absent" if case.value is None else f"loss {case.value:.2g}"
            row[place].set_xlabel(cost, fontsize=9)
            row[place + 1].imshow(case.push, cmap="PuOr_r", vmin=-strongest, vmax=strongest)
    for axis, head in zip(axes[0], heads, strict=True):
        axis.set_title(head, fontsize=10, fontweight="normal", loc="center")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(visible=True, linewidth=0.5, color="#9aa5b1")
    return figure


def _draw(axis: plt.Axes, values: np.ndarray) -> None:
    signed = values.min() < -1e-6
    axis.imshow(values, cmap="RdBu_r" if signed else "gray", vmin=-1 if signed else 0, vmax=1)


def curves_with_bands(
    table: pd.DataFrame,
    x: str,
    xlabel: str,
    ylabel: str = "PQ",
    percent: bool = False,
    panel: str | None = None,
) -> Figure:
    """A line per ``name`` over ``x`` with its interval; small multiples by ``panel``.

    table: columns ``name``, ``x``, ``value``, ``low``, ``high``. ``percent``: ``x`` are shares, on a log
    axis.
    """
    panels = [("", table)] if panel is None else list(table.groupby(panel, sort=False))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.6 * len(panels) + 1.4, 3.6), squeeze=False, sharey=True
    )
    names = list(dict.fromkeys(table["name"]))
    for axis, (title, rows) in zip(axes.flat, panels, strict=True):
        for index, name in enumerate(names):
            line = rows[rows["name"] == name].sort_values(x)
            colour = PALETTE[index % len(PALETTE)]
            if line["low"].notna().all():
                axis.fill_between(line[x], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
            axis.plot(
                line[x], line["value"], color=colour, linestyle=STYLES[index % len(STYLES)],
                marker=MARKERS[index % len(MARKERS)], markersize=6, label=name,
            )  # fmt: skip
        axis.set(xlabel=xlabel, title=title)
        if percent:
            axis.set_xscale("log")
            shares = sorted(table[x].unique())
            axis.set_xticks(shares, [f"{100 * share:g}%" for share in shares])
            axis.minorticks_off()
    axes[0, 0].set_ylabel(ylabel)
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure
