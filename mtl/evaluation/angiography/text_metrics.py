"""Generated against true reports: BLEU-4, ROUGE-L, CIDEr-D, and the cross-entropy of the true ones.

One row per clip keeps what every figure is made from. BLEU-4 is a figure of a whole corpus, so its rows hold
the counts that it sums (sacrebleu, tokeniser 13a, lower case); its interval draws studies and sums again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mtl.errors import DataError
from mtl.evaluation.angiography.cider import CiderD
from mtl.evaluation.angiography.summary import UNIT, mean_estimates, require_lengths, table_estimates
from mtl.evaluation.statistics import Estimate
from mtl.evaluation.weighted import ratio

ORDERS = 4
BLEU_COUNTS = [f"bleu_{what}_{n}" for what in ("matched", "total") for n in range(1, ORDERS + 1)]
BLEU_COLUMNS = [*BLEU_COUNTS, "bleu_generated_length", "bleu_true_length"]
TEXT_METRICS = ("bleu_4", "rouge_l", "cider_d", "exact")


def text_scores(
    true_texts: Sequence[str],
    generated_texts: Sequence[str],
    studies: Sequence[str],
    corpus: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One row per clip: ``study``, ``true``, ``generated`` and its scores.

    Args:
        corpus: reference texts for CIDEr-D's document frequencies; default: ``true_texts``.

    Returns:
        ``rouge_l`` (F-measure, 0 to 1), ``cider_d`` (0 to 10), ``exact`` (1 where words and signs are the
        same, whatever case and space), ``bleu_...`` (counts behind BLEU-4).

    Raises:
        DataError: lengths differ, no clip, or a true text is empty.
    """
    require_lengths(true_texts=true_texts, generated_texts=generated_texts, studies=studies)
    if empty := [i for i, text in enumerate(true_texts) if not text.strip()]:
        raise DataError(f"true report {empty[0]} is empty ({len(empty)} in all): nothing to compare with")
    table = pd.DataFrame({UNIT: list(studies), "true": list(true_texts), "generated": list(generated_texts)})
    pairs = list(zip(true_texts, generated_texts, strict=True))
    cider = CiderD(list(true_texts) if corpus is None else corpus)
    table["rouge_l"] = _rouge_l(pairs)
    table["cider_d"] = [cider(generated, true) for true, generated in pairs]
    table["exact"] = [float(same_words(true, generated)) for true, generated in pairs]
    table[BLEU_COLUMNS] = _bleu_counts(pairs)
    return table


def summarise_texts(table: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0) -> dict[str, Estimate]:
    """``bleu_4`` (0 to 100, of the corpus), ``rouge_l``, ``cider_d``, ``exact``: estimates over studies."""
    settings = {"n_resamples": n_resamples, "seed": seed}
    corpus = table_estimates(table, {"bleu_4": bleu_4}, **settings)
    return corpus | mean_estimates(table, TEXT_METRICS[1:], **settings)


def bleu_4(table: pd.DataFrame, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU-4 (Papineni et al. 2002) of the corpus under integer row weights ``(R, n)``: ``(R,)``, 0 to 100.

    Equal to sacrebleu's ``corpus_score`` of the drawn pairs; an order without a match is smoothed as there.
    """
    sums = (weights @ table[BLEU_COLUMNS].to_numpy(float)).round().astype(int)
    return np.array([_bleu(row) if row[-1] else np.nan for row in sums.tolist()])


def token_losses(losses: ArrayLike, kept: ArrayLike, studies: Sequence[str]) -> pd.DataFrame:
    """Cross-entropy of each clip's true report: ``study``, ``nats`` (sum over its tokens), ``n_tokens``.

    Args:
        losses: ``(N, L)`` negative log-likelihood of every token, in nats, without label smoothing.
        kept: bool ``(N, L)``: False for PAD, which is not read.

    Raises:
        DataError: shapes differ, a kept loss is not finite, or a report has no token.
    """
    values, mask = np.asarray(losses, float), np.asarray(kept, bool)
    if values.ndim != 2 or values.shape != mask.shape:
        raise DataError(f"losses {values.shape} and mask {mask.shape}: expected one shape (N, L)")
    require_lengths(losses=values, studies=studies)
    if bad := int((~np.isfinite(values) & mask).sum()):
        raise DataError(f"{bad} of {mask.sum()} token losses are not finite")
    if not mask.any(axis=1).all():
        raise DataError(f"report {int(mask.any(axis=1).argmin())} has no token: expected at least one")
    nats = np.where(mask, values, 0.0).sum(axis=1)
    return pd.DataFrame({UNIT: list(studies), "nats": nats, "n_tokens": mask.sum(axis=1)})


def summarise_tokens(table: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0) -> dict[str, Estimate]:
    """``cross_entropy`` (nats per token, over all tokens) and ``perplexity`` = exp of it, over studies."""
    statistics = {"cross_entropy": cross_entropy, "perplexity": lambda t, w: np.exp(cross_entropy(t, w))}
    return table_estimates(table, statistics, n_resamples=n_resamples, seed=seed)


def cross_entropy(table: pd.DataFrame, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nats per token of the rows of ``token_losses`` under row weights ``(R, n)``: ``(R,)``."""
    return ratio(weights @ table["nats"].to_numpy(float), weights @ table["n_tokens"].to_numpy(float))


def _rouge_l(pairs: Sequence[tuple[str, str]]) -> list[float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    return [scorer.score(true, generated)["rougeL"].fmeasure for true, generated in pairs]


def _bleu_counts(pairs: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
    from sacrebleu.metrics import BLEU

    scorer = BLEU(lowercase=True, effective_order=True)  # only its counts are read
    scores = [scorer.sentence_score(generated, [true]) for true, generated in pairs]
    return np.array([[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores])


def _bleu(sums: Sequence[int]) -> float:
    """BLEU-4 of summed counts, in the order of ``BLEU_COLUMNS``."""
    from sacrebleu.metrics import BLEU

    matched, total = sums[:ORDERS], sums[ORDERS : 2 * ORDERS]
    return BLEU.compute_bleu(matched, total, sums[-2], sums[-1], smooth_method="exp").score


def same_words(one: str, other: str) -> bool:
    """Whether words and signs are the same, whatever case and space: tokenisers make ``70 %`` of ``70%``."""
    first, second = (re.findall(r"\w+|[^\w\s]", text.lower()) for text in (one, other))
    return first == second
