"""Figures of results that every study shares: estimates, calibration, training, task conflict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mtl.reporting.claims import format_figure
from mtl.reporting.figures import PALETTE

if TYPE_CHECKING:
    import pandas

MARKERS = "osD^vPX"
STYLES = ("-", "--", "-.", ":")


def forest_plot(
    rows: Iterable[Mapping[str, Any]],
    xlabel: str,
    reference: float | None = None,
    reference_label: str = "",
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Estimates with their intervals, one line each, grouped.

    ``rows``: ``{"label", "estimate": {"value", "low", "high"} or an Estimate, "group" (optional)}`` in
    order from the top; a group's name is written once, above its rows, and has its own colour and
    marker. ``reference``: a vertical line (chance, baseline, zero). An estimate without value is written
    out as not defined.
    """
    entries = [{**row, "estimate": _estimate(row["estimate"])} for row in rows]
    groups = list(dict.fromkeys(str(row.get("group", "")) for row in entries))
    lines = len(entries) + sum(bool(group) for group in groups)
    figure, axis = plt.subplots(figsize=(7.2, 0.9 + 0.31 * lines))
    ticks: list[tuple[int, str, bool]] = []
    for number, group in enumerate(groups):
        if group:
            ticks.append((len(ticks), group, True))
        for row in (entry for entry in entries if str(entry.get("group", "")) == group):
            _forest_row(axis, len(ticks), row["estimate"], number)
            ticks.append((len(ticks), row["label"], False))
    if reference is not None:
        axis.axvline(reference, color="#55606b", linestyle="--", linewidth=1.3, zorder=1.5)
        axis.text(reference, -0.75, f" {reference_label}", color="#55606b", fontsize=9, va="bottom")
    axis.set(xlabel=xlabel, ylim=(len(ticks) - 0.4, -0.7), xlim=limits)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axis.set_yticks([t[0] for t in ticks], [t[1] for t in ticks])
    for label, (_, _, heading) in zip(axis.get_yticklabels(), ticks, strict=True):
        label.set_fontweight("bold" if heading else "normal")
    axis.grid(axis="x")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    return figure


def _forest_row(axis: Axes, height: int, estimate: Mapping[str, Any], group: int) -> None:
    beside = axis.get_yaxis_transform()
    text = format_figure(estimate).replace("(95 % CI ", "(")
    text = text if "-" in text else text.replace(" to ", "–")  # a dash before a minus sign cannot be read
    axis.text(1.02, height, text, transform=beside, va="center", fontsize=9.5, color="#1a2027")
    if estimate.get("value") is None:
        return
    colour, marker = PALETTE[group % len(PALETTE)], MARKERS[group % len(MARKERS)]
    if estimate.get("low") is not None and estimate.get("high") is not None:
        axis.plot([estimate["low"], estimate["high"]], [height, height], color=colour, linewidth=2)
    axis.plot(estimate["value"], height, marker=marker, color=colour, markersize=7)


def _estimate(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    return value.to_dict() if hasattr(value, "to_dict") else {"value": value}


def reliability_plot(curves: Mapping[str, pandas.DataFrame]) -> Figure:
    """Observed frequency against predicted probability.

    ``curves``: name -> table with ``predicted``, ``observed`` and optionally ``low``, ``high``, ``count``
    per bin; the area of a point follows its count.
    """
    figure, axis = plt.subplots(figsize=(4.8, 4.6))
    axis.plot([0, 1], [0, 1], color="#55606b", linestyle="--", linewidth=1.1, label="perfect calibration")
    for index, (name, bins) in enumerate(curves.items()):
        colour, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
        if {"low", "high"} <= set(bins.columns):
            axis.vlines(bins["predicted"], bins["low"], bins["high"], color=colour, alpha=0.55, linewidth=1.5)
        axis.plot(bins["predicted"], bins["observed"], color=colour, linewidth=1.2, alpha=0.8)
        share = bins["count"] / bins["count"].max() if "count" in bins else 0.5
        axis.scatter(
            bins["predicted"], bins["observed"], s=20 + 90 * share, color=colour, marker=marker, label=name
        )
    unit = (-0.02, 1.02)
    axis.set(xlabel="Predicted probability", ylabel="Observed frequency", xlim=unit, ylim=unit)
    axis.set_aspect("equal")
    axis.legend(loc="upper left")
    return figure


def agreement_plot(
    target: Sequence[float], predicted: Sequence[float], label: str, constant: float | None = None
) -> Figure:
    """Prediction against truth, a dot per case, with the line where they agree.

    ``label``: quantity and unit, for both axes. ``constant``: a level line, what one figure for all would be.
    """
    figure, axis = plt.subplots(figsize=(4.8, 4.6))
    ends = [min(*target, *predicted), max(*target, *predicted)]
    axis.plot(ends, ends, color="#55606b", linestyle="--", linewidth=1.1, label="perfect agreement")
    if constant is not None:
        axis.axhline(constant, color=PALETTE[1], linewidth=1.5, label="mean of the training part")
    axis.scatter(target, predicted, s=26, color=PALETTE[0], alpha=0.75, label="test cases")
    axis.set(xlabel=f"True {label}", ylabel=f"Predicted {label}", aspect="equal")
    axis.grid(axis="x")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def training_curves(
    history: pandas.DataFrame,
    columns: Sequence[str] | Mapping[str, Sequence[str] | Mapping[str, str]],
    x: str = "epoch",
) -> Figure:
    """A panel per entry of ``columns`` over ``x``: panel title -> columns, or plain columns, one panel each.

    Columns of a panel may be a mapping to what the legend calls them. Missing values (a task absent in an
    epoch) are gaps; with one row per fold (column ``fold``) thin lines show the folds and a thick one their
    mean. More than four panels stand in rows of three.
    """
    panels = dict(columns) if isinstance(columns, Mapping) else {name: [name] for name in columns}
    ncols = len(panels) if len(panels) <= 4 else 3
    nrows = -(-len(panels) // ncols)
    figure, axes = plt.subplots(nrows, ncols, figsize=(3.6 * ncols, 3.0 * nrows), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, names) in zip(axes.flat, panels.items(), strict=False):
        for index, name in enumerate(names):
            colour = PALETTE[index % len(PALETTE)]
            if "fold" in history and history["fold"].nunique() > 1:
                for _, one in history.groupby("fold"):
                    axis.plot(one[x], one[name], color=colour, alpha=0.3, linewidth=0.9)
            mean = history.groupby(x)[name].mean()
            axis.plot(
                mean.index, mean, color=colour, marker=MARKERS[index], markersize=3.5,
                label=names[name] if isinstance(names, Mapping) else name,
                linestyle=STYLES[index % len(STYLES)],
            )  # fmt: skip
        axis.set(title=title, xlabel=x.capitalize())
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(names) > 1:
            axis.legend()
    return figure


def cosine_heatmap(
    cosine: pandas.DataFrame, upper: pandas.DataFrame | None = None, title: str = ""
) -> Figure:
    """Cosines between the tasks' gradients, from -1 to 1, written into their cells.

    ``upper``: upper 95 % bounds of the cosines over the probe batches; a pair whose bound is below 0
    conflicts and is framed.
    """
    tasks = list(cosine.columns)
    values = cosine.to_numpy(dtype=float)
    figure, axis = plt.subplots(figsize=(2.6 + 1.05 * len(tasks), 1.3 + 0.95 * len(tasks)))
    drawn = axis.imshow(values, cmap="RdBu", vmin=-1, vmax=1)
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.6 else "#1a2027"
        text = f"{round(value, 2) + 0.0:.2f}" if np.isfinite(value) else "–"  # no minus before a zero
        axis.text(column, row, text, ha="center", va="center", color=colour)
        if upper is not None and row != column and upper.to_numpy()[row, column] < 0:
            corner = (column - 0.47, row - 0.47)
            axis.add_patch(plt.Rectangle(corner, 0.94, 0.94, fill=False, linewidth=2.4, color="black"))
    axis.set_xticks(range(len(tasks)), tasks, rotation=25, ha="right")
    axis.set_yticks(range(len(tasks)), tasks)
    axis.set_title(title)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=axis, shrink=0.8, label="Cosine of gradients")
    return figure


def lines_over_steps(
    table: pandas.DataFrame,
    y: str,
    group: str,
    x: str = "step",
    ylabel: str = "",
    low: str | None = None,
    high: str | None = None,
    reference: float | None = None,
    panel: str | None = None,
) -> Figure:
    """One line per value of ``group`` (a tidy table), with a band from ``low`` to ``high`` where given.

    ``panel``: a column with what goes beside each other, with the same axes and a colour per group.
    """
    panels = {"": table} if panel is None else {str(n): rows for n, rows in table.groupby(panel, sort=False)}
    size = (7.2 if len(panels) == 1 else 3.4 * len(panels) + 2.2, 3.2)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    places = {name: number for number, name in enumerate(dict.fromkeys(table[group]))}
    known: dict[str, Any] = {}
    for axis, (title, chosen) in zip(axes.flat, panels.items(), strict=True):
        if reference is not None:
            axis.axhline(reference, color="#55606b", linestyle="--", linewidth=1.1)
        for name, rows in chosen.groupby(group, sort=False):
            rows, place = rows.sort_values(x), places[name]
            colour, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
            style = STYLES[place % len(STYLES)]  # a line that hides another lets it through
            (line,) = axis.plot(rows[x], rows[y], color=colour, marker=marker, markersize=4, linestyle=style)
            known.setdefault(str(name), line)
            if low and high:
                axis.fill_between(rows[x], rows[low], rows[high], color=colour, alpha=0.15, linewidth=0)
        axis.set(title=title, xlabel=x.capitalize())
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes[0, 0].set_ylabel(ylabel or y)
    axes[0, -1].legend(known.values(), known, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def lines_against(
    table: pandas.DataFrame,
    y: str,
    group: str,
    reference: str,
    x: str = "step",
    ylabel: str = "",
) -> Figure:
    """Small multiples: a panel per value of ``group`` with its line, and that of ``reference`` in grey.

    All panels have the same axes. A ``reference`` without others has a panel to itself.
    """
    lines = {str(name): rows.sort_values(x) for name, rows in table.groupby(group, sort=False)}
    others = [name for name in lines if name != reference] or [reference]
    ncols = min(5, len(others))
    nrows = -(-len(others) // ncols)
    size = (max(4.2, min(3.4, 10.5 / ncols) * ncols), (2.6 if nrows == 1 else 2.2) * nrows + 0.4)
    figure, axes = plt.subplots(nrows, ncols, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis, name in zip(axes.flat, others, strict=False):
        if name != reference:
            grey = lines[reference]
            # Wide, so that it shows behind a line that lies on it.
            axis.plot(grey[x], grey[y], color="#b4bcc4", linewidth=3.2, marker="o", markersize=5.5)
        axis.plot(lines[name][x], lines[name][y], color=PALETTE[0], marker="s", markersize=3.5, linewidth=1.5)
        axis.set_title(name, fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    for axis in axes.flat[len(others) :]:
        axis.set_visible(False)
    for axis in axes.flat[max(0, len(others) - ncols) : len(others)]:
        axis.tick_params(labelbottom=True)
    figure.supxlabel(x.capitalize(), fontsize=10.5)
    figure.supylabel(ylabel or y, fontsize=10.5)
    if others != [reference]:
        handle = axes[0, 0].lines[:1]
        figure.legend(handles=handle, labels=[f"in grey: {reference}"], loc="outside upper right")
    return figure
