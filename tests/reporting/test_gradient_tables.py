"""Tables of gradient diagnostics."""

from __future__ import annotations

import pandas as pd

from mtl.reporting.gradient_tables import readable_conflicts

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
