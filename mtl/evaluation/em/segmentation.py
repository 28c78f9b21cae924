"""One volume's segmentation judged: every instance metric with a 95 % interval over blocks, and paired arms.

The interval is a cluster bootstrap over blocks of the volume (`mtl.evaluation.statistics`). Resampling blocks
shifts clustering metrics by construction (fewer distinct blocks hold fewer ways to be wrong), so the
bootstrap's own estimate of that bias is taken off both ends. Blocks of one volume say nothing about other
volumes: ``Estimate.unit`` is "block", and several volumes are reported one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtl.errors import ParameterError
from mtl.evaluation.contingency import (
    Background,
    Contingency,
    Labels,
    contingency,
    cut_into_blocks,
    usual_parts,
)
from mtl.evaluation.em.agreement import CLUSTERING_METRICS, clustering_metrics
from mtl.evaluation.objects import OBJECT_METRICS, count_objects, object_metrics
from mtl.evaluation.statistics import Estimate, draw_counts, interval_of

INSTANCE_METRICS = (*CLUSTERING_METRICS, *OBJECT_METRICS)
UNBOUNDED = ("voi_split", "voi_merge", "voi")
UNIT = "block"
NO_OBJECT = "no object to count: none in the truth and none predicted"
WHY_UNDEFINED = {"sq": "no predicted instance matches a true one"}
WHY_UNDEFINED |= dict.fromkeys(CLUSTERING_METRICS, "no two voxels of one instance")
Figures = dict[str, NDArray[np.float64]]


def evaluate_instances(
    predicted: Labels,
    truth: Labels,
    *,
    min_size: int = 0,
    background: Background = "exclude",
    object_background: Background = "segment",
    ignore_index: int = -100,
    parts: Sequence[int] | None = None,
    planar: bool = False,
    depth: float | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every figure of ``INSTANCE_METRICS`` of one volume, with its interval over blocks.

    predicted, truth (*sp): instance ids, 0 background; truth ``ignore_index`` unknown.
    min_size: voxels below which an instance is a crumb for AP50 and PQ (Rand and VOI weigh by size anyway).
    background: of the truth, for Rand and VOI, see `mtl.evaluation.contingency`; object_background: the same
    for AP50 and PQ, where ``segment`` counts what is found in background as false, and ``exclude`` does not
    ask what lies there (for truths whose 0 means membrane, or that nobody decided).
    parts: blocks per axis; None: `usual_parts`, which ``depth`` (nm) and planar (a stack of 2-D samples)
    decide. Raises DataError, ParameterError as `contingency` and `cut_into_blocks` do.
    """
    settings = {"blocks": _blocks(truth, parts, depth, planar), "ignore_index": ignore_index}
    tables = _tables(predicted, truth, (background, object_background), settings)
    return _intervals(_figures_of(*tables, min_size), tables, n_resamples, seed)


def compare_segmentations(
    first: Labels,
    second: Labels,
    truth: Labels,
    *,
    min_size: int = 0,
    background: Background = "exclude",
    object_background: Background = "segment",
    ignore_index: int = -100,
    parts: Sequence[int] | None = None,
    planar: bool = False,
    depth: float | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every figure of ``second`` minus that of ``first``, on the same resamples of blocks (paired).

    Arguments as in `evaluate_instances`. For the errors (Rand, VOI) below 0 means that ``second`` is better.
    """
    settings = {"blocks": _blocks(truth, parts, depth, planar), "ignore_index": ignore_index}
    treated = background, object_background
    tables = [_tables(labels, truth, treated, settings) for labels in (first, second)]
    one, other = (_figures_of(*pair, min_size) for pair in tables)

    def difference(weights: NDArray[np.float64]) -> Figures:
        of_one, of_other = one(weights), other(weights)
        return {name: of_other[name] - of_one[name] for name in of_one}

    return _intervals(difference, tables[0], n_resamples, seed, bounded=False)


def block_scores(
    predicted: Labels, truth: Labels, *, min_size: int = 0, planar: bool = False, depth: float | None = None
) -> pd.DataFrame:
    """One row per block: ``block``, ``voxels``, and every figure of the block alone, NaN where undefined.

    The truth's background is excluded. Arguments as in `evaluate_instances`. Of the whole volume these are no
    means: its pairs cross blocks.
    """
    table = contingency(predicted, truth, blocks=_blocks(truth, None, depth, planar))
    alone = np.eye(table.n_blocks)
    voxels = np.bincount(table.block, weights=table.count, minlength=table.n_blocks)
    figures = _figures_of(table, table, min_size)(alone)
    return pd.DataFrame({"block": np.arange(table.n_blocks), "voxels": voxels.astype(int), **figures})


def adapted_rand_error(
    predicted: Labels, truth: Labels, *, background: Background = "exclude", ignore_index: int = -100
) -> float:
    """The adapted Rand error alone, for tuning and gates."""
    table = contingency(predicted, truth, background=background, ignore_index=ignore_index)
    return float(clustering_metrics(table)["adapted_rand"][0])


def _blocks(
    truth: Labels, parts: Sequence[int] | None, depth: float | None, planar: bool
) -> NDArray[np.int64]:
    shape = np.shape(truth)
    return cut_into_blocks(shape, parts or usual_parts(shape, depth, planar))


def _tables(
    predicted: Labels, truth: Labels, backgrounds: tuple[Background, Background], settings: dict[str, Any]
) -> tuple[Contingency, Contingency]:
    """Counts for Rand and VOI, and for objects; one table where both treat background alike."""
    table = contingency(predicted, truth, background=backgrounds[0], **settings)
    if backgrounds[1] == backgrounds[0]:
        return table, table
    return table, contingency(predicted, truth, background=backgrounds[1], **settings)


def _figures_of(
    table: Contingency, objects: Contingency, min_size: int
) -> Callable[[NDArray[np.float64]], Figures]:
    """Figures of two tables (see ``_tables``) as a function of block weights (R, B')."""
    counts = count_objects(objects, min_size)
    return lambda weights: clustering_metrics(table, weights) | object_metrics(counts, weights)


def _intervals(
    figures: Callable[[NDArray[np.float64]], Figures],
    tables: tuple[Contingency, Contingency],
    n_resamples: int,
    seed: int,
    bounded: bool = True,
) -> dict[str, Estimate]:
    """All figures on the same resamples of the blocks that hold something."""
    if n_resamples < 1:
        raise ParameterError(f"n_resamples = {n_resamples}: at least 1 is expected")
    occupied = np.union1d(*(table.block for table in tables))
    n_units = len(occupied)
    counts = np.zeros((n_resamples + 1, tables[0].n_blocks))
    counts[0, occupied] = 1  # the sample itself, then its resamples
    one_stratum = np.zeros(n_units, np.intp)
    counts[1:, occupied] = draw_counts(one_stratum, n_resamples, np.random.default_rng(seed))
    found = {}
    for name, values in figures(counts).items():
        if not np.isfinite(values[0]):
            found[name] = Estimate(None, None, None, n_units, UNIT, WHY_UNDEFINED.get(name, NO_OBJECT))
            continue
        centred = name in CLUSTERING_METRICS
        estimate = interval_of(float(values[0]), values[1:], n_units, UNIT, centred=centred)
        found[name] = _within(estimate, np.inf if name in UNBOUNDED else 1.0) if bounded else estimate
    return found


def _within(estimate: Estimate, highest: float) -> Estimate:
    """Ends moved by the bias may leave the metric's range; there they are cut."""
    if estimate.low is None or estimate.high is None:
        return estimate
    low, high = np.clip([estimate.low, estimate.high], 0.0, highest)
    return replace(estimate, low=float(low), high=float(high))
