"""Figures of sweeps and of runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mtl.reporting.figures import PALETTE
from mtl.reporting.figures_results import MARKERS

if TYPE_CHECKING:
    from mtl.reporting.sweep_results import SweepResults

SELECTION = "val/dice_and_balanced_accuracy"  # what the joint stage picks its checkpoint by


def seeds_of_arms(values: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """A panel per metric, arms from the top: dots are networks, thin lines join a seed, bars are means.

    ``values``: columns metric, arm, seed, value; ``names``: metric -> heading.
    """
    arms, metrics = list(dict.fromkeys(values["arm"])), list(dict.fromkeys(values["metric"]))
    size = (3.9 * len(metrics) + 1.2, 1.1 + 0.42 * len(arms))
    figure, axes = plt.subplots(1, len(metrics), figsize=size, sharey=True, squeeze=False)
    for axis, metric in zip(axes.flat, metrics, strict=True):
        table = (
            values[values["metric"] == metric].pivot(index="arm", columns="seed", values="value").loc[arms]
        )
        for seed in table:
            axis.plot(table[seed], range(len(arms)), color="#b4bdc5", linewidth=0.9, zorder=1)
        for height, arm in enumerate(arms):
            axis.plot(
                table.loc[arm], [height] * table.shape[1], "o", color=PALETTE[0], alpha=0.75, markersize=6
            )
            mean = table.loc[arm].mean()
            axis.plot([mean, mean], [height - 0.28, height + 0.28], color=PALETTE[1], linewidth=2.6)
        axis.set(title=names.get(metric, metric), xlabel="Score on the frozen test set")
        axis.set_yticks(range(len(arms)), [arm.replace("_", " ") for arm in arms])
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.grid(axis="y", visible=False)
        axis.grid(axis="x")
    axes.flat[0].set_ylim(len(arms) - 0.5, -0.5)
    return figure


def curves_of_arms(sweep: SweepResults) -> Figure:
    """Selection score on validation over the epochs of the joint stage, averaged over seeds and folds."""
    parts = []
    for point in sweep.plan["points"]:
        folder = sweep.folder / point["folder"] / "checkpoints"
        for path in sorted(folder.glob("fold_*/joint/history.parquet")):
            parts.append(pd.read_parquet(path).assign(arm=point["arm"]))
    history = pd.concat(parts, ignore_index=True)
    return mean_curves(history[history["key"] == SELECTION], "arm", "(Dice + balanced accuracy) / 2")


def mean_curves(history: pd.DataFrame, group: str, ylabel: str) -> Figure:
    """One line per value of ``group``: the mean ``value`` over everything else, by ``epoch``."""
    figure, axis = plt.subplots(figsize=(7.2, 3.2))
    draw_mean_curves(axis, history, group)
    axis.set(xlabel="Epoch", ylabel=ylabel)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def draw_mean_curves(axis: Axes, history: pd.DataFrame, group: str) -> None:
    """Lines of ``mean_curves`` into ``axis``; colour and marker tell them apart, then the line's style."""
    for index, (name, rows) in enumerate(history.groupby(group, sort=False)):
        mean = rows.groupby("epoch")["value"].mean()
        axis.plot(
            mean.index, mean, color=PALETTE[index % len(PALETTE)], marker=MARKERS[index % len(MARKERS)],
            markersize=4, label=str(name).replace("_", " "), linestyle="-" if index < len(PALETTE) else "--",
        )  # fmt: skip
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
