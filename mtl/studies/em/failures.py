"""Failure gallery: true objects that a segmentation found worst."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mtl.evaluation.em.click_curves import best_overlapping, choose_objects
from mtl.evaluation.segmentation import dice
from mtl.studies.em.clicks import right_and_wrong, window_around
from mtl.studies.em.study import EMStudy


@dataclass
class Failures:
    """Planes ``(H, W)`` in [0, 1], their labels (see ``right_and_wrong``) and titles."""

    images: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)


def worst_objects(study: EMStudy, found: np.ndarray, n: int = 4) -> Failures:
    """The ``n`` true objects whose best-overlapping instance in ``found`` ``(*sp)`` has the lowest Dice."""
    labels = study.test_labels
    scored = []
    for number in choose_objects(labels, min_size=study.parameters.min_object_voxels):
        truth = labels == number
        scored.append((dice(best_overlapping(found, truth), truth), number))
    worst = Failures()
    for score, number in sorted(scored)[:n]:
        truth = labels == number
        box = window_around(truth, study)
        plane = int(truth[box].sum(axis=(1, 2)).argmax())
        mask = best_overlapping(found, truth)[box][plane]
        inside = truth[box][plane]
        worst.images.append(study.parts["test"].read(box)[0][plane])
        worst.labels.append(right_and_wrong(mask, inside))
        worst.titles.append(f"object {number}, Dice {score:.2f}")
    return worst
