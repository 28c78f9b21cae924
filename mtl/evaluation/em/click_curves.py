r"""Click curves: how good a mask becomes with every click of the simulated user.

For an object with Dice :math:`D_k` after k clicks (k = 0: the automatic instance that overlaps it best) and
at most K clicks:

.. math:: \text{NoC@}q = \min \{k : D_k \ge q\}, \qquad
    \text{AUC} = \frac1K \sum_{k=1}^{K} \frac{D_{k-1} + D_k}{2}

An object whose Dice never reaches q within K clicks is a *failure*: it counts as K in NoC@q (the field's
habit, which flatters) and its share is given beside it. An object that the automatic mode already has at q
needs 0 clicks. Once no error is left the user stops, and the last Dice stands. Unknown voxels count nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import fastremap
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtl.errors import DataError, ProtocolError
from mtl.evaluation.comparison import Difference, paired_difference
from mtl.evaluation.em.simulated_user import Click, Mask, SimulatedUser
from mtl.evaluation.segmentation import dice
from mtl.evaluation.statistics import Estimate, bootstrap, proportion
from mtl.evaluation.weighted import weighted_mean

MAX_CLICKS = 10
TARGETS = (85, 90)  # per cent of Dice
EXCHANGES = 20_000  # draws of a randomisation test: p-values that are corrected must be able to be small
Labels = NDArray[np.integer]
Answer = Callable[[NDArray[np.int64], NDArray[np.int8]], Mask]
"""``answer(points (k, S) int64, labels (k,) int8: 1 positive, 0 negative) -> mask (*sp) bool``: all clicks so
far, in order; a call with a single click begins another object."""


@dataclass(frozen=True)
class ClickRun:
    """Dice after 0, 1, ..., K clicks, and the clicks given (fewer than K where nothing was left).

    ``sizes``: voxels of the mask after each click given; ``seconds``: until it was there.
    """

    dice: tuple[float, ...]
    clicks: tuple[Click, ...]
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]


def simulate_clicks(
    truth: Mask,
    answer: Answer,
    user: SimulatedUser,
    *,
    automatic: Mask | None = None,
    known: Mask | None = None,
    max_clicks: int = MAX_CLICKS,
) -> ClickRun:
    """Let ``user`` correct one object until nothing is wrong or ``max_clicks`` are spent.

    truth (*sp) bool: the object; automatic (*sp) bool: the mask before any click, None: empty; known (*sp)
    bool: voxels that count, None: all. Raises DataError where an answer is no boolean mask of that shape.
    """
    mask = np.zeros_like(truth) if automatic is None else automatic
    known = np.ones_like(truth) if known is None else known
    scores, clicks = [dice(mask[known], truth[known])], []
    sizes, seconds = [], []
    while len(clicks) < max_clicks and (click := user.next_click(truth, mask, clicks, known)):
        clicks.append(click)
        points = np.array([c.point for c in clicks], np.int64)
        signs, start = np.array([c.positive for c in clicks], np.int8), time.perf_counter()
        mask = np.asarray(answer(points, signs))
        seconds.append(time.perf_counter() - start)
        if mask.dtype != bool or mask.shape != truth.shape:
            raise DataError(f"the answer is {mask.dtype} {mask.shape}: expected a boolean mask {truth.shape}")
        sizes.append(int(mask.sum()))
        scores.append(dice(mask[known], truth[known]))
    scores += [scores[-1]] * (max_clicks + 1 - len(scores))
    return ClickRun(tuple(scores), tuple(clicks), tuple(sizes), tuple(seconds))


def click_table(
    labels: Labels,
    answer: Answer,
    user: SimulatedUser,
    *,
    automatic: Labels | None = None,
    objects: Sequence[int],
    volume: str = "volume",
    max_clicks: int = MAX_CLICKS,
    ignore_index: int = -100,
    on_object: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Click curves of several objects of one volume, one row each.

    labels (*sp): instance ids, ``ignore_index`` unknown. automatic (*sp): the automatic instances.
    objects: ids to click on (`choose_objects`).
    Returns columns volume, object, voxels, clicks, first_mask (voxels of the mask after the first click; NaN
    without one), dice_0 ... dice_K, and seconds_1 ... seconds_K (NaN beyond the clicks given).
    """
    known = labels != ignore_index
    rows = []
    for number, instance in enumerate(objects):
        truth = labels == instance
        start = None if automatic is None else best_overlapping(automatic, truth, known)
        run = simulate_clicks(truth, answer, user, automatic=start, known=known, max_clicks=max_clicks)
        row = {
            "volume": volume,
            "object": int(instance),
            "voxels": int(truth.sum()),
            "clicks": len(run.clicks),
            "first_mask": run.sizes[0] if run.sizes else np.nan,
        }
        row |= {f"dice_{k}": score for k, score in enumerate(run.dice)}
        rows.append(row | {f"seconds_{k}": value for k, value in enumerate(run.seconds, start=1)})
        on_object(number + 1, len(objects))
    names = ["volume", "object", "voxels", "clicks", "first_mask"]
    names += [f"dice_{k}" for k in range(max_clicks + 1)] + [f"seconds_{k + 1}" for k in range(max_clicks)]
    return pd.DataFrame(rows, columns=names)


def click_seconds(table: pd.DataFrame) -> NDArray[np.float64]:
    """Seconds of every click of a click table, the first object's left out: it warms the network up."""
    columns = [name for name in table if name.startswith("seconds_")]
    values = table.iloc[1:][columns].to_numpy(float).ravel()
    return values[np.isfinite(values)]


def choose_objects(
    labels: Labels, *, min_size: int, max_objects: int | None = None, seed: int = 0
) -> list[int]:
    """Ids of at least ``min_size`` voxels, rising; ``max_objects`` of them drawn without replacement.

    Raises DataError where no object is large enough.
    """
    labels = np.asarray(labels)
    native = labels.astype(labels.dtype.newbyteorder("="), copy=False)  # as fastremap needs it
    ids, sizes = fastremap.unique(native, return_counts=True)
    large = ids[(sizes >= min_size) & (ids > 0)]
    if len(large) == 0:
        raise DataError(f"no object of {min_size} or more voxels to click on")
    if max_objects is not None and len(large) > max_objects:
        large = np.sort(np.random.default_rng(seed).choice(large, max_objects, replace=False))
    return [int(i) for i in large]


def best_overlapping(automatic: Labels, truth: Mask, known: Mask | None = None) -> Mask:
    """The automatic instance with the highest Dice on the object, (*sp) bool; empty where none touches it."""
    known = np.ones_like(truth) if known is None else known
    ids, shared = fastremap.unique(automatic[truth & known], return_counts=True)
    ids, shared = ids[ids > 0], shared[ids > 0]
    if len(ids) == 0:
        return np.zeros_like(truth)
    sizes = np.array([np.count_nonzero((automatic == i) & known) for i in ids])
    return automatic == ids[int((2 * shared / (sizes + np.count_nonzero(truth & known))).argmax())]


def click_figures(table: pd.DataFrame) -> pd.DataFrame:
    """One row per object: dice@k for every k, gain@k over zero clicks, noc@q, failed@q (0/1), auc."""
    curve = table[[name for name in table if name.startswith("dice_")]].to_numpy(float)
    most = curve.shape[1] - 1
    found = {f"dice@{k}": curve[:, k] for k in range(most + 1)}
    found |= {f"gain@{k}": curve[:, k] - curve[:, 0] for k in range(1, most + 1)}
    for target in TARGETS:
        reached = curve >= target / 100
        found[f"failed@{target}"] = (~reached.any(axis=1)).astype(float)
        found[f"noc@{target}"] = np.where(reached.any(axis=1), reached.argmax(axis=1), most).astype(float)
    found["auc"] = (curve[:, :-1] + curve[:, 1:]).mean(axis=1) / 2
    return pd.DataFrame(found, index=table.index)


def summarise_clicks(table: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0) -> dict[str, Estimate]:
    """Means over objects of every figure of `click_figures`, with 95 % intervals over objects."""
    settings = {"n_resamples": n_resamples, "seed": seed, "unit": "object"}
    found = {}
    for name, values in click_figures(table).items():
        if name.startswith("failed"):
            found[name] = proportion(values.to_numpy(), **settings)
        else:
            found[name] = bootstrap(values.to_numpy(), weighted_mean, None, weighted=True, **settings)
    return found


def compare_clicks(
    first: pd.DataFrame, second: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, Difference]:
    """Every figure of ``second`` minus ``first``, paired by object.

    Raises ProtocolError unless both tables hold the same objects and as many clicks.
    """
    keys = ["volume", "object"]
    first, second = (part.sort_values(keys).reset_index(drop=True) for part in (first, second))
    if list(first) != list(second) or not first[keys].equals(second[keys]):
        raise ProtocolError("the two click tables hold other objects or other numbers of clicks: no pairs")
    one, other = click_figures(first), click_figures(second)
    settings = {"n_resamples": n_resamples, "n_exchanges": EXCHANGES, "seed": seed, "unit": "object"}
    return {name: paired_difference(one[name], other[name], None, **settings) for name in one}
