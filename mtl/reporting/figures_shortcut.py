"""Figures of the source-shortcut laboratory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl.reporting.figures import PALETTE, image_grid

#: What a line of the dial looks like: colour, marker, dash. Hue, marker and dash all tell lines apart.
STYLES = {
    "mixed": (PALETTE[1], "o", "-"),
    "within": (PALETTE[0], "s", "-"),
    "deployed": (PALETTE[2], "D", "--"),
    "source": (PALETTE[6], "^", ":"),
    "elsewhere": (PALETTE[4], "P", "-."),
    "background": (PALETTE[3], "v", ":"),
}
GAP = 0.04  # least distance of two labels, in AUC


def dial_plot(
    panels: Mapping[str, Sequence[tuple[str, str, pd.DataFrame]]], xlabels: Sequence[str]
) -> Figure:
    """ROC-AUC against rho, a panel per entry, every line labelled at its right end.

    ``panels``: title -> lines (style of `STYLES`, label, table with ``rho``, ``value`` and, for a band,
    ``low`` and ``high``). ``xlabels``: one per panel.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(5.3 * len(panels), 4.3), squeeze=False, sharey=True)
    for axis, (title, lines), xlabel in zip(axes.flat, panels.items(), xlabels, strict=True):
        axis.axhline(0.5, color="#9aa4ad", linewidth=1.0, zorder=0.5)
        for style, _, rows in lines:
            _line(axis, style, rows.sort_values("rho"))
        axis.set(title=title, xlabel=xlabel, ylim=(0.4, 1.06), xlim=(-0.02, 1.0))
        axis.set_xticks(sorted({rho for _, _, rows in lines for rho in rows["rho"]}))
        _label_ends(axis, lines)
    axes.flat[0].set_ylabel("ROC-AUC")
    return figure


def _line(axis: Axes, style: str, rows: pd.DataFrame) -> None:
    colour, marker, dash = STYLES[style]
    axis.plot(
        rows["rho"], rows["value"], color=colour, marker=marker, linestyle=dash, markersize=5, clip_on=False
    )
    if {"low", "high"} <= set(rows.columns):
        low, high = rows["low"].astype(float), rows["high"].astype(float)
        axis.fill_between(rows["rho"], low, high, color=colour, alpha=0.14, linewidth=0)


def _label_ends(axis: Axes, lines: Sequence[tuple[str, str, pd.DataFrame]]) -> None:
    """Names right of the panel, at the height of each line's last point, moved apart where they meet."""
    ends = [tuple(rows.sort_values("rho")[["rho", "value"]].iloc[-1]) for _, _, rows in lines]
    order = sorted(range(len(lines)), key=lambda i: ends[i][1])
    places = spread([ends[i][1] for i in order], GAP)
    for place, i in zip(places, order, strict=True):
        style, label, _ = lines[i]
        axis.annotate(
            label, ends[i], xytext=(1.045, place), color=STYLES[style][0], fontsize=10, va="center",
            textcoords=axis.get_yaxis_transform(),
            arrowprops={"arrowstyle": "-", "color": STYLES[style][0], "linewidth": 0.7, "shrinkB": 3},
            annotation_clip=False,
        )  # fmt: skip


def spread(rising: Sequence[float], gap: float) -> list[float]:
    """Rising numbers moved as little as is simple, so that neighbours are at least ``gap`` apart."""
    blocks: list[list[float]] = []  # each: original numbers that stand together
    for number in rising:
        blocks.append([number])
        while len(blocks) > 1 and _places(blocks[-2], gap)[-1] + gap > _places(blocks[-1], gap)[0]:
            last = blocks.pop()
            blocks[-1] = blocks[-1] + last
    return [place for block in blocks for place in _places(block, gap)]


def _places(block: Sequence[float], gap: float) -> list[float]:
    centre, reach = float(np.mean(block)), gap * (len(block) - 1) / 2
    return [centre - reach + gap * i for i in range(len(block))]


def transfer_plot(mixed: pd.DataFrame, within: pd.Series) -> Figure:
    """Mixed AUC of every training rho (rows) at every test rho (columns); within source in a column apart.

    ``mixed``: rows trained at, columns tested at. ``within``: within-source AUC per training rho.
    """
    figure, axes = plt.subplots(
        1, 2, figsize=(7.6, 3.6), sharey=True, gridspec_kw={"width_ratios": [mixed.shape[1], 1]}
    )
    tables = (mixed.to_numpy(float), within.loc[mixed.index].to_numpy(float)[:, None])
    columns = ([f"{rho:g}" for rho in mixed.columns], ["any"])
    titles = ("On mixed sources", "Within source")
    for axis, values, names, title in zip(axes, tables, columns, titles, strict=True):
        axis.imshow(values, cmap="cividis", vmin=0.5, vmax=1.0, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > 0.78 else "white"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
        axis.set_xticks(range(len(names)), names)
        axis.set(title=title, xlabel="Test set's rho")
        axis.title.set_size(10.5)
        axis.grid(visible=False)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    axes[0].set_yticks(range(len(mixed)), [f"{rho:g}" for rho in mixed.index])
    axes[0].set_ylabel("Training set's rho")
    return figure


def views_plot(pictures: Mapping[str, Sequence[tuple[str, np.ndarray, tuple[float, float]]]]) -> Figure:
    """What of a slice goes into a classifier: a row per source, a column per view.

    ``pictures``: source -> (title, picture ``(H, W)``, grey values of black and white) per view.
    """
    flat = [(source, *view) for source, views in pictures.items() for view in views]
    scaled = [np.clip((image - low) / (high - low), 0, 1) for _, _, image, (low, high) in flat]
    titles = [f"{source}\n{title}" for source, title, _, _ in flat]
    return image_grid(
        scaled, titles=titles, ncols=len(next(iter(pictures.values()))), size=1.9, limits=(0, 1)
    )
