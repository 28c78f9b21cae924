"""The dial by weights against sets that are really composed so; within source it moves nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mtl.evaluation.brain_mri.shortcut import (
    dial_weights,
    figure_of,
    figure_rows,
    mixed_auc,
    shortcut_table,
    transfer_table,
    within_source_auc,
)

LEANING = {"a": 1, "b": -1}


@pytest.fixture
def cases() -> pd.DataFrame:
    """Ten cases per cell; the score knows the source well and the class a little."""
    rng = np.random.default_rng(0)
    rows = [(source, cls, n) for source in "ab" for cls in (0, 1) for n in range(10)]
    table = pd.DataFrame(rows, columns=["source", "cls", "n"])
    table["id"] = table["group"] = [f"{s}{c}{n}" for s, c, n in rows]
    score = 2.0 * (table["source"] == "a") + 0.8 * table["cls"] + rng.normal(size=len(table))
    return table.assign(tumor_prob=score, seed=0, arm="network", rho=0.6)


@pytest.mark.parametrize("rho", [0.0, 0.2, 0.6, 1.0])
def test_weights_do_what_copies_of_cases_do(cases, rho):
    """At rho a cell's weight is 1 +- rho: the same as 10 (1 +- rho) copies of every case."""
    copies = np.where((cases["source"] == "a") == (cases["cls"] == 1), 10 * (1 + rho), 10 * (1 - rho))
    composed = cases.loc[cases.index.repeat(copies.round().astype(int))]
    expected = roc_auc_score(composed["cls"], composed["tumor_prob"])
    assert mixed_auc(cases, rho, LEANING, 100).value == pytest.approx(expected)
    prevalence = composed[composed["source"] == "a"]["cls"].mean()
    assert prevalence == pytest.approx((1 + rho) / 2)
    assert dial_weights(cases["cls"], cases["source"], rho, LEANING).mean() == pytest.approx(1)


def test_mixed_moves_with_rho_and_within_source_does_not(cases):
    table = transfer_table(cases.assign(rho=0.6), LEANING, 100)
    assert list(table["tested_at"]) == [0.6]
    mixed = [mixed_auc(cases, rho, LEANING, 100).value for rho in (0, 0.5, 1)]
    assert mixed[0] + 0.1 < mixed[1] < mixed[2] - 0.1
    pairs = [
        roc_auc_score(part["cls"], part["tumor_prob"]) for _, part in cases.groupby("source")
    ]  # as many pairs in each source: a plain mean
    assert within_source_auc(cases, 100).value == pytest.approx(np.mean(pairs))


def test_a_score_that_knows_only_the_source_is_worth_nothing_within(cases):
    blind = cases.assign(tumor_prob=(cases["source"] == "a").astype(float))
    table = shortcut_table(blind, LEANING, 100)
    assert figure_of(table, "network", 0.6, "mixed")["value"] == pytest.approx((1 + 0.6) / 2)
    for name in ("within source", "deployed", "a", "b"):
        assert figure_of(table, "network", 0.6, name)["value"] == pytest.approx(0.5)
    assert len(figure_rows(table, "network", "mixed")) == 1 and figure_rows(table, "other", "mixed").empty
    with pytest.raises(KeyError, match="no figure 'within'"):
        figure_of(table, "network", 0.6, "within")


def test_several_networks_count_as_their_mean(cases):
    second = cases.assign(tumor_prob=-cases["tumor_prob"], seed=1)
    both = pd.concat([cases, second], ignore_index=True)
    found = within_source_auc(both, 100)
    assert found.value == pytest.approx(0.5) and found.n == 40 and found.unit == "patient"
