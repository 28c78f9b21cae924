"""Verdicts from a table of figures, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mtl.errors import ParameterError
from mtl.training.diagnostics import COLUMNS
from mtl.training.gradient_summary import (
    correct_for_noise,
    interval,
    shares_if_weighted,
    summarise,
    verdict,
)


def table(cosines: list[float], floors: dict[str, float], step: int = 0, block: str = "all") -> pd.DataFrame:
    rows = [(step, block, "norm", str(i), task, "", 2.0) for task in floors for i in range(len(cosines))]
    rows += [(step, block, "cosine", str(i), "a", "b", c) for i, c in enumerate(cosines)]
    rows += [(step, block, "magnitude_similarity", str(i), "a", "b", 0.5) for i in range(len(cosines))]
    rows += [(step, block, "same_task_cosine", "0-1", task, task, f) for task, f in floors.items()]
    rows += [(step, block, "update_share", str(i), "a", "", 0.25) for i in range(len(cosines))]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_interval_against_the_table_of_t() -> None:
    """t(.975, 3) = 3.182; values 1, 2, 3, 4: mean 2.5, s = 1.29099."""
    mean, low, high = interval(np.array([1.0, 2.0, 3.0, 4.0]))
    assert (mean, high - mean) == pytest.approx((2.5, 3.182446 * 1.2909944 / 2), rel=1e-5)
    assert mean - low == pytest.approx(high - mean)
    assert np.isnan(interval(np.array([1.0, 2.0]))[1:]).all()


@pytest.mark.parametrize(
    ("cosines", "expected", "rate"),
    [
        ([-0.5, -0.4, -0.6], "conflict", 1.0),
        ([0.5, 0.4, 0.6], "agree", 0.0),
        ([-0.5, 0.4, -0.6], "unclear", 2 / 3),
        ([-0.5, -0.4], "no verdict", 1.0),
    ],
)
def test_verdict(cosines: list[float], expected: str, rate: float) -> None:
    summary = summarise(table(cosines, {"a": 0.64, "b": 0.25}))
    pair = summary.pairs.iloc[0]
    assert (pair.verdict, pair.n) == (expected, len(cosines))
    assert pair.conflict_rate == pytest.approx(rate)
    assert pair.cosine == pytest.approx(np.mean(cosines))
    assert pair.corrected_cosine == pytest.approx(np.mean(cosines) / 0.4)
    assert pair.magnitude_similarity == 0.5
    assert summary.conflicts() == ([("a", "b")] if expected == "conflict" else [])


def test_tasks() -> None:
    tasks = summarise(table([0.1, 0.2, 0.3], {"a": 0.64, "b": 0.25})).tasks.set_index("task")
    assert tasks.loc["a", ["norm", "update_share", "noise_floor", "n"]].tolist() == [2.0, 0.25, 0.64, 3]
    assert tasks.loc["a", ["lower95", "upper95"]].tolist() == [0.25, 0.25]
    assert np.isnan(tasks.loc["b", "update_share"])


def test_no_corrected_cosine_without_a_signal() -> None:
    assert correct_for_noise(0.3, 0.9, 0.4) == (pytest.approx(0.5), "")
    for floors, words in (((0.0, 0.5), "noise"), ((0.5, -0.1), "noise"), ((np.nan, 0.5), "fewer than 2")):
        corrected, reason = correct_for_noise(0.3, *floors)
        assert np.isnan(corrected)
        assert words in reason
    pair = summarise(table([0.1, 0.2, 0.3], {"a": -0.1, "b": 0.25})).pairs.iloc[0]
    assert np.isnan(pair.corrected_cosine)
    assert "noise" in pair.reason


def test_matrix_by_block_and_step() -> None:
    floors = {"a": 0.64, "b": 0.25}
    parts = [
        table([-0.5, -0.4, -0.6], floors),
        table([0.5, 0.4, 0.6], floors, block="enc.low"),
        table([0.1, 0.1, 0.1], floors, step=5),
    ]
    summary = summarise(pd.concat(parts))
    assert summary.matrix(step=0).to_numpy() == pytest.approx(np.array([[1, -0.5], [-0.5, 1]]))
    assert summary.matrix(block="enc.low", step=0).loc["b", "a"] == pytest.approx(0.5)
    assert summary.matrix().loc["a", "b"] == pytest.approx(0.1), "the default is the last step"
    assert summary.matrix("verdict", step=0).loc["a", "b"] == "conflict"
    assert np.isnan(summary.matrix("upper95", step=0).loc["a", "a"])
    assert summary.conflicts(step=0) == [("a", "b")]
    assert list(summary.pairs.query("block == 'all'")["step"]) == [0, 5]
    with pytest.raises(ParameterError, match="enc.top.*all, enc.low"):
        summary.matrix(block="enc.top", step=0)
    with pytest.raises(ParameterError, match="cosinus.*corrected_cosine"):
        summary.matrix("cosinus")


def test_order_of_the_tasks_in_a_batch_does_not_matter() -> None:
    one = table([-0.5, -0.4, -0.6], {"a": 0.64, "b": 0.25})
    other = one.copy()
    rows = (other["kind"] == "cosine") & (other["probe"] == "1")
    other.loc[rows, ["task_a", "task_b"]] = ["b", "a"]
    pd.testing.assert_frame_equal(summarise(other).pairs, summarise(one).pairs)


def test_empty_table() -> None:
    empty = pd.DataFrame({name: [] for name in COLUMNS})
    summary = summarise(empty)
    assert summary.pairs.empty
    assert summary.tasks.empty
    with pytest.raises(ParameterError, match="none"):
        summary.matrix()


def test_verdict_at_the_edges() -> None:
    assert [verdict(-1, -0.1), verdict(-1, 0.0), verdict(0.0, 1), verdict(0.1, 1)] == [
        "conflict",
        "unclear",
        "unclear",
        "agree",
    ]


def test_shares_with_other_weights_are_those_of_other_gradients() -> None:
    """Rows made from drawn gradients; the share from its definition with the gradient times ten."""
    rng = np.random.default_rng(0)
    tasks, rows, expected = ["a", "b", "c"], [], []
    for probe in range(3):
        g = rng.standard_normal((3, 5))
        for i, task in enumerate(tasks):
            rows.append((7, "all", "norm", str(probe), task, "", np.linalg.norm(g[i])))
            for j in range(i):
                cosine = g[i] @ g[j] / np.linalg.norm(g[i]) / np.linalg.norm(g[j])
                rows.append((7, "all", "cosine", str(probe), tasks[j], task, cosine))
        g[1] *= 10
        total = g.sum(axis=0)
        expected.append(g @ total / (total @ total))
    rows += [(3, "all", "norm", "0", "a", "", 1.0), (7, "head", "norm", "0", "a", "", 1.0)]
    found = shares_if_weighted(pd.DataFrame(rows, columns=COLUMNS), {"b": 10.0})
    assert list(found) == tasks
    assert list(found.values()) == pytest.approx(np.mean(expected, axis=0))
    assert sum(found.values()) == pytest.approx(1)
    with pytest.raises(ParameterError, match="'d' was not measured"):
        shares_if_weighted(pd.DataFrame(rows, columns=COLUMNS), {"d": 10.0})
