"""The gates of E6 on a small workload, its peers, and the made embeddings themselves."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mtl.errors import ParameterError
from mtl.evaluation.em import adapted_rand_error
from mtl.studies.em import benchmarks
from mtl.studies.em.decoding_benchmarks import (
    decoding_cases,
    decoding_exponent,
    made_workload,
    soft_mean_shift,
)
from mtl.studies.em.made_embeddings import cells, made_embeddings
from mtl.studies.em.trained_embeddings import trained_workload


def test_the_gates_pass_on_a_small_workload_and_name_both_errors() -> None:
    shift, density = decoding_cases(made_workload((8, 48, 48), 8))
    assert (shift.id, shift.goal, density.goal) == ("E6", 100, 10)
    for case in (shift, density):
        assert case.gate().startswith("adapted Rand error 0.0")


def test_a_worse_decoding_fails_the_gate() -> None:
    work = made_workload((8, 48, 48), 8)
    merged = replace(work, embedding=work.embedding / 4)  # all within one bandwidth for us ...
    case = decoding_cases(merged, bandwidth=1.5)[1]  # ... while HDBSCAN has no scale
    with pytest.raises(AssertionError, match="adapted Rand error 0"):
        case.gate()


def test_a_trained_network_brings_its_own_workload(trained_study, monkeypatch) -> None:
    monkeypatch.setattr("mtl.studies.em.trained_embeddings.CERTAIN", 0.1)  # three steps make no one certain
    folder = str(trained_study.run.stage(0, "late") / "best")
    if trained_study.parameters.dims == 2:
        with pytest.raises(ParameterError, match="is a 2-D network"):
            trained_workload(folder)
        return
    work = trained_workload(folder, (8, 48, 48))
    assert work.embedding.shape[1:] == work.foreground.shape == work.truth.shape == (8, 48, 48)
    assert work.foreground.any() and work.truth.max() > 1
    assert len(decoding_cases(work)) == 2


def test_a_checkpoint_is_for_e6_only() -> None:
    with pytest.raises(ParameterError, match="only E6 looks at a network"):
        next(benchmarks.rows(["E1"], "somewhere", 1, {}, print))


@pytest.mark.slow
def test_the_exponent_is_a_number() -> None:
    assert math.isfinite(decoding_exponent(rounds=1, depths=(2, 4, 8)))


def test_soft_mean_shift_finds_clean_clusters() -> None:
    labels = cells((40, 40), 6, (1.0, 1.0))
    embedding = made_embeddings(labels, (1.0, 1.0), noise=0.05, smear=0, drift=0)
    found = soft_mean_shift(torch.from_numpy(embedding.reshape(16, -1).T.copy()), 1.5, n_seeds=60)
    assert found.max() == 5 and adapted_rand_error(found.reshape(40, 40) + 1, labels) == 0


def test_made_embeddings_are_apart_and_seeded() -> None:
    labels = cells((30, 30), 20, (1.0, 1.0))
    clean = made_embeddings(labels, (1.0, 1.0), noise=0, smear=0, drift=0, seed=1)
    centres = np.stack([clean[:, labels == i][:, 0] for i in range(1, 21)])
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1) + 9 * np.eye(20)
    assert distance.min() >= 2.99
    one, again, other = (made_embeddings(labels, (1.0, 1.0), seed=s) for s in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
