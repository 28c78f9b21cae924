"""Reports that say the same: exactly (but for case, spaces and punctuation), or nearly.

Nearness is of two kinds: the cosine between counts of character n-grams (3 to 5, within words), and Jaccard's
index between sets of words. In structured reports a near copy may differ in what matters (``mLAD 70%``
against ``mLAD 80%``), so the audit counts; what follows from it is for the reader to say.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from mtl.datasets.splits import PARTS
from mtl.errors import DataError, ParameterError
from mtl.files import sha256_of

BLOCK = 512
MEASURES = ("ngrams", "words")


def normalise_report(text: str) -> str:
    """Lower case, one space between words, no punctuation but ``%`` and what stands inside numbers."""
    text = unicodedata.normalize("NFKC", text).lower()
    return " ".join(re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]\w*|%", text))


def report_id(text: str) -> int:
    """A number in [0, 2**63), in any process equal for reports that are equal after `normalise_report`."""
    return int(sha256_of(normalise_report(text))[:16], 16) >> 1


def similar_reports(
    texts: Sequence[str], min_similarity: float = 0.95, measure: str = "ngrams"
) -> pd.DataFrame:
    """Pairs ``first < second`` (positions) with their ``similarity``, best first; exact copies have 1.

    measure: ``"ngrams"`` or ``"words"``. Raises `ParameterError` for another, or a similarity outside (0, 1].
    """
    if measure not in MEASURES:
        raise ParameterError(f"measure={measure!r}: one of {', '.join(MEASURES)} is expected")
    if not 0 < min_similarity <= 1:
        raise ParameterError(f"min_similarity={min_similarity}: above 0 and at most 1 is expected")
    columns = {"first": np.int64, "second": np.int64, "similarity": np.float64}
    if len(texts) < 2:
        return pd.DataFrame({name: np.zeros(0, kind) for name, kind in columns.items()})
    counts = _counts([normalise_report(text) for text in texts], measure)
    blocks = [_pairs(counts, start, min_similarity, measure) for start in range(0, len(texts), BLOCK)]
    table = pd.concat(blocks, ignore_index=True).astype(columns)
    return table.sort_values(
        ["similarity", "first", "second"], ascending=[False, True, True], ignore_index=True
    )


def audit_reports(
    texts: Mapping[str, str], parts: Mapping[str, str], min_similarity: float = 0.95, measure: str = "ngrams"
) -> pd.DataFrame:
    """Count reports that say the same, within and across the parts of a split.

    ``texts``: id (of a study) -> report; ``parts``: id -> part. A row for each two parts (each also with
    itself): ``exact_pairs``, ``near_pairs`` (not exact, at least ``min_similarity``), and of
    ``second_part``'s ``reports`` the number that have an exact (``exact_reports``) or any
    (``copied_reports``) copy among the others of ``first_part``. Raises `DataError` for an id without a
    report.
    """
    missing = sorted(set(parts) - set(texts))
    if missing:
        raise DataError(f"no report for {missing[0]!r} ({len(missing)} of {len(parts)} ids lack one)")
    ids = sorted(parts)
    part = np.array([parts[name] for name in ids])
    exact = np.array([report_id(texts[name]) for name in ids])
    pairs = similar_reports([texts[name] for name in ids], min_similarity, measure)
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    same = exact[first] == exact[second]
    names = sorted(
        set(parts.values()), key=lambda name: (PARTS.index(name) if name in PARTS else len(PARTS), name)
    )
    rows = [_row(a, b, part, first, second, same) for i, a in enumerate(names) for b in names[i:]]
    return pd.DataFrame(rows)


def _row(
    a: str, b: str, part: np.ndarray, first: np.ndarray, second: np.ndarray, same: np.ndarray
) -> dict[str, str | int]:
    ends = np.concatenate([np.stack([first, second]), np.stack([second, first])], axis=1)
    chosen = (part[ends[0]] == a) & (part[ends[1]] == b)
    exact = np.concatenate([same, same])
    twice = 2 if a == b else 1  # within a part each pair is seen from both ends
    return {
        "first_part": a,
        "second_part": b,
        "reports": int((part == b).sum()),
        "exact_pairs": int((chosen & exact).sum()) // twice,
        "near_pairs": int((chosen & ~exact).sum()) // twice,
        "exact_reports": len(np.unique(ends[1][chosen & exact])),
        "copied_reports": len(np.unique(ends[1][chosen])),
    }


def _counts(texts: Sequence[str], measure: str) -> csr_matrix:
    if measure == "ngrams":
        vectorizer = CountVectorizer(analyzer="char_wb", ngram_range=(3, 5), dtype=np.float32)
        return normalize(vectorizer.fit_transform(texts)).tocsr()
    return CountVectorizer(token_pattern=r"\S+", binary=True, dtype=np.float32).fit_transform(texts).tocsr()


def _pairs(counts: csr_matrix, start: int, min_similarity: float, measure: str) -> pd.DataFrame:
    """Pairs whose first report lies in the block that begins at ``start``."""
    block = counts[start : start + BLOCK]
    shared = (block @ counts.T).toarray().astype(np.float64)
    if measure == "words":
        sizes = np.asarray(counts.sum(axis=1)).ravel()
        union = sizes[start : start + BLOCK, None] + sizes[None] - shared
        shared = shared / np.maximum(union, 1)
    first, second = np.nonzero(shared >= min_similarity - 1e-6)
    ahead = second > first + start
    first, second = first[ahead], second[ahead]
    return pd.DataFrame(
        {"first": first + start, "second": second, "similarity": shared[first, second].clip(0, 1)}
    )
