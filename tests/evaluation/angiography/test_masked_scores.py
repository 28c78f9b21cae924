"""Masked patches: against the mean, and codewords against loops."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.errors import DataError, ParameterError
from mtl.evaluation.angiography import Codebook, fit_codebook, masked_scores, summarise_masked

rng = np.random.default_rng(0)
CENTRES = 10 * np.eye(4, 6)
CLIPS = [CENTRES[rng.integers(0, 4, n)] + rng.normal(0, 0.1, (n, 6)) for n in (5, 9, 14)]
STUDIES = ["a", "b", "c"]
BOOK = Codebook(CENTRES)


def test_the_nearest_codeword_is_that_of_the_loop() -> None:
    patches = rng.normal(size=(40, 6))
    book = Codebook(rng.normal(size=(7, 6)))
    expected = [min(range(7), key=lambda k: sum((p - book.codewords[k]) ** 2)) for p in patches]
    assert book.nearest(patches).tolist() == expected


def test_kmeans_finds_planted_codewords() -> None:
    found = fit_codebook(np.concatenate(CLIPS * 10) + rng.normal(0, 0.01, (280, 6)), size=4).codewords
    distances = np.linalg.norm(found[:, None] - CENTRES, axis=2)
    assert sorted(distances.argmin(axis=1)) == [0, 1, 2, 3] and distances.min(axis=1).max() < 0.3


def test_the_mean_patch_explains_nothing_and_the_truth_everything() -> None:
    everything = np.concatenate(CLIPS)
    mean = [np.tile(everything.mean(axis=0), (len(clip), 1)) for clip in CLIPS]
    blind = summarise_masked(masked_scores(mean, CLIPS, STUDIES, BOOK), n_resamples=50)
    assert blind["explained"].value == pytest.approx(0, abs=1e-12)
    assert blind["mse"].value == pytest.approx(everything.var(axis=0).mean())
    perfect = summarise_masked(masked_scores(CLIPS, CLIPS, STUDIES, BOOK), n_resamples=50)
    assert perfect["mse"].value == 0 and perfect["explained"].value == perfect["token_accuracy"].value == 1
    assert perfect["mse_of_mean"].value == blind["mse"].value and perfect["mse"].n == 3


def test_figures_are_over_tokens_not_over_clips() -> None:
    guesses = [clip + (0.5 if len(clip) == 5 else 0.0) for clip in CLIPS]
    summary = summarise_masked(masked_scores(guesses, CLIPS, STUDIES, BOOK), n_resamples=50)
    assert summary["mse"].value == pytest.approx(0.25 * 5 / 28)


def test_always_the_commonest_word_reaches_its_share() -> None:
    words = np.concatenate([BOOK.nearest(clip) for clip in CLIPS])
    commonest = np.bincount(words).argmax()
    guesses = [np.tile(CENTRES[commonest], (len(clip), 1)) for clip in CLIPS]
    summary = summarise_masked(masked_scores(guesses, CLIPS, STUDIES, BOOK), n_resamples=50)
    assert summary["token_accuracy"].value == summary["commonest_share"].value == np.mean(words == commonest)


def test_a_given_mean_patch_is_used() -> None:
    summary = summarise_masked(masked_scores(CLIPS, CLIPS, STUDIES, BOOK, np.zeros(6)), n_resamples=20)
    assert summary["mse_of_mean"].value == pytest.approx((np.concatenate(CLIPS) ** 2).mean())


def test_errors() -> None:
    with pytest.raises(ParameterError, match="size = 1"):
        fit_codebook(CLIPS[0], size=1)
    with pytest.raises(DataError, match="2 distinct, expected .* at least 3"):
        fit_codebook(np.repeat([[0.0, 1], [1, 0]], 9, axis=0), size=3)
    with pytest.raises(DataError, match=r"patches \(3, 5\): expected \(M, 6\)"):
        BOOK.nearest(np.zeros((3, 5)))
    with pytest.raises(DataError, match="clip 1: predicted"):
        masked_scores([CLIPS[0], CLIPS[0]], CLIPS[:2], ["a", "b"], BOOK)
    with pytest.raises(DataError, match="clip 0: a predicted or true patch is not finite"):
        masked_scores([CLIPS[0] * np.nan], CLIPS[:1], ["a"], BOOK)
    with pytest.raises(DataError, match="mean_patch"):
        masked_scores(CLIPS, CLIPS, STUDIES, BOOK, np.zeros(5))
