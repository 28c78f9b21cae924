"""Maps of evidence over slices: one panel per case, the true mask outlined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mtl.reporting.figures import mask_contour_overlay
from mtl.reporting.figures_brain_mri import WINDOW

#: Perceptually uniform, and dark where there is little evidence, as the slices are.
COLOURS = "inferno"
MOST_OPAQUE = 0.75


def map_gallery(
    samples: Sequence[Mapping[str, Any]],
    maps: Sequence[np.ndarray],
    titles: Sequence[str],
    kinds: Sequence[str] | None = None,
    ncols: int = 4,
) -> Figure:
    """Slices under their maps, all on one scale; the true mask is outlined where it is known.

    Args:
        samples: of ``BrainMriStudy.samples``.
        maps: non-negative ``(H, W)``, in pixels of the prepared image; where a map is zero the slice is bare.
        titles: one per sample.
        kinds: one per sample; every kind begins a row, and its name stands before it.
        ncols: panels in a row.
    """
    ncols = min(ncols, len(samples))
    rows = _rows(len(samples), kinds, ncols)
    figure, axes = plt.subplots(len(rows), ncols, figsize=(2.0 * ncols + 1.2, 2.3 * len(rows)), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    top = max(float(cam.max()) for cam in maps) or 1.0
    for line, (label, members) in zip(axes, rows, strict=True):
        line[0].text(-0.08, 0.5, label, transform=line[0].transAxes, rotation=90, ha="center", va="center")
        for axis, index in zip(line, members, strict=False):
            _overlay(axis, samples[index], maps[index], top)
            axis.set_title(titles[index], fontsize=9, fontweight="normal", loc="center")
    colours = ScalarMappable(Normalize(0, 1), COLOURS)
    bar = figure.colorbar(colours, ax=axes, shrink=0.9 / len(rows) ** 0.5, pad=0.02, aspect=25)
    bar.set_label("Evidence for tumour\n(share of the largest shown)")
    return figure


def _rows(n: int, kinds: Sequence[str] | None, ncols: int) -> list[tuple[str, list[int]]]:
    """Label and panel numbers of every row."""
    blocks = {"": list(range(n))} if kinds is None else {kind: [] for kind in kinds}
    for index, kind in enumerate(kinds or ()):
        blocks[kind].append(index)
    return [
        (kind, members[start : start + ncols])
        for kind, members in blocks.items()
        for start in range(0, len(members), ncols)
    ]


def from_cells_to_pixels(sample: Mapping[str, Any], cells: np.ndarray, cam: np.ndarray) -> Figure:
    """One slice three times: bare, under the bottleneck's cells ``(h, w)``, and under the smooth map."""
    figure, axes = plt.subplots(1, 3, figsize=(8.2, 2.9))
    side = cam.shape[0] // cells.shape[0]
    blocks = np.kron(cells, np.ones((side, side)))
    titles = ("The slice", "Its cells in the bottleneck", "The map: cells made smooth")
    for axis, shown, title in zip(axes, (np.zeros_like(cam), blocks, cam), titles, strict=True):
        _overlay(axis, sample, shown, float(shown.max()))
        axis.set_axis_off()
        axis.set_title(title, fontsize=9.5, fontweight="normal", loc="center")
    return figure


def _overlay(axis: Axes, sample: Mapping[str, Any], cam: np.ndarray, top: float) -> None:
    axis.imshow(sample["image"][0].numpy(), cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1])
    share = cam / top if top > 0 else np.zeros_like(cam)
    # The root keeps weak evidence visible; where there is none, the slice is as it is.
    axis.imshow(share, cmap=COLOURS, vmin=0, vmax=1, alpha=MOST_OPAQUE * np.sqrt(share))
    if sample["mask"] is not None:
        mask_contour_overlay(axis, sample["mask"][0].numpy())
