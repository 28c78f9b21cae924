"""Maps of evidence over slices: one panel per case, the true mask outlined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from mtl.reporting.figures import mask_contour_overlay
from mtl.reporting.figures_brain_mri import WINDOW

#: Perceptually uniform, and dark where there is little evidence, as the slices are.
COLOURS = "inferno"
MOST_OPAQUE = 0.75


def map_gallery(
    samples: Sequence[Mapping[str, Any]], maps: Sequence[np.ndarray], titles: Sequence[str], ncols: int = 4
) -> Figure:
    """Slices under their maps, each map scaled to its own maximum; the true mask is outlined where known.

    Args:
        samples: of ``BrainMriStudy.samples``.
        maps: non-negative ``(H, W)``, in pixels of the prepared image; an all-zero map leaves the slice bare.
        titles: one per sample.
        ncols: panels in a row.
    """
    ncols = min(ncols, len(samples))
    nrows = math.ceil(len(samples) / ncols)
    figure, axes = plt.subplots(nrows, ncols, figsize=(2.1 * ncols + 0.7, 2.5 * nrows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, sample, cam, title in zip(axes.flat, samples, maps, titles, strict=False):
        _overlay(axis, sample, cam)
        axis.set_title(title, fontsize=9, fontweight="normal", loc="center")
    bar = figure.colorbar(ScalarMappable(cmap=COLOURS), ax=axes, shrink=min(1.0, 0.9 / nrows**0.5), pad=0.02)
    bar.set_label("Evidence for tumour, share of the map's maximum")
    return figure


def from_cells_to_pixels(sample: Mapping[str, Any], cells: np.ndarray, cam: np.ndarray) -> Figure:
    """One slice three times: bare, under the bottleneck's cells ``(h, w)``, and under the smooth map."""
    figure, axes = plt.subplots(1, 3, figsize=(8.2, 2.9))
    side = cam.shape[0] // cells.shape[0]
    blocks = np.kron(cells, np.ones((side, side)))
    titles = ("The slice", "Its cells in the bottleneck", "The map: cells made smooth")
    for axis, shown, title in zip(axes, (np.zeros_like(cam), blocks, cam), titles, strict=True):
        _overlay(axis, sample, shown)
        axis.set_axis_off()
        axis.set_title(title, fontsize=9.5, fontweight="normal", loc="center")
    return figure


def _overlay(axis: Axes, sample: Mapping[str, Any], cam: np.ndarray) -> None:
    axis.imshow(sample["image"][0].numpy(), cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1])
    share = cam / cam.max() if cam.max() > 0 else np.zeros_like(cam)
    axis.imshow(share, cmap=COLOURS, vmin=0, vmax=1, alpha=MOST_OPAQUE * share**0.5)
    if sample["mask"] is not None:
        mask_contour_overlay(axis, sample["mask"][0].numpy())
