r"""Masked video modelling: better than the mean patch? Does a guessed patch look like the right one?

**Against the mean.** MSE of the prediction beside the MSE of one patch for all masked tokens, the mean patch;
``explained`` :math:`= 1 - MSE / MSE_{mean}`, over all tokens. 0 is what predicting the mean reaches.

**Masked-token accuracy.** Patches are words of a codebook, the centres of k-means; a token is right where the
nearest codeword of the predicted patch is that of the true one. Beside it: the share of the true patches'
most frequent codeword, which always naming that one reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mtl.errors import DataError, ParameterError
from mtl.evaluation.angiography.summary import UNIT, require_lengths, table_estimates
from mtl.evaluation.statistics import Estimate
from mtl.evaluation.weighted import ratio

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Codebook:
    """Codewords ``(K, P)``: centres of k-means over training patches of P values."""

    codewords: Floats

    def nearest(self, patches: ArrayLike) -> NDArray[np.int64]:
        """Number of the nearest codeword of each patch ``(M, P)``: ``(M,)``; the lowest among equals."""
        values = np.asarray(patches, float)
        if values.ndim != 2 or values.shape[1] != self.codewords.shape[1]:
            raise DataError(
                f"patches {values.shape}: expected (M, {self.codewords.shape[1]}) as the codebook"
            )
        # |x - c|^2 without |x|^2, which is the same for all codewords
        return ((self.codewords**2).sum(axis=1) - 2 * values @ self.codewords.T).argmin(axis=1)


def fit_codebook(patches: ArrayLike, size: int = 256, seed: int = 0) -> Codebook:
    """Codebook of ``size`` words from training patches ``(M, P)`` (scikit-learn's MiniBatchKMeans).

    Raises ParameterError for a size below 2, DataError where there are fewer distinct patches than words.
    """
    from sklearn.cluster import MiniBatchKMeans

    values = np.asarray(patches, float)
    if size < 2:
        raise ParameterError(f"size = {size}: a codebook needs at least 2 words")
    if values.ndim != 2 or len(distinct := np.unique(values, axis=0)) < size:
        known = f"{len(distinct)} distinct" if values.ndim == 2 else f"shape {values.shape}"
        raise DataError(f"patches: {known}, expected (M, P) with at least {size} distinct ones")
    means = MiniBatchKMeans(size, random_state=seed, n_init=3, batch_size=1024).fit(values)
    return Codebook(means.cluster_centers_)


def masked_scores(
    predicted: Sequence[ArrayLike],
    true: Sequence[ArrayLike],
    studies: Sequence[str],
    codebook: Codebook,
    mean_patch: ArrayLike | None = None,
) -> pd.DataFrame:
    """One row per clip, sums over its masked tokens.

    Args:
        predicted, true: per clip ``(M, P)``: its masked patches as the loss sees them.
        mean_patch: ``(P,)`` of the training patches; default: the mean of the true ones given here, which is
            the hardest to beat.

    Returns:
        ``study``, ``n_tokens``, ``n_values``; ``error``, ``error_of_mean`` (sums of squares over values),
        ``right`` (tokens with the right codeword), ``commonest`` (tokens whose true codeword is the most
        frequent one of all).

    Raises:
        DataError: lengths or shapes differ, a patch is not finite, or no token is masked.
    """
    require_lengths(predicted=predicted, true=true, studies=studies)
    pairs = [
        _pair(guess, truth, clip) for clip, (guess, truth) in enumerate(zip(predicted, true, strict=True))
    ]
    truths = np.concatenate([truth for _, truth in pairs])
    mean = truths.mean(axis=0) if mean_patch is None else np.asarray(mean_patch, float)
    if mean.shape != truths.shape[1:]:
        raise DataError(f"mean_patch {mean.shape}: expected {truths.shape[1:]} as the patches")
    commonest = np.bincount(codebook.nearest(truths)).argmax()
    rows = [
        {UNIT: study} | _sums(*pair, mean, codebook, commonest)
        for study, pair in zip(studies, pairs, strict=True)
    ]
    return pd.DataFrame(rows)


def summarise_masked(table: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0) -> dict[str, Estimate]:
    """``mse``, ``mse_of_mean``, ``explained``, ``token_accuracy``, ``commonest_share``, over studies."""
    return table_estimates(table, STATISTICS, n_resamples=n_resamples, seed=seed)


def _quotient(table: pd.DataFrame, weights: Floats, above: str, below: str) -> Floats:
    return ratio(weights @ table[above].to_numpy(float), weights @ table[below].to_numpy(float))


STATISTICS = {
    "mse": lambda table, weights: _quotient(table, weights, "error", "n_values"),
    "mse_of_mean": lambda table, weights: _quotient(table, weights, "error_of_mean", "n_values"),
    "explained": lambda table, weights: 1 - _quotient(table, weights, "error", "error_of_mean"),
    "token_accuracy": lambda table, weights: _quotient(table, weights, "right", "n_tokens"),
    "commonest_share": lambda table, weights: _quotient(table, weights, "commonest", "n_tokens"),
}


def _pair(predicted: ArrayLike, true: ArrayLike, clip: int) -> tuple[Floats, Floats]:
    guess, truth = np.asarray(predicted, float), np.asarray(true, float)
    if guess.ndim != 2 or guess.shape != truth.shape or len(guess) == 0:
        raise DataError(
            f"clip {clip}: predicted {guess.shape}, true {truth.shape}: expected one shape (M, P)"
        )
    if not (np.isfinite(guess).all() and np.isfinite(truth).all()):
        raise DataError(f"clip {clip}: a predicted or true patch is not finite")
    return guess, truth


def _sums(guess: Floats, truth: Floats, mean: Floats, codebook: Codebook, commonest: int) -> dict[str, float]:
    words = codebook.nearest(truth)
    return {
        "n_tokens": len(truth),
        "n_values": truth.size,
        "error": float(((guess - truth) ** 2).sum()),
        "error_of_mean": float(((truth - mean) ** 2).sum()),
        "right": int((codebook.nearest(guess) == words).sum()),
        "commonest": int((words == commonest).sum()),
    }
