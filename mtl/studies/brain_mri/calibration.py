"""Temperature and threshold of a trained checkpoint, from the validation predictions that it made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mtl.evaluation.calibration import TEMPERATURES, apply_temperature, fit_temperature
from mtl.evaluation.classification import choose_threshold
from mtl.inference.brain_mri.calibration import NAME, Calibration

_SMALLEST = 1e-7  # of a float32 probability that is to have a finite logit


def calibrate(folder: Path, validation: pd.DataFrame, split_hash: str) -> Calibration | None:
    """Write ``calibration.json`` into a checkpoint's folder.

    The temperature minimises the likelihood of the labels; the threshold maximises balanced accuracy of the
    calibrated probabilities. Nothing is written, and an older file goes, where validation has one class only.
    Where the network separates the classes without an error the likelihood has no minimum: temperature 1.

    Args:
        folder: the model folder.
        validation: predictions of that model for its fold's *validation* part (``cls``, ``tumor_prob``).
        split_hash: of the split that the fold belongs to.
    """
    if validation["cls"].nunique() < 2:
        (folder / NAME).unlink(missing_ok=True)
        return None
    labels = validation["cls"].to_numpy()
    probability = validation["tumor_prob"].to_numpy(dtype=float).clip(_SMALLEST, 1 - _SMALLEST)
    logits = np.log(np.column_stack([1 - probability, probability]))
    temperature = fit_temperature(logits, labels)
    temperature = 1.0 if np.isclose(temperature, TEMPERATURES[0]) else temperature
    threshold = choose_threshold(labels, apply_temperature(logits, temperature)[:, 1])
    found = Calibration(
        temperature=temperature,
        classification_threshold=threshold,
        n=len(validation),
        split_hash=split_hash,
    )
    found.save(folder)
    return found
