"""Instance metrics of one volume: scikit-image, naive loops, the rules for unknown, background and crumbs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import adapted_rand_error as skimage_rand
from skimage.metrics import variation_of_information as skimage_voi

from mtl.errors import DataError, ParameterError
from mtl.evaluation.contingency import contingency, cut_into_blocks, usual_parts
from mtl.evaluation.em import adapted_rand_error, compare_segmentations, evaluate_instances
from mtl.evaluation.em.agreement import clustering_metrics
from mtl.evaluation.objects import count_objects, object_metrics

UNKNOWN = -100
ids = st.sampled_from([0, 1, 2, 3, 900])
labellings = arrays(np.int64, (3, 4, 4), elements=ids)


def figures(predicted: np.ndarray, truth: np.ndarray, min_size: int = 0, **options) -> dict[str, float]:
    table = contingency(predicted, truth, **options)
    found = clustering_metrics(table) | object_metrics(count_objects(table, min_size))
    return {name: float(value[0]) for name, value in found.items()}


def naive_objects(predicted: np.ndarray, truth: np.ndarray, min_size: int = 0) -> dict[str, float]:
    """Masks one by one; undefined quotients are NaN."""
    masks = [{i: labels == i for i in np.unique(labels) if i != 0} for labels in (truth, predicted)]
    overlaps = [
        (i, j, (a & b).sum() / (a | b).sum()) for i, a in masks[0].items() for j, b in masks[1].items()
    ]
    matches = [(i, j, iou) for i, j, iou in overlaps if iou > 0.5]
    large = [{i for i, mask in part.items() if mask.sum() >= min_size} for part in masks]
    found = [iou for i, _, iou in matches if i in large[0]]
    tp = len(found)
    fn = len(large[0] - {i for i, _, _ in matches})
    fp = len(large[1] - {j for _, j, _ in matches})
    share = lambda a, b: a / b if b else math.nan  # noqa: E731
    halves = tp + (fp + fn) / 2
    return {
        "ap50": share(tp, tp + fp + fn),
        "pq": share(sum(found), halves),
        "sq": share(sum(found), tp),
        "rq": share(tp, halves),
    }


@settings(max_examples=40, deadline=None)
@given(labellings, labellings)
def test_rand_and_voi_equal_scikit_image(predicted: np.ndarray, truth: np.ndarray) -> None:
    if not (truth != 0).any():
        return
    ours = figures(predicted, truth)
    with np.errstate(all="ignore"):
        error, recall, precision = skimage_rand(truth, predicted)  # named the other way round there
    split, merge = skimage_voi(truth, predicted, ignore_labels=(0,))
    assert ours["adapted_rand"] == pytest.approx(error, nan_ok=True)
    for mine, theirs in (("rand_precision", precision), ("rand_recall", recall)):
        assert ours[mine] == pytest.approx(theirs, nan_ok=True)
    assert (ours["voi_split"], ours["voi_merge"]) == (pytest.approx(split), pytest.approx(merge))
    whole = figures(predicted, truth, background="segment")
    assert whole["adapted_rand"] == pytest.approx(skimage_rand(truth, predicted, ignore_labels=())[0])
    assert [whole["voi_split"], whole["voi_merge"]] == pytest.approx(list(skimage_voi(truth, predicted)))


@settings(max_examples=40, deadline=None)
@given(labellings, labellings, st.integers(0, 12))
def test_ap_and_pq_equal_loops_over_masks(predicted: np.ndarray, truth: np.ndarray, min_size: int) -> None:
    ours = figures(predicted, truth, min_size, background="segment")
    expected = naive_objects(predicted, truth, min_size)
    assert {name: ours[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def naive_rand_precision(predicted: np.ndarray, truth: np.ndarray) -> float:
    voxels = list(zip(predicted.ravel(), truth.ravel(), strict=True))
    together = [a[1] == b[1] for a, b in itertools.combinations(voxels, 2) if a[0] == b[0]]
    return sum(together) / len(together)


def test_precision_falls_with_merges_and_recall_with_splits() -> None:
    truth = np.repeat([1, 2, 3], 6).reshape(3, 6)
    merged = np.where(truth == 2, 1, truth)
    found = figures(merged, truth)
    assert found["rand_precision"] == pytest.approx(naive_rand_precision(merged, truth)) and (
        found["rand_recall"] == 1
    )
    assert found["voi_split"] == 0 and found["voi_merge"] == pytest.approx(
        2 / 3
    )  # one bit on 12 of 18 voxels
    split = figures(truth, merged)
    assert split["rand_precision"] == 1 and split["rand_recall"] == found["rand_precision"]
    assert split["voi_merge"] == 0 and split["voi_split"] == pytest.approx(2 / 3)


@settings(max_examples=40, deadline=None)
@given(labellings, labellings, labellings, arrays(bool, (3, 4, 4)))
def test_unknown_voxels_are_out_of_everything(
    predicted: np.ndarray, truth: np.ndarray, other: np.ndarray, known: np.ndarray
) -> None:
    truth = np.where(known, truth, UNKNOWN)
    if not (truth > 0).any():
        return
    changed = np.where(known, predicted, other)
    for background in ("exclude", "segment"):
        one, two = (figures(labels, truth, background=background) for labels in (predicted, changed))
        assert one == pytest.approx(two, nan_ok=True)


def test_background_excluded_or_a_segment() -> None:
    truth = np.array([[1, 1, 0, 2, 2]] * 4)
    filled = np.array([[1, 1, 1, 2, 2]] * 4)  # the membrane given to a neighbour
    out, counted = figures(filled, truth), figures(filled, truth, background="segment")
    assert out["adapted_rand"] == 0 and out["pq"] == 1
    assert counted["adapted_rand"] > 0 and counted["pq"] == pytest.approx((2 / 3 + 1) / 2)


def test_crumbs_neither_miss_nor_alarm() -> None:
    truth = np.zeros((4, 10), np.int64)
    truth[:, :4], truth[:, 4:8], truth[0, 9] = 1, 2, 3
    predicted = np.zeros_like(truth)
    predicted[:, :4], predicted[:3, 4:8], predicted[3, 4:6] = 1, 2, 5
    assert figures(predicted, truth, background="segment")["ap50"] == pytest.approx(2 / 4)
    assert figures(predicted, truth, min_size=3, background="segment")["ap50"] == 1
    # A prediction below the threshold still finds an object above it.
    assert figures(predicted, truth, min_size=14, background="segment")["ap50"] == 1


def truth_of_cells(shape: tuple[int, ...] = (6, 18, 18), side: int = 6) -> np.ndarray:
    return cut_into_blocks(shape, [max(1, n // side) for n in shape]).astype(np.int64) + 1


def test_intervals_over_blocks_surround_the_value() -> None:
    truth = truth_of_cells()
    predicted = truth.copy()
    predicted[truth % 2 == 0] += 1  # half of the cells are merged with the next
    found = evaluate_instances(predicted, truth, parts=(1, 6, 6), n_resamples=400)
    assert found["adapted_rand"].value == pytest.approx(skimage_rand(truth, predicted)[0])
    for name in ("adapted_rand", "voi_merge", "ap50", "pq"):
        estimate = found[name]
        assert estimate.n == 36 and estimate.unit == "block"
        assert 0 <= estimate.low < estimate.value < estimate.high
    assert found["voi_split"].value == found["voi_split"].low == found["voi_split"].high == 0


def test_a_weight_of_two_is_two_copies_of_the_block_under_the_same_ids() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(1, 5, (2, 4, 8))
    blocks = cut_into_blocks(truth.shape, (1, 2))
    table = contingency(predicted, truth, blocks=blocks)
    weighted = clustering_metrics(table, np.array([[1.0, 2.0]]))
    twice = [np.concatenate([labels, labels[:, 4:]], axis=1) for labels in (predicted, truth)]
    expected = clustering_metrics(contingency(*twice))
    assert {k: float(v[0]) for k, v in weighted.items()} == pytest.approx(
        {k: float(v[0]) for k, v in expected.items()}
    )


def test_an_object_counts_in_the_block_that_holds_most_of_it() -> None:
    truth = np.zeros((1, 8), np.int64)
    truth[0, 1:6], truth[0, 6:8] = 1, 2
    counts = count_objects(contingency(truth, truth, blocks=cut_into_blocks((1, 8), (1, 2))))
    assert counts.tp.tolist() == [1, 1]
    missed = count_objects(contingency(0 * truth, truth, blocks=cut_into_blocks((1, 8), (1, 2))))
    assert missed.fn.tolist() == [1, 1] and missed.tp.sum() == missed.fp.sum() == 0


def test_paired_difference_is_second_minus_first() -> None:
    truth = truth_of_cells()
    worse = np.where(truth % 2 == 0, truth + 1, truth)
    change = compare_segmentations(worse, truth, truth, parts=(1, 6, 6), n_resamples=200)
    alone = evaluate_instances(worse, truth, parts=(1, 6, 6), n_resamples=200)
    assert change["adapted_rand"].value == pytest.approx(-alone["adapted_rand"].value)
    assert change["adapted_rand"].high < 0 < change["pq"].low
    same = compare_segmentations(worse, worse, truth, parts=(1, 6, 6), n_resamples=200)
    assert {estimate.value for estimate in same.values()} == {0.0}


def test_blocks_of_all_unknown_tissue_are_no_units() -> None:
    truth = truth_of_cells()
    truth[:, :, 12:] = UNKNOWN
    found = evaluate_instances(truth, truth, parts=(1, 3, 3), n_resamples=50)
    assert found["pq"].n == 6


def test_usual_parts() -> None:
    assert usual_parts((32, 128, 128)) == (3, 3, 3) and usual_parts((2, 9, 9)) == (2, 3, 3)
    assert usual_parts((64, 64)) == (4, 4) and usual_parts((5, 64, 64), planar=True) == (1, 4, 4)
    thin, thicker, thick = (usual_parts((12, 100, 200), depth=nm) for nm in (120.0, 520.0, 5000.0))
    assert (thin, thicker, thick) == ((1, 4, 4), (2, 3, 3), (3, 3, 3))
    blocks = cut_into_blocks((7, 5), (3, 2))
    assert np.bincount(blocks.ravel()).min() >= 4 and blocks.max() == 5


def test_nothing_predicted_or_nothing_matched() -> None:
    truth = truth_of_cells()
    found = evaluate_instances(np.zeros_like(truth), truth, n_resamples=20)
    assert found["pq"].value == 0 and found["sq"].value is None and "matches" in found["sq"].reason


def test_clear_errors() -> None:
    truth = np.ones((4, 4), np.int64)
    with pytest.raises(DataError, match=r"prediction \(4, 3\) and truth \(4, 4\)"):
        adapted_rand_error(truth[:, :3], truth)
    with pytest.raises(DataError, match="the prediction is float64"):
        adapted_rand_error(truth.astype(float), truth)
    with pytest.raises(DataError, match="nothing to evaluate"):
        adapted_rand_error(truth, np.where(truth == 1, UNKNOWN, 0))
    with pytest.raises(DataError, match="the prediction holds the id -1"):
        adapted_rand_error(-truth, truth)
    with pytest.raises(ParameterError, match="background = 'ignore'"):
        adapted_rand_error(truth, truth, background="ignore")
    with pytest.raises(ParameterError, match="n_resamples = 0"):
        evaluate_instances(truth, truth, n_resamples=0)
    with pytest.raises(ParameterError, match="parts"):
        evaluate_instances(truth, truth, parts=(5, 1))


def test_byte_order_does_not_matter() -> None:
    labels = np.random.default_rng(0).integers(0, 9, (4, 5, 6))
    assert adapted_rand_error(labels.astype(">i8"), labels.astype(">u4")) == adapted_rand_error(
        labels, labels
    )


def test_objects_invented_in_background_are_false_alarms() -> None:
    truth, predicted = np.zeros((20, 20), np.int64), np.zeros((20, 20), np.int64)
    truth[2:8, 2:8] = 1
    predicted[2:8, 2:8], predicted[12:18, 12:18] = 4, 9
    found = evaluate_instances(predicted, truth, n_resamples=20)
    assert found["ap50"].value == 1 / 2 and found["pq"].value == pytest.approx(2 / 3)
    assert found["adapted_rand"].value == 0, "background is excluded from Rand"
    ignored = evaluate_instances(predicted, truth, object_background="exclude", n_resamples=20)
    assert (ignored["ap50"].value, ignored["pq"].value) == (1, 1)
    change = compare_segmentations(predicted, truth, truth, n_resamples=20)
    assert change["ap50"].value == 1 / 2 and change["adapted_rand"].value == 0
