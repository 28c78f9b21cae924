"""The best-overlapping instance of every object, against the object-by-object search."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.evaluation.em.click_curves import best_overlapping
from mtl.evaluation.segmentation import dice
from mtl.studies.em.worst_objects import best_matches


@pytest.mark.parametrize("seed", range(4))
def test_one_pass_finds_what_a_search_object_by_object_finds(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 9, (3, 4, 4)).repeat(3, 1).repeat(3, 2) * 7
    truth[rng.random(truth.shape) < 0.1] = -100
    instances = np.where(rng.random(truth.shape) < 0.6, np.maximum(truth, 0), rng.integers(0, 5, truth.shape))
    instances = np.where(truth == -100, 0, instances)
    found = {match.number: match for match in best_matches(instances, truth, min_size=5)}
    ids, sizes = np.unique(truth[truth > 0], return_counts=True)
    assert set(found) == set(ids[sizes >= 5].tolist())
    for number, match in found.items():
        wanted = best_overlapping(instances, truth == number)
        assert match.dice == pytest.approx(dice(wanted, truth == number))
        assert np.array_equal(wanted, instances == match.instance)


def test_an_object_that_nothing_touches_has_no_instance():
    truth = np.array([[[1, 1, 2, 2]]])
    matches = best_matches(np.array([[[0, 0, 5, 5]]]), truth)
    assert [(m.number, m.dice, m.instance > 0) for m in sorted(matches)] == [(1, 0.0, False), (2, 1.0, True)]
