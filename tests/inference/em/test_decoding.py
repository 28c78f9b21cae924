"""Decoding of made embeddings at known instances: noise, smear, drift, repeats, crumbs, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtl.errors import DataError, ParameterError
from mtl.evaluation.em import adapted_rand_error, evaluate_instances
from mtl.inference.em.decoding import decode_embeddings
from mtl.studies.em.made_embeddings import cells, made_embeddings

CASES = {
    "2-D": ((96, 96), 20, (4.0, 4.0)),
    "3-D isotropic": ((24, 32, 32), 12, (10.0, 10.0, 10.0)),
    "3-D with thick sections": ((10, 64, 64), 16, (30.0, 6.0, 6.0)),
}


def everywhere(labels: np.ndarray) -> np.ndarray:
    return np.ones(labels.shape, bool)


def two_halves(gap: int = 0) -> np.ndarray:
    labels = np.ones((20, 30), np.int64)
    labels[:, 15:] = 2
    labels[:, 15 : 15 + gap] = 0
    return labels


@pytest.mark.parametrize("case", CASES)
def test_clean_embeddings_give_the_instances_back(case: str) -> None:
    shape, n, spacing = CASES[case]
    labels = cells(shape, n, spacing)
    embedding = made_embeddings(labels, spacing, noise=0.05, smear=0, drift=0)
    found = decode_embeddings(embedding, everywhere(labels))
    scores = evaluate_instances(found, labels, n_resamples=2)
    assert found.dtype == np.int32 and found.min() == 1 and found.max() == n
    assert scores["adapted_rand"].value < 1e-3 and scores["ap50"].value == 1


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_smear_and_drift_cost_no_more_than_knowing_the_true_means(case: str, seed: int) -> None:
    shape, n, spacing = CASES[case]
    labels = cells(shape, n, spacing, seed)
    embedding = made_embeddings(labels, spacing, noise=0.2, smear=1.0, drift=0.5, seed=seed)
    means = np.stack([embedding[:, labels == i].mean(1) for i in range(1, n + 1)])
    nearest = np.square(embedding[None] - means.reshape(n, -1, *[1] * len(shape))).sum(1).argmin(0) + 1
    found = decode_embeddings(embedding, everywhere(labels))
    assert adapted_rand_error(found, labels) <= adapted_rand_error(nearest, labels) + 0.005


def test_the_predicted_foreground_bounds_the_instances() -> None:
    labels = two_halves(gap=2)
    embedding = made_embeddings(labels, (1.0, 1.0), drift=0)
    found = decode_embeddings(embedding, labels > 0)
    assert ((found > 0) == (labels > 0)).all() and found.max() == 2
    filled = decode_embeddings(embedding, labels > 0, fill=True)
    assert filled.min() == 1 and adapted_rand_error(filled, labels) == 0


def test_one_embedding_in_two_places_is_two_instances() -> None:
    """A network without coordinates gives distant neurites the same embedding."""
    labels = np.ones((20, 30), np.int64)
    labels[:, 14:17] = 2
    labels[:, 17:] = 3
    embedding = made_embeddings(np.where(labels == 3, 1, labels), (1.0, 1.0), drift=0, smear=0)
    found = decode_embeddings(embedding, everywhere(labels))
    assert found.max() == 3 and adapted_rand_error(found, labels) == 0


def test_what_drifts_is_put_together_and_neighbours_stay_apart() -> None:
    labels = np.ones((20, 120), np.int64)
    labels[10:] = 2
    embedding = made_embeddings(labels, (1.0, 1.0), drift=0, smear=0, noise=0.05)
    embedding[3] += np.linspace(0, 4, 120)  # both wander by far more than the bandwidth
    apart = decode_embeddings(embedding, everywhere(labels), merge_distance=0)
    found = decode_embeddings(embedding, everywhere(labels), merge_distance=2.5)
    assert apart.max() > 2 and found.max() == 2 and adapted_rand_error(found, labels) == 0


def test_a_small_instance_in_a_large_volume_is_found() -> None:
    """Sixty of 262,144 pixels: the first draw misses it, the later ones look where no mode explains."""
    labels = cells((512, 512), 8, (1.0, 1.0))
    labels[200:206, 300:310] = 9
    embedding = made_embeddings(labels, (1.0, 1.0), drift=0, smear=0, noise=0.1)
    found = decode_embeddings(embedding, everywhere(labels), min_size=20)
    assert found.max() == 9 and adapted_rand_error(found, labels) < 1e-3


def test_crumbs_go_to_their_neighbours() -> None:
    labels = two_halves()
    labels[5:7, 5:7] = 3
    embedding = made_embeddings(labels, (1.0, 1.0), drift=0, smear=0, noise=0.05)
    found = decode_embeddings(embedding, everywhere(labels), min_size=10)
    assert found.max() == 2 and (found[5:7, 5:7] == found[0, 0]).all()


def test_the_draw_is_seeded_and_tensors_do_too() -> None:
    labels = cells((48, 48), 6, (1.0, 1.0))
    embedding = made_embeddings(labels, (1.0, 1.0), noise=0.3)
    one = decode_embeddings(embedding, everywhere(labels), seed=3)
    again = decode_embeddings(torch.from_numpy(embedding), torch.ones(48, 48, dtype=bool), seed=3)
    assert np.array_equal(one, again)


def test_no_foreground_gives_no_instances() -> None:
    assert not decode_embeddings(np.zeros((4, 8, 8), np.float32), np.zeros((8, 8), bool), fill=True).any()


def test_one_constant_embedding_is_one_instance() -> None:
    assert (decode_embeddings(np.ones((4, 16, 16), np.float32), np.ones((16, 16), bool)) == 1).all()


def test_clear_errors() -> None:
    embedding, foreground = np.zeros((4, 8, 8), np.float32), np.ones((8, 8), bool)
    with pytest.raises(DataError, match=r"embedding \(4, 8, 8\) and foreground \(8, 7\)"):
        decode_embeddings(embedding, foreground[:, :7])
    with pytest.raises(DataError, match="foreground is float64: expected bool"):
        decode_embeddings(embedding, foreground * 0.5)
    with pytest.raises(DataError, match="not finite"):
        decode_embeddings(np.full_like(embedding, np.nan), foreground)
    with pytest.raises(ParameterError, match="bandwidth = 0"):
        decode_embeddings(embedding, foreground, bandwidth=0)
    with pytest.raises(ParameterError, match="min_size = -1"):
        decode_embeddings(embedding, foreground, min_size=-1)
