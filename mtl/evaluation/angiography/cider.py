r"""CIDEr-D of one generated text against one true text (Vedantam, Zitnick and Parikh, *CVPR* 2015).

With :math:`h_k(s)` the count of n-gram :math:`k` in text :math:`s`, over a reference corpus :math:`I`,

.. math:: g_k(s) = \frac{h_k(s)}{\sum_l h_l(s)}
          \log \frac{|I|}{\max\big(1, \sum_{p \in I} \min(1, h_k(p))\big)},

.. math:: \mathrm{CIDEr\text{-}D}_n(c, s) = 10\; e^{-(\ell_c - \ell_s)^2 / 2\sigma^2}\;
          \frac{\min(g^n(c), g^n(s)) \cdot g^n(s)}{\lVert g^n(c) \rVert\, \lVert g^n(s) \rVert},
          \qquad \sigma = 6,

and the score is the mean over :math:`n = 1 \ldots 4`, from 0 to 10. Lengths are in words. Where a norm is 0
(a text shorter than n words, or only n-grams that every reference has) that order counts 0: so a true text
that all references share scores 0 even when it is met, and so does every text against a corpus of one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from mtl.errors import DataError

ORDERS = (1, 2, 3, 4)
SIGMA = 6.0
SCALE = 10.0

Gram = tuple[str, ...]


def words(text: str) -> list[str]:
    """Lower-case words and numbers, without punctuation."""
    return re.findall(r"\w+", text.lower())


class CiderD:
    """CIDEr-D with the document frequencies of a reference corpus; every text of it is a document.

    Raises DataError for an empty corpus.
    """

    def __init__(self, corpus: Sequence[str]) -> None:
        if len(corpus) == 0:
            raise DataError(
                "CIDEr-D needs a corpus of reference texts for its document frequencies: got none"
            )
        self.n_documents = len(corpus)
        self.documents: Counter[Gram] = Counter()
        for text in corpus:
            self.documents.update({gram for n in ORDERS for gram in grams(words(text), n)})

    def __call__(self, generated: str, true: str) -> float:
        """Score of one pair, from 0 to 10."""
        candidate, reference = words(generated), words(true)
        penalty = math.exp(-((len(candidate) - len(reference)) ** 2) / (2 * SIGMA**2))
        cosines = [self._clipped_cosine(candidate, reference, n) for n in ORDERS]
        return SCALE * penalty * sum(cosines) / len(ORDERS)

    def weights(self, text: Sequence[str], n: int) -> dict[Gram, float]:
        """TF-IDF of the n-grams of a text given as words."""
        counts = Counter(grams(text, n))
        total = sum(counts.values())
        return {gram: count / total * self._rarity(gram) for gram, count in counts.items()}

    def _rarity(self, gram: Gram) -> float:
        return math.log(self.n_documents / max(1, self.documents[gram]))

    def _clipped_cosine(self, candidate: Sequence[str], reference: Sequence[str], n: int) -> float:
        c, s = self.weights(candidate, n), self.weights(reference, n)
        norms = math.hypot(*c.values()) * math.hypot(*s.values())
        if norms == 0:
            return 0.0
        return sum(min(c.get(gram, 0.0), weight) * weight for gram, weight in s.items()) / norms


def grams(text: Sequence[str], n: int) -> list[Gram]:
    """The n-grams of a text given as words, in order."""
    return [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]
