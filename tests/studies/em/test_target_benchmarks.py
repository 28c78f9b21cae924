"""Benchmarks of the targets at a size that is over at once: every side does its work and passes its gate."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.studies.em.target_benchmarks import blobs, neurites, target_cases, target_exponents


def test_every_case_passes_its_gate_and_both_sides_run():
    cases = target_cases(shape=(8, 24, 24), n=8, sample=4)
    assert [case.id for case in cases] == ["E1", "E1", "E2", "E2", "E2", "E2"]
    for case in cases:
        assert case.gate() and case.ours() is not None and case.theirs() is not None
    assert cases[0].peer_share == 0.5


def test_gates_refuse_other_results(monkeypatch):
    cases = target_cases(shape=(8, 24, 24), n=8, sample=4)
    monkeypatch.setattr("mtl.studies.em.target_benchmarks.skeleton", lambda labels, _: labels > 0)
    with pytest.raises(AssertionError, match="skeletons differ in"):
        cases[2].gate()


def test_exponents_have_a_name_each():
    found = target_exponents(shape=(16, 24, 24), instances=(2, 4, 8), rounds=1)
    assert set(found) == {"E1, K", "E1, voxels of blobs", "E1, voxels of neurites"}
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("make", [blobs, neurites])
def test_volumes_hold_as_many_cells_as_asked_for(make):
    labels = make(5, (12, 30, 30))
    assert set(np.unique(labels)) == {1, 2, 3, 4, 5}
    np.testing.assert_array_equal(labels, make(5, (12, 30, 30)))
