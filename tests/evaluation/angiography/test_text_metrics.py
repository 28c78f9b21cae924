"""Text metrics: CIDEr-D against the formula in loops, BLEU against sacrebleu, cross-entropy against sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from mtl.errors import DataError
from mtl.evaluation.angiography import summarise_texts, summarise_tokens, text_scores, token_losses
from mtl.evaluation.angiography.cider import CiderD, words
from mtl.evaluation.angiography.text_metrics import bleu_4

TRUE = [
    "The pLAD shows a 70% stenosis. No other lesion.",
    "The mRCA shows a 40% stenosis. Mild disease.",
    "No significant stenosis of the left coronary artery.",
    "Diffuse disease; the D1 is narrowed by 55 percent.",
]
GENERATED = [
    "the plad shows a 60% stenosis. No other lesion.",
    "The pRCA shows a 40% stenosis. Mild disease.",
    "The mRCA shows a 90% stenosis.",
    "Diffuse disease; the D1 is narrowed by 55 percent.",
]
STUDIES = ["s1", "s2", "s3", "s3"]

text = st.lists(st.sampled_from(list("abcd")), max_size=9).map(" ".join)


def slow_cider(candidate: list[str], reference: list[str], corpus: list[list[str]]) -> float:
    """The formula of the paper, n-gram by n-gram, in order of the vocabulary."""
    ngrams = lambda s, n: [tuple(s[i : i + n]) for i in range(len(s) - n + 1)]  # noqa: E731
    total = 0.0
    for n in (1, 2, 3, 4):
        vocabulary = sorted({g for s in (candidate, reference) for g in ngrams(s, n)})
        idf = [
            math.log(len(corpus) / max(1, sum(1 for s in corpus if g in ngrams(s, n)))) for g in vocabulary
        ]
        vectors = []
        for s in (candidate, reference):
            length = max(1, len(ngrams(s, n)))
            vectors.append([ngrams(s, n).count(g) / length * w for g, w in zip(vocabulary, idf, strict=True)])
        c, r = vectors
        norm = math.sqrt(sum(x * x for x in c)) * math.sqrt(sum(x * x for x in r))
        dot = sum(min(x, y) * y for x, y in zip(c, r, strict=True))
        total += dot / norm if norm else 0.0
    return 10 * math.exp(-((len(candidate) - len(reference)) ** 2) / (2 * 6**2)) * total / 4


@settings(max_examples=40, deadline=None)
@given(text, text, st.lists(text, min_size=1, max_size=5))
def test_cider_equals_the_formula(candidate: str, reference: str, corpus: list[str]) -> None:
    expected = slow_cider(candidate.split(), reference.split(), [s.split() for s in corpus])
    assert CiderD(corpus)(candidate, reference) == pytest.approx(expected, abs=1e-9)


def test_cider_of_known_cases() -> None:
    scorer = CiderD(["a b c d e", "p q r s t", "u v w x y"])
    assert scorer("a b c d e", "a b c d e") == pytest.approx(10)
    assert scorer("p q r s t", "a b c d e") == 0 and scorer("", "a b c d e") == 0
    # 6 words too many: the penalty alone is exp(-1/2)
    assert scorer("a b c d e z z z z z z", "a b c d e") < 10 * math.exp(-0.5)
    assert CiderD(["same words here now"] * 3)("same words here now", "same words here now") == 0
    assert words("The pLAD: 70 %!") == ["the", "plad", "70"]


def test_rows_and_estimates() -> None:
    table = text_scores(TRUE, GENERATED, STUDIES)
    assert table["exact"].tolist() == [0, 0, 0, 1]
    assert table["rouge_l"].iloc[3] == 1 and table["cider_d"].iloc[3] == pytest.approx(10)
    # eight of nine words in order on both sides (punctuation and case do not count)
    assert table["rouge_l"].iloc[0] == pytest.approx(8 / 9)
    scorer = CiderD(TRUE)
    assert table["cider_d"].tolist() == [scorer(g, t) for t, g in zip(TRUE, GENERATED, strict=True)]
    summary = summarise_texts(table, n_resamples=200)
    assert list(summary) == ["bleu_4", "rouge_l", "cider_d", "exact"]
    assert summary["exact"].value == 0.25 and summary["exact"].n == 3
    assert summary["bleu_4"].value == pytest.approx(
        BLEU(lowercase=True).corpus_score(GENERATED, [TRUE]).score
    )


def test_bleu_of_drawn_rows_is_that_of_the_drawn_texts() -> None:
    table = text_scores(TRUE, GENERATED, STUDIES)
    for counts in ([1, 0, 2, 1], [0, 0, 1, 0], [3, 1, 0, 0]):
        drawn = [i for i, count in enumerate(counts) for _ in range(count)]
        expected = BLEU(lowercase=True).corpus_score(
            [GENERATED[i] for i in drawn], [[TRUE[i] for i in drawn]]
        )
        assert bleu_4(table, np.array([counts], float))[0] == pytest.approx(expected.score)


def test_an_empty_generated_report_scores_nothing_and_breaks_nothing() -> None:
    table = text_scores(TRUE, [""] * 4, STUDIES)
    assert (table[["rouge_l", "cider_d", "exact"]] == 0).all(axis=None)
    assert summarise_texts(table, n_resamples=50)["bleu_4"].value == 0


def test_cross_entropy_is_over_tokens_and_does_not_read_pad() -> None:
    losses = np.array([[1.0, 2.0, 3.0], [4.0, np.nan, np.inf]])
    kept = np.array([[True, True, True], [True, False, False]])
    table = token_losses(losses, kept, ["a", "b"])
    assert table["nats"].tolist() == [6, 4] and table["n_tokens"].tolist() == [3, 1]
    summary = summarise_tokens(table, n_resamples=100)
    assert summary["cross_entropy"].value == pytest.approx(10 / 4), "not the mean of the clips' means (3.0)"
    assert summary["perplexity"].value == pytest.approx(math.exp(2.5))


def test_a_uniform_guess_over_v_words_has_perplexity_v() -> None:
    table = token_losses(np.full((6, 5), math.log(37)), np.ones((6, 5), bool), list("abcdef"))
    assert summarise_tokens(table, n_resamples=50)["perplexity"].value == pytest.approx(37)


def test_errors() -> None:
    with pytest.raises(DataError, match="columns of different lengths.*generated_texts: 1"):
        text_scores(TRUE, ["a"], STUDIES)
    with pytest.raises(DataError, match="true report 1 is empty"):
        text_scores(["a", " "], ["a", "b"], ["s", "t"])
    with pytest.raises(DataError, match="needs a corpus"):
        text_scores(["a"], ["a"], ["s"], corpus=[])
    with pytest.raises(DataError, match="expected one shape"):
        token_losses(np.ones((2, 3)), np.ones((2, 2), bool), ["a", "b"])
    with pytest.raises(DataError, match="1 of 3 token losses are not finite"):
        token_losses([[1.0, np.nan, 1.0]], np.ones((1, 3), bool), ["a"])
    with pytest.raises(DataError, match="report 1 has no token"):
        token_losses(np.ones((2, 2)), [[True, True], [False, False]], ["a", "b"])
