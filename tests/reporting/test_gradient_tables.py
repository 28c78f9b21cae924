"""Tables of gradient diagnostics."""

from __future__ import annotations

import pandas as pd
import pytest

from mtl.reporting.gradient_tables import conflict_counts, only_decidable, readable_conflicts
from mtl.training.gradient_summary import ProbeSummary

PAIRS = pd.DataFrame(
    {
        "fold": [1, 2], "step": [8, 9], "cosine": [0.1, -0.4],
        "lower95": [-0.2, -0.6], "upper95": [0.4, -0.2],
        "corrected_cosine": [0.2, float("nan")], "conflict_rate": [0.5, 1.0],
        "magnitude_similarity": [0.9, 0.3], "verdict": ["unclear", "conflict"],
    }
)  # fmt: skip


def test_every_pair_is_a_row_with_its_interval():
    table = readable_conflicts(PAIRS, ["fold", "step"])
    assert list(table.columns[:3]) == ["fold", "step", "cosine"]
    assert table["cosine"][1] == {"value": -0.4, "low": -0.6, "high": -0.2}
    assert table["conflict rate"].tolist() == [0.5, 1.0] and table["verdict"].tolist() == [
        "unclear",
        "conflict",
    ]


def pairs(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["verdict", "corrected_cosine", "n", "reason"])


def test_a_gradient_that_is_all_noise_decides_nothing():
    found = pairs(("conflict", float("nan"), 4, "all noise"), ("conflict", -0.5, 4, ""))
    judged = only_decidable(ProbeSummary(pairs=found, tasks=pd.DataFrame())).pairs
    assert judged["verdict"].tolist() == ["no verdict", "conflict"]
    assert found["verdict"].tolist() == ["conflict", "conflict"]  # the summary itself stays


@pytest.mark.parametrize(
    ("rows", "decided", "conflicts", "why"),
    [
        ([("conflict", -0.5, 4, ""), ("agree", 0.5, 4, "")], 2, 1, ""),
        ([("agree", 0.5, 4, ""), ("no verdict", 0.1, 2, "")], 1, 0, "fewer than three probe batches"),
        ([("no verdict", float("nan"), 4, "all noise")] * 2, 0, None, "all noise"),
        ([], 0, None, ""),
    ],
)
def test_no_verdict_is_not_no_conflict(rows, decided, conflicts, why):
    counts = conflict_counts(pairs(*rows))
    assert (counts["pairs"], counts["decided"], counts["undecided"]) == (
        len(rows),
        decided,
        len(rows) - decided,
    )
    assert (counts["conflicts"], counts["why"]) == (conflicts, why)
