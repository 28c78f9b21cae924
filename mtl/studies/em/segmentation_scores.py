"""Scores of segmentations of the test part, and the planes that show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mtl.evaluation.em import compare_segmentations, evaluate_instances
from mtl.evaluation.statistics import Estimate
from mtl.studies.em.study import EMStudy

#: Metrics in tables, and what they are called there.
SHOWN = {
    "adapted_rand": "adapted Rand error",
    "voi_split": "split (bits)",
    "voi_merge": "merge (bits)",
    "ap50": "AP50",
    "pq": "PQ",
}


def scores_of(study: EMStudy, labels: np.ndarray) -> dict[str, Estimate]:
    """Every instance metric of ``labels`` ``(*sp)`` on the test part, with intervals over blocks."""
    return evaluate_instances(labels, study.test_labels, **_settings(study))


def difference_of(study: EMStudy, first: np.ndarray, second: np.ndarray) -> dict[str, Estimate]:
    """Every instance metric of ``second`` minus that of ``first``, paired by block."""
    return compare_segmentations(first, second, study.test_labels, **_settings(study))


def counted_objects(study: EMStudy) -> int:
    """How many true objects of the test part are large enough to count."""
    sizes = np.unique(study.test_labels[study.test_labels > 0], return_counts=True)[1]
    return int((sizes >= study.parameters.min_object_voxels).sum())


def negated(estimate: Estimate) -> Estimate:
    """The same difference the other way round: of an error, above 0 is then better."""
    low, high = (None if end is None else -end for end in (estimate.high, estimate.low))
    value = None if estimate.value is None else -estimate.value
    return replace(estimate, value=value, low=low, high=high)


def object_planes(
    study: EMStudy, segmentations: Mapping[str, np.ndarray], n: int = 2
) -> tuple[tuple[list[np.ndarray], list[np.ndarray]], list[str]]:
    """``n`` planes of the test part, each once per segmentation: ``(images, labels)`` and titles."""
    test = study.parts["test"]
    numbers = np.linspace(0, test.shape[0] - 1, n + 2).round().astype(int)[1:-1]
    images, labels, titles = [], [], []
    for number in numbers:
        box = (slice(number, number + 1), slice(0, test.shape[1]), slice(0, test.shape[2]))
        plane = test.read(box)[0][0]
        for name, found in segmentations.items():
            images.append(plane)
            labels.append(found[number])
            titles.append(f"{name}, plane {study.split.test[0] + number}")
    return (images, labels), titles


def _settings(study: EMStudy) -> dict[str, Any]:
    p = study.parameters
    return {
        "min_size": p.min_object_voxels,
        "planar": study.volume.planar,
        "n_resamples": p.n_bootstrap,
        "seed": p.seed,
    }
