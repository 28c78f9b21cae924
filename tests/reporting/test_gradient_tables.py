"""Tables of gradient diagnostics."""

from __future__ import annotations

import pandas as pd
import pytest

from mtl.reporting.gradient_tables import only_decidable, readable_conflicts, verdict_counts
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
    ("rows", "counted", "why", "batches"),
    [
        ([("conflict", -0.5, 4, ""), ("agree", 0.5, 4, "")], (1, 1, 0, 0), "", "4"),
        ([("unclear", 0.1, 4, "")] * 12 + [("agree", 0.9, 4, "")] * 3, (0, 3, 12, 0), "", "4"),
        (
            [("agree", 0.5, 4, ""), ("unclear", 0.1, 3, ""), ("no verdict", 0.1, 2, "")],
            (0, 1, 1, 1), "fewer than three probe batches", "2 to 4",
        ),
        ([("no verdict", float("nan"), 4, "all noise")] * 2, (0, 0, 0, 2), "all noise", "4"),
        ([], (0, 0, 0, 0), "", ""),
    ],
)  # fmt: skip
def test_neither_unclear_nor_undecided_is_no_conflict(rows, counted, why, batches):
    counts = verdict_counts(pairs(*rows))
    assert counts["pairs"] == len(rows) == sum(counted)
    assert tuple(counts[key] for key in ("conflict", "agree", "unclear", "no_verdict")) == counted
    assert (counts["why"], counts["batches"]) == (why, batches)
