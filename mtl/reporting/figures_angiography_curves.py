"""Plots of the angiography notebooks: retrieval, controls, percents, learning curves, batch sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mtl.reporting.figures import PALETTE
from mtl.reporting.figures_results import MARKERS, STYLES

CHANCE, DASHES = "#55606b", ((1, 2), (4, 4))
NONE = -16.0  # where the percent of an absent finding is drawn


def retrieval_curves(curve: pd.DataFrame) -> Figure:
    """Recall@K both ways with bands, and what chance reaches.

    curve: columns of ``evaluation.angiography.recall_curve``.
    """
    figure, axis = plt.subplots(figsize=(6.0, 3.8))
    for index, (direction, rows) in enumerate(curve.groupby("direction", sort=False)):
        rows, colour = rows.sort_values("k"), PALETTE[index]
        _band(axis, rows, "k", colour)
        axis.plot(
            rows["k"], rows["value"], color=colour, marker=MARKERS[index], markersize=5, label=str(direction)
        )
        axis.plot(
            rows["k"],
            rows["chance"],
            color=colour,
            linestyle=(0, DASHES[index]),
            label=f"{direction}, chance",
        )
    axis.set(xlabel="K (candidates looked at)", ylabel="Recall@K", ylim=(0, 1.02), xscale="log")
    _plain_ticks(axis, sorted(curve["k"].unique()))
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def controls_plot(tables: Mapping[str, pd.DataFrame], captions: str = "captions", columns: int = 3) -> Figure:
    """The captions beside their controls, a panel per measure, values written out.

    tables: measure to rows of ``evaluation.angiography.compare_with_controls``: ``arm``, ``value``, ``low``,
    ``high``.
    """
    columns = min(columns, len(tables))
    lines = len(next(iter(tables.values())))
    rows = -(-len(tables) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.1 * columns + 1.4, (0.42 * lines + 1.1) * rows), sharey=True, squeeze=False
    )
    for axis in axes.flat[len(tables) :]:
        axis.set_axis_off()
    for axis, (measure, table) in zip(axes.flat, tables.items(), strict=False):
        numbers = table.astype(dict.fromkeys(("value", "low", "high"), float))  # None becomes NaN
        for height, row in enumerate(numbers.itertuples()):
            _arm(axis, height, row, row.arm == captions)
        axis.set(title=measure, ylim=(lines - 0.4, -0.7))
        axis.set_yticks(range(lines), list(table["arm"]))
        axis.margins(x=0.22)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, prune="both"))
        axis.grid(axis="y", visible=False)
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
    return figure


def percent_scatter(findings: pd.DataFrame, seed: int = 0) -> Figure:
    """Generated against true percent of every finding; findings of one report only stand in the margins.

    findings: rows of ``evaluation.angiography.matched_percents``: ``true``, ``generated``, NaN where absent.
    Points are moved by up to one percent, so that equal ones can be seen.
    """
    rng = np.random.default_rng(seed)
    shift = lambda n: rng.uniform(-1, 1, n)  # noqa: E731
    both = findings.dropna(subset=["true", "generated"])
    missed, invented = (findings[findings[name].isna()] for name in ("generated", "true"))
    figure, axis = plt.subplots(figsize=(5.6, 4.4))
    axis.fill_between([0, 100], [-10, 90], [10, 110], color="#e3e8ec", linewidth=0, label="within 10 points")
    axis.plot([0, 100], [0, 100], color=CHANCE, linewidth=1)
    places = (
        ("in both reports", both["true"], both["generated"]),
        ("missed", missed["true"], pd.Series(NONE, missed.index)),
        ("invented", pd.Series(NONE, invented.index), invented["generated"]),
    )
    for index, (name, x, y) in enumerate(places):
        axis.scatter(
            x + shift(len(x)), y + shift(len(y)), s=26, color=PALETTE[index], marker=MARKERS[index],
            alpha=0.6, linewidth=0, label=f"{name} ({len(x)})",
        )  # fmt: skip
    ticks = [NONE, 0, 20, 40, 60, 80, 100]
    names = ["none", *map(str, ticks[1:])]
    axis.set(
        xlabel="True stenosis (%)",
        ylabel="Generated stenosis (%)",
        xlim=(NONE - 5, 104),
        ylim=(NONE - 5, 104),
    )
    axis.set_xticks(ticks, names)
    axis.set_yticks(ticks, names)
    axis.set_aspect("equal")
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def learning_curves(table: pd.DataFrame, x: str = "epoch", columns: int = 3) -> Figure:
    """A panel per loss, a line per part of the data.

    table: columns ``loss``, ``part`` (``training``, ``validation``), ``x``, ``value``.
    """
    losses = list(dict.fromkeys(table["loss"]))
    columns = min(columns, len(losses))
    rows = -(-len(losses) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.9 * columns + 1.3, 2.7 * rows), squeeze=False)
    for axis in axes.flat[len(losses) :]:
        axis.set_axis_off()
    parts = list(dict.fromkeys(table["part"]))
    for axis, loss in zip(axes.flat, losses, strict=False):
        for index, part in enumerate(parts):
            line = table[(table["loss"] == loss) & (table["part"] == part)].sort_values(x)
            axis.plot(line[x], line["value"], color=PALETTE[index], linestyle=STYLES[index], label=part)
        axis.set(title=loss, xlabel=x.capitalize())
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    for axis in axes[:, 0]:
        axis.set_ylabel("Loss")
    axes[0, columns - 1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def over_batch_sizes(
    table: pd.DataFrame,
    ylabel: str = "Recall@1",
    xlabel: str = "Pairs in a batch",
    x: str = "batch",
    chance: float | None = None,
) -> Figure:
    """A line per ``name`` (SigLIP, CLIP) over a doubling ``x``, with its interval.

    table: columns ``name``, ``x``, ``value``, ``low``, ``high``; chance: drawn as a level.
    """
    figure, axis = plt.subplots(figsize=(5.8, 3.6))
    for index, (name, rows) in enumerate(table.groupby("name", sort=False)):
        rows, colour = rows.sort_values(x), PALETTE[index % len(PALETTE)]
        _band(axis, rows, x, colour)
        axis.plot(
            rows[x], rows["value"], color=colour, marker=MARKERS[index % len(MARKERS)], markersize=6,
            linestyle=STYLES[index % len(STYLES)], label=str(name),
        )  # fmt: skip
    if chance is not None:
        axis.axhline(chance, color=CHANCE, linestyle=":", linewidth=1.4, label="chance")
    axis.set(xlabel=xlabel, ylabel=ylabel, xscale="log")
    _plain_ticks(axis, sorted(table[x].unique()))
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def _arm(axis: Axes, height: int, row: object, own: bool) -> None:
    """One arm of ``controls_plot``: interval, value, and the value in figures above."""
    value, low, high = row.value, row.low, row.high
    colour = PALETTE[1] if own else PALETTE[0]
    if not np.isfinite(value):
        axis.text(0.5, height, "not defined", transform=axis.get_yaxis_transform(), ha="center", va="center")
        return
    if np.isfinite(low) and np.isfinite(high):
        axis.plot([low, high], [height, height], color=colour, linewidth=2)
    axis.plot(value, height, marker="D" if own else "o", color=colour, markersize=6)
    axis.text(
        value,
        height - 0.2,
        f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}",
        color=colour,
        fontsize=8.5,
        ha="center",
        va="bottom",
    )


def _band(axis: Axes, rows: pd.DataFrame, x: str, colour: str) -> None:
    if {"low", "high"} <= set(rows) and rows[["low", "high"]].notna().all(axis=None):
        low, high = rows["low"].astype(float), rows["high"].astype(float)
        axis.fill_between(rows[x], low, high, color=colour, alpha=0.15, linewidth=0)


def _plain_ticks(axis: Axes, values: Sequence[float]) -> None:
    """Ticks of a logarithmic axis at the values themselves, written as numbers."""
    axis.set_xticks(values, [f"{value:g}" for value in values])
    axis.minorticks_off()
