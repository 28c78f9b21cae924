"""Figures that several brain_mri notebooks draw: slices with outlines, worst cases first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mtl.reporting.figures import image_grid

#: Grey values (z-scores) shown as black and white.
WINDOW = (-2.0, 4.0)


def slice_grid(
    samples: Sequence[Mapping[str, Any]],
    titles: Sequence[str],
    predicted: Sequence[np.ndarray | None] | None = None,
) -> Figure:
    """Prepared samples with their true mask (solid) and, where given, a predicted one (dashed).

    Args:
        samples: of ``BrainMriStudy.samples``.
        titles: one per sample.
        predicted: bool ``(H, W)`` masks.
    """
    true = [None if sample["mask"] is None else sample["mask"][0].numpy() for sample in samples]
    overlays = true if predicted is None else [list(pair) for pair in zip(true, predicted, strict=True)]
    images = [sample["image"][0].numpy() for sample in samples]
    return image_grid(images, titles=titles, overlays=overlays, ncols=4, limits=WINDOW)


def outline_failures(samples: Sequence[Mapping[str, Any]], drawn: pd.DataFrame) -> Figure:
    """Slices of ``lowest_dice`` (``samples`` in its order), titled with source and Dice."""
    titles = [f"{row.source}, Dice {row.dice:.2f}" for row in drawn.itertuples()]
    return slice_grid(samples, titles, [mask > 0.5 for mask in drawn["mask"]])


def answer_failures(samples: Sequence[Mapping[str, Any]], errors: pd.DataFrame) -> Figure:
    """Slices of ``confident_errors`` (``samples`` in its order), titled with the error and probability."""
    titles = [f"{row.source}: {row.error}, p = {row.tumor_prob:.2f}" for row in errors.itertuples()]
    return slice_grid(samples, titles)
