"""Pictures of the angiography notebooks: clips with boxes and reports, attention, masked reconstruction."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from mtl.reporting.figures import PALETTE

#: Boxes orange on a dark edge, attention blue: both are seen on grey vessels and on one another.
BOX_COLOUR, HEAT = "#E69F00", "#0072B2"
DARK_EDGE = (withStroke(linewidth=3, foreground="black"),)
EVENLY = "#55606b"
MOST_OPAQUE = 0.75
SINGLE = 3.0  # inches of the only frame there is

Box = tuple[float, float, float, float]
Boxes = Sequence[tuple[str, int, Box]]  # name, frame, y0 x0 y1 x1 as shares of the picture


def clip_sheet(
    clips: Sequence[np.ndarray],
    titles: Sequence[str],
    reports: Sequence[Mapping[str, str]],
    boxes: Sequence[Boxes] | None = None,
    n_frames: int = 4,
    size: float = 1.5,
    width: int = 46,
) -> Figure:
    """A row per clip: frames over its length, and what is said about it.

    Args:
        clips: ``(T, H, W)`` or ``(3, T, H, W)`` in [0, 1].
        reports: of each clip, name (``true``, ``generated``) to text.
        boxes: of each clip; a box is drawn on the shown frame nearest to its own, with its name.
        width: of the reports, in signs.
    """
    figure, axes = plt.subplots(
        len(clips), n_frames + 1, figsize=(size * n_frames + 3.6, (size + 0.15) * len(clips)),
        gridspec_kw={"width_ratios": [size] * n_frames + [3.5]}, squeeze=False,
    )  # fmt: skip
    for number, (row, clip) in enumerate(zip(axes, clips, strict=True)):
        frames = grey(clip)
        shown = frame_numbers(len(frames), n_frames)
        for axis in row:
            axis.set_axis_off()
        for axis, frame in zip(row, shown, strict=False):
            axis.imshow(frames[frame], cmap="gray", vmin=0, vmax=1)
        for name, frame, box in boxes[number] if boxes else ():
            draw_box(row[int(np.abs(np.array(shown) - frame).argmin())], box, frames.shape[1:], name)
        _said(row[-1], titles[number], reports[number], width)
    for axis, frame in zip(axes[0], frame_numbers(len(grey(clips[0])), n_frames), strict=False):
        axis.set_title(f"frame {frame}", fontsize=9, fontweight="normal", loc="center")
    return figure


def attention_over_clip(
    clip: np.ndarray, cells: np.ndarray, boxes: Boxes = (), title: str = "", size: float = 1.7
) -> Figure:
    """Where and when a captioner looked: a frame per time step under its attention, and its sum over time.

    A single step has no sum beside it.

    Args:
        clip: ``(T, H, W)`` or ``(3, T, H, W)`` in [0, 1].
        cells: ``(t, h, w)`` attention of sum 1; one scale for all steps.
        boxes: drawn on every frame (dotted), solid on the step that holds their own frame.
    """
    frames, steps = grey(clip), len(cells)
    middles = [int((step + 0.5) * len(frames) / steps) for step in range(steps)]
    if steps == 1:
        size = max(size, SINGLE)
    figure = plt.figure(figsize=(max(size * steps, 4.5) + 0.8, size + (2.0 if steps > 1 else 0.6)))
    grid = figure.add_gridspec(1 + (steps > 1), steps, height_ratios=[size, 1.2][: 1 + (steps > 1)])
    for step, frame in enumerate(middles):
        axis = figure.add_subplot(grid[0, step])
        axis.set_axis_off()
        axis.set_title(f"frame {frame}", fontsize=9, fontweight="normal", loc="center")
        heat_overlay(axis, frames[frame], cells[step], float(cells.max()))
        for name, own, box in boxes:
            here = own * steps // len(frames) == step
            draw_box(axis, box, frames.shape[1:], name if here else "", dashed=not here)
    if steps > 1:
        _bars(figure.add_subplot(grid[1, :]), cells.sum(axis=(1, 2)), middles, boxes, len(frames))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    return figure


def masked_clip(
    clip: np.ndarray, masked: np.ndarray, predicted: np.ndarray, n_frames: int = 6, size: float = 1.4
) -> Figure:
    """Three rows of frames: the clip, what the encoder sees of it, and what is predicted.

    clip, predicted: ``(T, H, W)`` or ``(3, T, H, W)`` in [0, 1]; masked: the same with NaN where hidden,
    shown in blue.
    """
    rows = {"the clip": clip, "seen": masked, "predicted": predicted}
    shown = frame_numbers(len(grey(clip)), n_frames)
    figure, axes = plt.subplots(
        3, len(shown), figsize=(size * len(shown) + 0.9, 3 * size + 0.3), squeeze=False
    )
    colours = plt.get_cmap("gray").with_extremes(bad="#31506f")
    for row, (name, frames) in zip(axes, rows.items(), strict=True):
        for axis, frame in zip(row, shown, strict=True):
            axis.imshow(grey(frames)[frame], cmap=colours, vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    for axis, frame in zip(axes[0], shown, strict=True):
        axis.set_title(f"frame {frame}", fontsize=9, fontweight="normal", loc="center")
    return figure


def grey(clip: np.ndarray) -> np.ndarray:
    """Frames ``(T, H, W)`` of a clip ``(T, H, W)`` or ``(3, T, H, W)``: its first channel."""
    return clip[0] if clip.ndim == 4 else clip


def frame_numbers(n_frames: int, shown: int) -> list[int]:
    """Up to ``shown`` frames, evenly over the clip, the first and the last among them."""
    return np.unique(np.linspace(0, n_frames - 1, shown).round().astype(int)).tolist()


def draw_box(axis: Axes, box: Box, shape: tuple[int, ...], name: str = "", dashed: bool = False) -> None:
    """A box ``y0 x0 y1 x1`` (shares of the picture) on a picture of ``shape`` (H, W), with its name."""
    height, width = shape
    y0, x0, y1, x1 = (share * side - 0.5 for share, side in zip(box, (height, width) * 2, strict=True))
    drawn = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=BOX_COLOUR, linewidth=1.5)
    drawn.set(linestyle="dotted" if dashed else "solid", path_effects=() if dashed else DARK_EDGE)
    axis.add_patch(drawn)
    if name:  # above the box, below it where there is no room; towards the middle of the picture
        below, right = y0 < 0.2 * height, x0 > 0.5 * width
        axis.text(
            x1 if right else x0, y1 if below else y0, name, color=BOX_COLOUR, fontsize=8, fontweight="bold",
            ha="right" if right else "left", va="top" if below else "bottom",
            path_effects=DARK_EDGE,
        )  # fmt: skip


def heat_overlay(axis: Axes, frame: np.ndarray, cells: np.ndarray, top: float) -> None:
    """A frame ``(H, W)`` under the cells ``(h, w)`` that cover it: the bluer, the more of ``top``."""
    height, width = frame.shape
    place = (-0.5, width - 0.5, height - 0.5, -0.5)
    colours = np.empty((*cells.shape, 4))
    colours[..., :3] = to_rgb(HEAT)
    colours[..., 3] = MOST_OPAQUE * cells / top if top > 0 else 0.0
    axis.imshow(frame, cmap="gray", vmin=0, vmax=1)
    axis.imshow(colours, extent=place)
    axis.set(xlim=place[:2], ylim=place[2:])


def _said(axis: Axes, title: str, reports: Mapping[str, str], width: int) -> None:
    lines = [f"{name}: {text}" for name, text in reports.items()]
    wrapped = "\n".join(textwrap.fill(line, width, subsequent_indent="   ") for line in lines)
    axis.text(0.03, 0.98, title, transform=axis.transAxes, fontsize=9, fontweight="bold", va="top")
    axis.text(0.03, 0.83, wrapped, transform=axis.transAxes, fontsize=8.5, va="top", linespacing=1.25)


def _bars(axis: Axes, shares: np.ndarray, middles: Sequence[int], boxes: Boxes, n_frames: int) -> None:
    """Attention per time step, the share that each would have by chance, planted frames marked."""
    axis.bar(range(len(shares)), shares, color=PALETTE[0], width=0.6)
    axis.axhline(1 / len(shares), color=EVENLY, linestyle=":", linewidth=1.4)
    axis.text(len(shares) - 0.5, 1 / len(shares), " evenly", color=EVENLY, fontsize=9, va="center")
    for _, frame, _ in boxes:
        axis.axvline((frame + 0.5) * len(shares) / n_frames - 0.5, color=BOX_COLOUR, linewidth=2)
    axis.set(ylabel="Share of\nattention", xlabel="Frame", xlim=(-0.5, len(shares) - 0.5))
    axis.set_xticks(range(len(shares)), [str(middle) for middle in middles])
