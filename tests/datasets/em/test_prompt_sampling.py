"""Training clicks: where they may fall, with what chance, and the two proofread modes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chisquare

from mtl.datasets.em import UNKNOWN, proofread_mode, resolve_fractionary, sample_points
from mtl.errors import ParameterError

LABELS = st.sampled_from([(5, 6), (3, 4, 5)]).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.sampled_from([UNKNOWN, 0, 1, 2, 40]))
)


@settings(max_examples=60, deadline=None)
@given(
    LABELS, st.sampled_from(["instance", "class"]), st.integers(1, 6), st.integers(0, 6), st.integers(0, 99)
)
def test_clicks_obey_the_rules(labels: np.ndarray, mode: str, num_pos: int, num_neg: int, seed: int) -> None:
    semantic = np.where(labels == 40, 2, (labels > 0).astype(int))
    found = sample_points(labels, mode, num_pos, num_neg, np.random.default_rng(seed), semantic)
    if not (labels > 0).any():
        assert found is None
        return
    assert found.points.dtype == np.int64 and found.labels.dtype == np.int8
    assert found.points.shape == (len(found.labels), labels.ndim)
    places = [tuple(point) for point in found.points]
    assert len(set(places)) == len(places), "no click twice"
    at = labels[tuple(found.points.T)]
    target = labels == found.target_id if mode == "instance" else semantic == found.semantic_id
    assert (at != UNKNOWN).all()
    assert target[tuple(found.points.T)].tolist() == (found.labels == 1).tolist()
    assert (found.labels == 1).sum() == min(num_pos, target.sum())
    assert (found.labels == 0).sum() == min(num_neg, (~target & (labels != UNKNOWN)).sum())
    if mode == "instance":
        assert found.semantic_id == (2 if found.target_id == 40 else 1)
    else:
        assert found.target_id == 0


def test_instances_are_equally_likely_and_voxels_within() -> None:
    labels = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 2, 0, UNKNOWN]])
    rng = np.random.default_rng(0)
    draws = [sample_points(labels, "instance", 1, 1, rng) for _ in range(1200)]
    ids = np.bincount([draw.target_id for draw in draws])[1:]
    assert chisquare(ids).pvalue > 1e-3, "a small instance as often as a large one"
    of_one = np.bincount([d.points[0, 1] for d in draws if d.target_id == 1], minlength=8)
    assert chisquare(of_one).pvalue > 1e-3
    negative = np.bincount([d.points[1, 1] for d in draws if d.target_id == 2], minlength=10)
    assert negative[8] == 0 and chisquare(np.delete(negative, 8)).pvalue > 1e-3, "background included"


def test_the_same_generator_gives_the_same_clicks() -> None:
    labels = np.random.default_rng(1).integers(0, 5, (6, 7, 8))
    one, two = (sample_points(labels, generator=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.points, two.points)
    assert len(one.points) == 10 and one.target_id == two.target_id and one.semantic_id == 1


def test_crumbs_are_clicked_only_where_there_is_nothing_else() -> None:
    labels = np.array([[1, 2, 2, 3, 3, 3, 0]])

    def targets(min_voxels: int) -> set[int]:
        rng = np.random.default_rng(0)
        return {sample_points(labels, generator=rng, min_voxels=min_voxels).target_id for _ in range(60)}

    assert [targets(n) for n in (1, 2, 3, 9)] == [{1, 2, 3}, {2, 3}, {3}, {3}]


def test_an_instance_that_fills_the_crop_has_no_negative_click() -> None:
    found = sample_points(np.full((3, 4), 7), num_pos=2, num_neg=5)
    assert found.labels.tolist() == [1, 1] and found.target_id == 7


@pytest.mark.parametrize(
    ("labels", "mode"),
    [
        ([0, 3, 4], "interactive"),
        ([UNKNOWN, 3, 0], "fractionary"),
        ([UNKNOWN, 0, 0], None),
        ([0, 0, 0], None),
        ([UNKNOWN] * 3, None),
    ],
)
def test_the_proofread_mode_of_a_sample(labels: list[int], mode: str | None) -> None:
    assert proofread_mode(np.array([labels])) == mode


def test_resolved_labels() -> None:
    labels = np.array([[UNKNOWN, 0, 900, 12], [900, 5, UNKNOWN, 0]])
    assert resolve_fractionary(labels).tolist() == [[UNKNOWN, 0, 1, 2], [1, 3, UNKNOWN, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "pixel"}, "point_sample_mode='pixel'"),
        ({"num_pos": 0}, "num_pos_points=0 must be at least 1"),
        ({"num_neg": -1}, "num_neg_points=-1"),
        ({"semantic": np.zeros((2, 2))}, r"semantic has shape \(2, 2\), labels \(3, 4\)"),
    ],
)
def test_parameters_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        sample_points(np.ones((3, 4), int), **options)
