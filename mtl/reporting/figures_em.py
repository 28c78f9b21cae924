"""Figures of the em notebooks: planes with their objects, targets, click curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from mtl.reporting.figures import PALETTE
from mtl.reporting.figures_results import MARKERS

#: Hatch-like grey of voxels whose label nobody knows.
UNKNOWN = (0.55, 0.55, 0.55)
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


def target_pictures(
    image: np.ndarray,
    labels: np.ndarray,
    targets: Mapping[str, np.ndarray],
    spacing: Sequence[float],
    dir_target: str = "centroid",
) -> Figure:
    """Every target of a plane: what the heads learn to say at each of its pixels.

    Args:
        image, labels: the plane, ``(H, W)``.
        targets: of the plane: ``weight (H, W)``, and with a geometry head ``direction (S, H, W)`` and
            ``tensor (S*S, H, W)``, where the last two of the S components lie in the plane.
        spacing: nm per pixel of the plane, ``(y, x)``.
        dir_target: where directions point: ``centroid`` or ``skeleton``.
    """
    aspect = spacing[0] / spacing[1]
    geometry = "direction" in targets
    figure, axes = plt.subplots(1 + geometry, 3, figsize=(9.6, 3.3 * (1 + geometry)), squeeze=False)
    draw_plane(axes[0, 0], image, None, "image", aspect)
    draw_plane(axes[0, 1], image, labels, "semantic and instance: objects", aspect)
    _weight_picture(figure, axes[0, 2], targets["weight"], aspect)
    if geometry:
        _direction_picture(axes[1, 0], image, targets["direction"][-2:], aspect, dir_target)
        _tensor_pictures(figure, axes[1, 1:], targets["tensor"], aspect)
    return figure


def _weight_picture(figure: Figure, axis: Axes, weight: np.ndarray, aspect: float) -> None:
    drawn = axis.imshow(np.maximum(weight, 0.5), cmap="cividis", norm="log", aspect=aspect)
    axis.set_title("instance: weight of edge and bone", fontsize=9.5, fontweight="normal", loc="center")
    axis.set_axis_off()
    figure.colorbar(drawn, ax=axis, shrink=0.75)


def _direction_picture(
    axis: Axes, image: np.ndarray, direction: np.ndarray, aspect: float, dir_target: str
) -> None:
    draw_plane(axis, image, None, f"geometry: to the {dir_target}", aspect)
    step = max(2, min(image.shape) // 24)
    rows, columns = np.mgrid[step // 2 : image.shape[0] : step, step // 2 : image.shape[1] : step]
    dy, dx = direction[:, rows, columns]
    known = np.hypot(dy, dx) > 1e-6
    axis.quiver(
        columns[known], rows[known], dx[known], dy[known],
        color=PALETTE[4], angles="xy", scale_units="xy", scale=1 / (0.8 * step), width=0.006,
    )  # fmt: skip


def _tensor_pictures(figure: Figure, axes: Sequence[Axes], tensor: np.ndarray, aspect: float) -> None:
    """Trace, and how far the in-plane part is from round."""
    size = round(len(tensor) ** 0.5)
    full = np.moveaxis(tensor, 0, -1).reshape(*tensor.shape[1:], size, size)
    trace = np.trace(full, axis1=-2, axis2=-1)
    values = np.linalg.eigvalsh(full[..., -2:, -2:])
    sum_ = values.sum(-1)
    coherence = np.divide(values[..., 1] - values[..., 0], sum_, out=np.zeros_like(sum_), where=sum_ > 1e-6)
    for axis, picture, title in (
        (axes[0], trace, "geometry: trace of the tensor"),
        (axes[1], coherence, "geometry: its coherence in the plane"),
    ):
        drawn = axis.imshow(picture, cmap="cividis", vmin=0, vmax=1, aspect=aspect)
        axis.set_title(title, fontsize=9.5, fontweight="normal", loc="center")
        axis.set_axis_off()
        figure.colorbar(drawn, ax=axis, shrink=0.75)


def click_curves(table: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Mean Dice after k clicks, with its interval, a line per arm.

    ``table``: columns ``arm``, ``clicks``, ``dice``, ``low``, ``high``.
    """
    figure, axis = plt.subplots(figsize=(6.6, 3.8))
    for index, arm in enumerate(arms):
        rows = table[table["arm"] == arm].sort_values("clicks")
        colour = PALETTE[index % len(PALETTE)]
        axis.fill_between(rows["clicks"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
        axis.plot(rows["clicks"], rows["dice"], color=colour, marker=MARKERS[index], markersize=5, label=arm)
    axis.set(xlabel="Clicks of the simulated user", ylabel="Dice (mean over objects)", ylim=(0, 1.02))
    axis.set_xticks(sorted(table["clicks"].unique()))
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), title="arm")
    return figure
