"""Failure gallery: true objects that a segmentation found worst."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mtl.datasets.em import UNKNOWN
from mtl.evaluation.em.click_curves import best_overlapping
from mtl.evaluation.segmentation import dice
from mtl.studies.em.clicks import right_and_wrong, window_around
from mtl.studies.em.segmentation import Segmentation
from mtl.studies.em.study import EMStudy


@dataclass
class Failures:
    """Planes ``(H, W)`` in [0, 1], their labels (see ``right_and_wrong``) and titles."""

    images: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)


def worst_objects(study: EMStudy, found: Segmentation, n: int = 4) -> Failures:
    """The ``n`` true objects whose best-overlapping instance, cut to the foreground, has the lowest Dice.

    Empty where the test part has no object that is large enough.
    """
    truth_ids, smallest = study.test_labels, study.parameters.min_object_voxels
    known = truth_ids != UNKNOWN
    instances = np.where(found.foreground & known, found.labels, 0)
    ids, sizes = np.unique(truth_ids[truth_ids > 0], return_counts=True)
    scored = []
    for number in ids[sizes >= smallest]:
        truth = truth_ids == number
        scored.append((dice(best_overlapping(instances, truth), truth), int(number)))
    worst = Failures()
    for score, number in sorted(scored)[:n]:
        truth = truth_ids == number
        box = window_around(truth, study)
        plane = int(truth[box].sum(axis=(1, 2)).argmax())
        mask, inside = best_overlapping(instances, truth)[box][plane], truth[box][plane]
        worst.images.append(study.parts["test"].read(box)[0][plane])
        worst.labels.append(right_and_wrong(mask, inside))
        worst.titles.append(f"object {number}, Dice {score:.2f}")
    return worst
