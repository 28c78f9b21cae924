"""Scores of segmentations of the test part, how their settings read, and the planes that show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mtl.evaluation.contingency import usual_parts
from mtl.evaluation.em import compare_segmentations, evaluate_instances
from mtl.evaluation.em.segmentation import block_scores
from mtl.evaluation.em.tuning import Grid, grid_points
from mtl.evaluation.statistics import Estimate
from mtl.inference.em.watershed import watershed_grid
from mtl.studies.em.data import object_sizes
from mtl.studies.em.segmentation import DIRECTION, EMBEDDING, INTENSITY, network_methods
from mtl.studies.em.study import EMStudy

#: Metrics in tables, and what they are called there.
SHOWN = {
    "adapted_rand": "adapted Rand error",
    "voi_split": "split (bits)",
    "voi_merge": "merge (bits)",
    "ap50": "AP50",
    "pq": "PQ",
}


#: Lengths of the tissue among the settings of decodings; the others have no unit.
IN_NM = {"sigma", "seed_distance", "reach"}
EDGE = " (edge)"


def decoding_name(method: str) -> str:
    """A method as readers see it: an arm, a head and a loss are called embedding as well."""
    return f"by {method}" if method in (EMBEDDING, DIRECTION) else method


def chosen_settings(study: EMStudy, variant: str, method: str, settings: Mapping[str, Any]) -> str:
    """The settings as a reader wants them: ``sigma 8 nm, seed distance 64 nm (edge)``.

    ``(edge)`` stands behind the lowest or highest value of a grid of three or more: a better one may lie
    beyond it. Zero and none, which switch something off, are no such edge.
    """
    spacing = study.volume.spacing
    if method == INTENSITY:
        return described(settings, watershed_grid(spacing))
    return described(settings, network_methods(study.variant_parameters(variant), spacing)[method][1])


def described(settings: Mapping[str, Any], grid: Grid) -> str:
    """See `chosen_settings`."""
    points, said = grid_points(grid), []
    for name, value in settings.items():
        tried = {point[name] for point in points if point.get(name) is not None}
        edge = EDGE if value and len(tried) > 2 and value in (min(tried), max(tried)) else ""
        shown = "none" if value is None else f"{value:g}" + " nm" * (name in IN_NM)
        said.append(f"{name.replace('_', ' ')} {shown}{edge}")
    return ", ".join(said)


def block_kind(study: EMStudy) -> str:
    """What the intervals of scores are over, in words, with their size."""
    test = study.parts["test"]
    parts = usual_parts(test.shape, _depth(study), study.volume.planar)
    sides = [n * step / cut for n, step, cut in zip(test.shape, test.spacing, parts, strict=True)]
    if study.volume.planar:
        return f"blocks (columns through all planes, {sides[1]:.0f} x {sides[2]:.0f} nm)"
    return f"blocks ({' x '.join(f'{side:.0f}' for side in sides)} nm)"


def scores_of(study: EMStudy, labels: np.ndarray) -> dict[str, Estimate]:
    """Every instance metric of ``labels`` ``(*sp)`` on the test part, with intervals over blocks."""
    return evaluate_instances(labels, study.test_labels, **_settings(study))


def block_table(study: EMStudy, labels: Mapping[tuple[str, str], np.ndarray]) -> pd.DataFrame:
    """Every metric of every block alone, for segmentations of the test part by network and method."""
    parts = [
        block_scores(found, study.test_labels, **_judged_by(study)).assign(network=network, method=method)
        for (network, method), found in labels.items()
    ]
    return pd.concat(parts, ignore_index=True)


def difference_of(study: EMStudy, first: np.ndarray, second: np.ndarray) -> dict[str, Estimate]:
    """Every instance metric of ``second`` minus that of ``first``, paired by block."""
    return compare_segmentations(first, second, study.test_labels, **_settings(study))


def counted_objects(study: EMStudy) -> int:
    """How many true objects of the test part are large enough to count."""
    return int((object_sizes(study.test_labels) >= study.parameters.min_object_voxels).sum())


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


def _depth(study: EMStudy) -> float:
    """Of the test part, in nm."""
    test = study.parts["test"]
    return test.shape[0] * test.spacing[0]


def _judged_by(study: EMStudy) -> dict[str, Any]:
    """Which objects count, and what tells the blocks."""
    smallest = study.parameters.min_object_voxels
    return {"min_size": smallest, "planar": study.volume.planar, "depth": _depth(study)}


def _settings(study: EMStudy) -> dict[str, Any]:
    p = study.parameters
    # 0 in the truth is membrane, or what its makers did not decide: what is found there is not judged.
    ignored = {"background": "exclude", "object_background": "exclude"}
    return _judged_by(study) | ignored | {"n_resamples": p.n_bootstrap, "seed": p.seed}
