"""Figures of the em notebooks: planes with their objects, right and wrong masks, click curves."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mtl.reporting.figures import PALETTE
from mtl.reporting.figures_results import MARKERS, STYLES

#: Hatch-like grey of voxels whose label nobody knows.
UNKNOWN = (0.55, 0.55, 0.55)
#: What a mask has of an object, in the order of its marks: 1, 2, 3.
MARK_COLOURS = {"found": "#0072B2", "missed": "#E69F00", "too much": "#CC79A7"}
GOLDEN = 0.618033988749895


def label_colours(labels: np.ndarray) -> np.ndarray:
    """One colour per object.

    Args:
        labels: int ``(H, W)``; 0 background, negative unknown.

    Returns:
        RGBA float ``(H, W, 4)``: background transparent, unknown grey, objects in hues that jump by the
        golden angle from id to id, so that ids that follow one another differ most.
    """
    ids, inverse = np.unique(labels, return_inverse=True)
    hue = (ids * GOLDEN) % 1.0
    value = 0.65 + 0.35 * ((ids * GOLDEN**2) % 1.0)
    table = np.ones((len(ids), 4))
    table[:, :3] = hsv_to_rgb(np.stack([hue, np.full(len(ids), 0.75), value], axis=1))
    table[ids == 0] = 0.0
    table[ids < 0, :3] = UNKNOWN
    return table[inverse.reshape(labels.shape)]


def draw_plane(
    axis: Axes, image: np.ndarray, labels: np.ndarray | None = None, title: str = "", aspect: float = 1.0
) -> None:
    """A grey plane ``(H, W)`` in [0, 1] with its objects over it, their borders in black.

    ``aspect``: height of a pixel over its width, for planes across the slices.
    """
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=aspect)
    if labels is not None:
        colours = label_colours(labels)
        colours[..., 3] *= 0.45
        colours[object_borders(labels)] = (0, 0, 0, 0.9)
        axis.imshow(colours, aspect=aspect)
    axis.set_title(title, fontsize=9.5, fontweight="normal", loc="center")
    axis.set_axis_off()


def draw_clicks(axes: Sequence[Axes], clicks: Sequence[Sequence[tuple[float, float, bool, bool]]]) -> None:
    """Clicks as (y, x, whether positive, whether on this plane) over the planes of :func:`planes`.

    A disc is positive, a cross negative; clicks on other planes are smaller and see-through.
    """
    for axis, made in zip(axes, clicks, strict=False):
        for y, x, positive, here in made:
            axis.scatter(
                x, y, marker="o" if positive else "X", s=46 if here else 26, c="white",
                edgecolors="black", linewidths=1.0, alpha=1.0 if here else 0.55,
            )  # fmt: skip


def object_borders(labels: np.ndarray) -> np.ndarray:
    """Pixels ``(H, W)`` whose right or lower neighbour has another id: one pixel wide."""
    border = np.zeros(labels.shape, dtype=bool)
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    border[:-1] |= labels[:-1] != labels[1:]
    return border


def planes(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray | None],
    titles: Sequence[str],
    ncols: int = 4,
    size: float = 2.4,
    aspects: Sequence[float] | None = None,
) -> Figure:
    """Several planes with their objects, ``ncols`` in a row."""
    ncols = min(ncols, len(images))
    nrows = -(-len(images) // ncols)
    figure, axes = plt.subplots(nrows, ncols, figsize=(size * ncols, (size + 0.3) * nrows), squeeze=False)
    for axis in axes.flat[len(images) :]:
        axis.set_axis_off()
    for index, axis in enumerate(axes.flat[: len(images)]):
        draw_plane(axis, images[index], labels[index], titles[index], aspects[index] if aspects else 1.0)
    return figure


def three_views(image: np.ndarray, labels: np.ndarray | None, spacing: Sequence[float]) -> Figure:
    """The middle planes across z, y and x of a volume ``(Z, Y, X)``, in true proportions."""
    middle = [length // 2 for length in image.shape]
    cuts = [(middle[0],), (slice(None), middle[1]), (slice(None), slice(None), middle[2])]
    aspects = [spacing[1] / spacing[2], spacing[0] / spacing[2], spacing[0] / spacing[1]]
    return planes(
        [image[cut] for cut in cuts],
        [None if labels is None else labels[cut] for cut in cuts],
        [f"plane {axis} = {number}" for axis, number in zip("zyx", middle, strict=True)],
        ncols=3,
        size=3.0,
        aspects=aspects,
    )


def three_planes(image: np.ndarray, labels: np.ndarray | None) -> Figure:
    """Three planes across z of a volume ``(Z, Y, X)`` whose planes are samples of their own."""
    numbers = [round((len(image) - 1) * share) for share in (0.2, 0.5, 0.8)]
    return planes(
        [image[number] for number in numbers],
        [None if labels is None else labels[number] for number in numbers],
        [f"plane z = {number}" for number in numbers],
        ncols=3,
        size=3.0,
    )


def marked_planes(
    images: Sequence[np.ndarray],
    marks: Sequence[np.ndarray],
    titles: Sequence[str],
    ncols: int = 4,
    size: float = 2.4,
) -> Figure:
    """Planes with what a mask has right, misses and has too much, in ``MARK_COLOURS``; a legend below.

    Args:
        images: ``(H, W)`` in [0, 1], NaN outside of the volume.
        marks: int ``(H, W)``; 1 found, 2 missed, 3 too much, 0 neither.
    """
    figure = planes(images, [None] * len(images), titles, ncols, size)
    for axis, image, mark in zip(figure.axes, images, marks, strict=False):
        axis.images[0].set_data(0.2 + 0.6 * image)  # colours stand out from noise and dark organelles
        table = np.array([(0.0, 0, 0, 0), *(to_rgba(colour, 0.5) for colour in MARK_COLOURS.values())])
        axis.imshow(table[mark])
        for number, colour in enumerate(MARK_COLOURS.values(), start=1):
            if (mark == number).any() and min(mark.shape) > 1:
                axis.contour(mark == number, levels=[0.5], colors=[colour], linewidths=1.1)
    shown = [Patch(color=colour, label=name) for name, colour in MARK_COLOURS.items()]
    figure.legend(handles=shown, loc="outside lower center", ncols=3, frameon=False)
    return figure


def click_curves(table: pd.DataFrame, arms: Sequence[str], banded: Collection[str] | None = None) -> Figure:
    """Mean Dice after k clicks, a line per arm; the axis begins at a round number below all that is drawn.

    Args:
        table: columns ``arm``, ``clicks``, ``dice``, ``low``, ``high``.
        banded: arms drawn with their interval (None: all); more than two bands hide one another.
    """
    banded = arms if banded is None else banded
    figure, axis = plt.subplots(figsize=(6.8, 4.0))
    lowest = table["dice"].min()
    for index, arm in enumerate(arms):
        rows = table[table["arm"] == arm].sort_values("clicks")
        colour, style = PALETTE[index % len(PALETTE)], STYLES[index % len(STYLES)]
        if arm in banded and rows["low"].notna().all():
            axis.fill_between(
                rows["clicks"], rows["low"], rows["high"], color=colour, alpha=0.16, linewidth=0
            )
            lowest = min(lowest, rows["low"].min())
        axis.plot(
            rows["clicks"], rows["dice"], color=colour, linestyle=style, linewidth=1.9,
            marker=MARKERS[index % len(MARKERS)], markersize=5.5, label=arm.replace("_", " "),
        )  # fmt: skip
    start = max(0.0, np.floor(10 * lowest - 1e-9) / 10)
    axis.set(xlabel="Clicks of the simulated user", ylabel="Dice (mean over objects)", ylim=(start, 1.005))
    axis.set_xticks(sorted(table["clicks"].unique()))
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), title="arm (bands:\n95 % intervals)")
    return figure
