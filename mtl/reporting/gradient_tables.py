"""Tables of gradient diagnostics for readers, from what ``mtl.training.gradient_summary`` found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from mtl.training.gradient_summary import AGREE, CONFLICT, NO_VERDICT, UNCLEAR, ProbeSummary


def readable_conflicts(pairs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Rows of ``ProbeSummary.pairs`` with the cosine as an estimate, after the columns in ``keys``."""
    return pd.DataFrame(
        {
            **{key: getattr(row, key) for key in keys},
            "cosine": {"value": row.cosine, "low": row.lower95, "high": row.upper95},
            "without noise": row.corrected_cosine,
            "conflict rate": row.conflict_rate,
            "magnitude similarity": row.magnitude_similarity,
            "verdict": row.verdict,
        }
        for row in pairs.itertuples()
    )


def only_decidable(summary: ProbeSummary) -> ProbeSummary:
    """``summary`` with *no verdict* also on pairs whose noise floor is not above zero.

    Where two batches do not agree on a task's own gradient, its cosine with another task says nothing,
    however narrow the interval.
    """
    pairs = summary.pairs
    undecided = pairs["corrected_cosine"].isna()
    return replace(summary, pairs=pairs.assign(verdict=pairs["verdict"].mask(undecided, NO_VERDICT)))


def verdict_counts(pairs: pd.DataFrame) -> dict[str, Any]:
    """How many of ``pairs`` (rows of ``ProbeSummary.pairs``) have which verdict.

    Returns ``pairs``, ``conflict``, ``agree``, ``unclear`` (the interval spans zero), ``no_verdict``, ``why``
    (what keeps those from a verdict) and ``batches``, over how many probe batches: "4", or "2 to 4".
    """
    undecided = pairs[pairs["verdict"] == NO_VERDICT]
    few = bool((undecided["n"] < 3).any())
    reasons = ["fewer than three probe batches"] * few + [r for r in undecided["reason"].unique() if r]
    seen = sorted({int(n) for n in pairs["n"]})
    return {
        "pairs": len(pairs),
        **{name: int((pairs["verdict"] == name).sum()) for name in (CONFLICT, AGREE, UNCLEAR)},
        "no_verdict": len(undecided),
        "why": "; ".join(reasons),
        "batches": " to ".join(str(n) for n in (seen if len(seen) < 3 else [seen[0], seen[-1]])),
    }
