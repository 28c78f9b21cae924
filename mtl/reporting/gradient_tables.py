"""Tables of gradient diagnostics for readers, from what ``mtl.training.gradient_summary`` found."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


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
