"""Failure gallery: true objects that a segmentation found worst."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mtl.datasets.em import UNKNOWN
from mtl.evaluation.contingency import contingency
from mtl.studies.em.clicks import right_and_wrong
from mtl.studies.em.segmentation import Segmentation
from mtl.studies.em.shown_parts import cut_square, square_around, worst_plane
from mtl.studies.em.study import EMStudy


@dataclass
class Failures:
    """Squares ``(H, W)`` in [0, 1] (NaN outside), their labels (see ``right_and_wrong``) and titles."""

    images: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)


@dataclass(frozen=True, order=True)
class Match:
    """A true object and the instance that overlaps it best (0: none), by their Dice."""

    dice: float
    number: int
    instance: int


def worst_objects(study: EMStudy, found: Segmentation, n: int = 4) -> Failures:
    """The ``n`` true objects whose best-overlapping instance, cut to the foreground, has the lowest Dice.

    Of each the plane with most wrong voxels, cut to object and instance (at most twice ``click_side``).
    Empty where the test part has no object that is large enough.
    """
    truth = study.test_labels
    instances = np.where(found.foreground & (truth != UNKNOWN), found.labels, 0)
    worst = Failures()
    for match in sorted(best_matches(instances, truth, study.parameters.min_object_voxels))[:n]:
        mask = truth == match.number
        overlapping = (instances == match.instance) & (match.instance > 0)
        number = worst_plane(mask, [overlapping])
        here, found_here = mask[number], overlapping[number]
        square = square_around(here, here | found_here, most=2 * study.parameters.click_side)
        box = (slice(number, number + 1), *(slice(0, side) for side in here.shape))
        worst.images.append(cut_square(study.parts["test"].read(box)[0][0], square, np.nan))
        worst.labels.append(cut_square(right_and_wrong(found_here, here), square, 0))
        worst.titles.append(f"object {match.number}, Dice {match.dice:.2f}")
    return worst


def best_matches(instances: np.ndarray, truth: np.ndarray, min_size: int = 1) -> list[Match]:
    """For every true object of at least ``min_size`` voxels the instance with the highest Dice on it.

    One pass over the volume, whatever the number of objects.

    Args:
        instances: int ``(*sp)``, 0 background; truth: int ``(*sp)``, 0 background, -100 unknown.

    Raises:
        DataError: nothing is known.
    """
    table = contingency(instances, truth, background="segment")
    true, predicted, shared, _ = table.pairs()
    sizes = table.truth_sizes
    scores = 2 * shared / (sizes[true] + table.predicted_sizes[predicted])
    scores[table.predicted_ids[predicted] == 0] = 0.0
    best: dict[int, Match] = {}
    for t, p, score in zip(true.tolist(), predicted.tolist(), scores.tolist(), strict=True):
        number, instance = int(table.truth_ids[t]), int(table.predicted_ids[p])
        if number > 0 and sizes[t] >= min_size and (t not in best or score > best[t].dice):
            best[t] = Match(score, number, instance)
    return list(best.values())
