"""Tables of gradient diagnostics for readers, from what ``mtl.training.gradient_summary`` found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from mtl.training.gradient_summary import CONFLICT, NO_VERDICT, ProbeSummary


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


def conflict_counts(pairs: pd.DataFrame) -> dict[str, Any]:
    """How many of ``pairs`` (rows of ``ProbeSummary.pairs``) conflict, of how many that have a verdict.

    Returns ``pairs``, ``decided``, ``undecided``, ``conflicts`` (None where no pair is decided: that is not
    zero) and ``why``, what keeps the others from a verdict.
    """
    undecided = pairs[pairs["verdict"] == NO_VERDICT]
    decided = len(pairs) - len(undecided)
    few = bool((undecided["n"] < 3).any())
    reasons = ["fewer than three probe batches"] * few + [r for r in undecided["reason"].unique() if r]
    return {
        "pairs": len(pairs),
        "decided": decided,
        "undecided": len(undecided),
        "conflicts": int((pairs["verdict"] == CONFLICT).sum()) if decided else None,
        "why": "; ".join(reasons),
    }
