"""The targets of em's heads, drawn: what a network is asked to say at each pixel of a plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure

from mtl.reporting.figures import PALETTE
from mtl.reporting.figures_em import UNKNOWN, draw_plane

#: Where a target has no value: outside of all objects.
NOTHING = (0.86, 0.86, 0.86)
ARROW_STEP = 4  # pixels from arrow to arrow, more in planes with more than 20 arrows along a side
Panel = Callable[[Figure, Axes], None]


def target_pictures(
    image: np.ndarray,
    labels: np.ndarray,
    targets: Mapping[str, np.ndarray],
    spacing: Sequence[float],
    dir_target: str = "centroid",
) -> Figure:
    """Every target of a plane: what the heads learn to say at each of its pixels.

    Args:
        image, labels: the plane, ``(H, W)``; labels 0 background, negative unknown.
        targets: of the plane: ``weight (H, W)``, and with a geometry head ``direction (S, H, W)`` and
            ``tensor (S*S, H, W)``, where the last two of the S components lie in the plane.
        spacing: nm per pixel of the plane, ``(y, x)``.
        dir_target: where directions point: ``centroid`` or ``skeleton``.
    """
    aspect, geometry = spacing[0] / spacing[1], "direction" in targets
    raw = "geometry, raw: " if geometry else ""

    def drawn(picture: np.ndarray, title: str, **settings: object) -> Panel:
        return lambda figure, axis: _field(figure, axis, picture, labels, title, aspect, **settings)

    panels: list[Panel] = [
        lambda _, axis: draw_plane(
            axis, image, None, f"{raw}the image" if raw else "the image (input)", aspect
        ),
        lambda _, axis: _foreground(axis, labels, "semantic" + (" and raw" if geometry else ""), aspect),
        lambda _, axis: draw_plane(axis, image, labels, "instance: objects", aspect),
        drawn(
            targets["weight"],
            "instance: weight $w$",
            norm=LogNorm(1, max(100, targets["weight"].max())),
            ticks=(1, 10, 100),
        ),
    ]
    if geometry:
        direction, tensor = targets["direction"], targets["tensor"]
        title = f"direction to the {dir_target}"
        panels.append(lambda _, axis: _arrows(axis, image, labels, direction[-2:], title, aspect))
        if len(direction) == 3:
            panels.append(
                drawn(direction[0], "direction, z component", cmap="RdBu", vmin=-1, vmax=1, ticks=(-1, 0, 1))
            )
        trace, coherence = trace_and_coherence(tensor)
        unit = {"vmin": 0, "vmax": 1, "ticks": (0, 0.5, 1)}
        panels += [drawn(trace, "tensor: trace", **unit)]
        panels += [drawn(coherence, "tensor: coherence in the plane", **unit)]
    rows = -(-len(panels) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(11.0, 2.75 * rows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        panel(figure, axis)
    return figure


def trace_and_coherence(tensor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a structure tensor ``(S*S, H, W)``: its trace, and how far its in-plane part is from round.

    Coherence is (a - b) / (a + b) of the two eigenvalues a >= b of the last two axes; 0 where both vanish.
    """
    size = round(len(tensor) ** 0.5)
    full = np.moveaxis(tensor, 0, -1).reshape(*tensor.shape[1:], size, size)
    values = np.linalg.eigvalsh(full[..., -2:, -2:])
    total = values.sum(-1)
    coherence = np.divide(
        values[..., 1] - values[..., 0], total, out=np.zeros_like(total), where=total > 1e-6
    )
    return np.trace(full, axis1=-2, axis2=-1), coherence


def _field(
    figure: Figure,
    axis: Axes,
    picture: np.ndarray,
    labels: np.ndarray,
    title: str,
    aspect: float,
    *,
    ticks: Sequence[float],
    cmap: str = "cividis",
    **scale: object,
) -> None:
    """A target inside of objects; grey elsewhere, darker where nobody knows."""
    axis.imshow(_grounds(labels), aspect=aspect)
    inside = np.ma.masked_where(labels <= 0, picture)
    drawn = axis.imshow(inside, cmap=cmap, aspect=aspect, **scale)
    _named(axis, title)
    bar = figure.colorbar(drawn, ax=axis, shrink=0.8, ticks=ticks)
    bar.ax.set_yticklabels([f"{tick:g}" for tick in bar.get_ticks()])
    bar.ax.minorticks_off()


def _foreground(axis: Axes, labels: np.ndarray, heads: str, aspect: float) -> None:
    axis.imshow(np.where(labels[..., None] > 0, to_rgb(PALETTE[0]), _grounds(labels)), aspect=aspect)
    _named(axis, f"{heads}: foreground")


def _arrows(
    axis: Axes, image: np.ndarray, labels: np.ndarray, direction: np.ndarray, title: str, aspect: float
) -> None:
    """Arrows on the image; a vector that leaves the plane is drawn as short as it is seen."""
    draw_plane(axis, 0.45 + 0.55 * image, None, "", aspect)
    _named(axis, title)
    step = max(ARROW_STEP, round(min(image.shape) / 20))
    rows, columns = np.mgrid[step // 2 : image.shape[0] : step, step // 2 : image.shape[1] : step]
    dy, dx = direction[:, rows, columns]
    known = (np.hypot(dy, dx) > 1e-6) & (labels[rows, columns] > 0)
    axis.quiver(
        columns[known], rows[known], dx[known], dy[known], color=PALETTE[1], angles="xy",
        scale_units="xy", scale=1 / (1.1 * step), width=0.008, headwidth=4, headlength=4, headaxislength=3.6,
    )  # fmt: skip


def _grounds(labels: np.ndarray, background: tuple[float, float, float] = NOTHING) -> np.ndarray:
    """RGB ``(H, W, 3)``: grey where there is no object, darker where nobody knows."""
    return np.where(labels[..., None] < 0, UNKNOWN, background)


def _named(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=9.5, fontweight="normal", loc="center")
    axis.set_axis_off()
