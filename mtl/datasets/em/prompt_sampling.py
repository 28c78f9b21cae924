"""Clicks for training: where they fall, and which of the two proofread modes a sample is in."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from mtl.datasets.em.label_changes import relabel
from mtl.datasets.em.volumes import UNKNOWN
from mtl.errors import ParameterError

SampleMode = Literal["instance", "class"]
PADDING = -1  # label of a point that is none
FOREGROUND = 1  # the class of every instance where no semantic map says otherwise


class PointSample(NamedTuple):
    """Clicks on one target.

    points: int64 ``(P, S)`` voxel indices, positive ones first, none twice. labels: int8 ``(P,)``, 1 in the
    target, 0 elsewhere. target_id: the instance that was picked, 0 where a class was. semantic_id: the class
    of the target.
    """

    points: np.ndarray
    labels: np.ndarray
    target_id: int
    semantic_id: int


def proofread_mode(labels: np.ndarray) -> Literal["interactive", "fractionary"] | None:
    """The proofread mode of a sample.

    ``"fractionary"`` where unknown voxels and known foreground lie side by side, ``"interactive"`` where
    all is known, ``None`` where there is no known foreground (the sample is absent from proofread).
    """
    labels = np.asarray(labels)
    if not (labels > 0).any():
        return None
    return "fractionary" if (labels == UNKNOWN).any() else "interactive"


def resolve_fractionary(labels: np.ndarray) -> np.ndarray:
    """Labels as both modes use them: known ids become 1..K, 0 stays, unknown stays out of every loss.

    Unknown voxels keep -100, which is "ignore" to the semantic loss and "no instance, no weight" to the
    instance loss; ids that are met in the known part only are counted.
    """
    return relabel(np.asarray(labels))


def sample_points(
    labels: np.ndarray,
    mode: SampleMode = "instance",
    num_pos: int = 5,
    num_neg: int = 5,
    generator: np.random.Generator | None = None,
    semantic: np.ndarray | None = None,
    min_voxels: int = 1,
) -> PointSample | None:
    """Pick a target and click on it, and elsewhere.

    labels: int64 ``(*sp)``; semantic: classes ``(*sp)``, 0 background (all instances are of class 1 without
    it). ``"instance"`` picks one of the instances with equal chance, ``"class"`` one of the classes present.
    Positive points are uniform in the target, negative ones uniform among known voxels that are not of it
    (background included); fewer where there are fewer voxels, never one in unknown. Targets with fewer than
    ``min_voxels`` are picked only where there is no other one. ``None`` where there is no known foreground.

    Raises `ParameterError` for another mode, for no positive point, or for ``semantic`` of another shape.
    """
    import fastremap

    labels = np.asarray(labels)
    semantic = np.where(labels > 0, FOREGROUND, 0) if semantic is None else np.asarray(semantic)
    _check(mode, num_pos, num_neg, labels, semantic)
    rng = np.random.default_rng() if generator is None else generator
    pool = np.where(labels > 0, labels if mode == "instance" else semantic, 0).ravel()
    targets, sizes = fastremap.unique(pool, return_counts=True)
    targets, sizes = targets[targets > 0], sizes[targets > 0]
    if not len(targets):
        return None
    targets = targets[sizes >= min(min_voxels, sizes.max())]
    target = int(targets[rng.integers(len(targets))])
    inside = np.flatnonzero(pool == target)
    outside = np.flatnonzero((pool != target) & (labels.ravel() != UNKNOWN))
    positive, negative = _some(inside, num_pos, rng), _some(outside, num_neg, rng)
    points = np.stack(np.unravel_index(np.concatenate([positive, negative]), labels.shape), axis=1)
    signs = np.repeat(np.array([1, 0], np.int8), [len(positive), len(negative)])
    if mode == "class":
        return PointSample(points.astype(np.int64), signs, 0, target)
    return PointSample(points.astype(np.int64), signs, target, int(semantic.ravel()[positive[0]]))


def padded(sample: PointSample | None, n_points: int, n_axes: int) -> PointSample:
    """A sample with exactly ``n_points`` rows, so that batches keep one shape: the rest has label -1.

    ``None`` becomes rows of padding only, with target 0 and class 0.
    """
    points = np.zeros((n_points, n_axes), np.int64)
    labels = np.full(n_points, PADDING, np.int8)
    if sample is None:
        return PointSample(points, labels, 0, 0)
    points[: len(sample.points)], labels[: len(sample.labels)] = sample.points, sample.labels
    return sample._replace(points=points, labels=labels)


def _some(voxels: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(voxels, min(wanted, len(voxels)), replace=False, shuffle=False)


def _check(mode: str, num_pos: int, num_neg: int, labels: np.ndarray, semantic: np.ndarray) -> None:
    if mode not in ("instance", "class"):
        raise ParameterError(f"point_sample_mode={mode!r} must be 'instance' or 'class'")
    if num_pos < 1:
        raise ParameterError(f"num_pos_points={num_pos} must be at least 1")
    if num_neg < 0:
        raise ParameterError(f"num_neg_points={num_neg} must not be negative")
    if semantic.shape != labels.shape:
        raise ParameterError(f"semantic has shape {semantic.shape}, labels {labels.shape}; expected the same")
