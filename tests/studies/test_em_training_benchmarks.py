"""The gates of E3 and E5: they pass where both sides do the same, and fail where they do not."""

from __future__ import annotations

import pytest
import torch

from mtl.losses.em import instance
from mtl.models.em import EMModel
from mtl.studies.em import training_benchmarks
from mtl.studies.em.training_benchmarks import (
    discriminative_cases,
    memory_row,
    peak_bytes,
    random_instances,
    scaling_rows,
    two_mode_cases,
)
from mtl.timing import measure


def test_peers_of_the_instance_loss_have_our_gradient():
    cases = discriminative_cases(shape=(4, 16, 16), channels=3, counts=(5, 40))
    assert [case.goal for case in cases] == [0.0, 2.5, 2.5] * 2
    assert all(float(case.gate().split("by ")[1].split()[0]) < 1e-6 for case in cases)


def test_another_margin_fails_the_gate(monkeypatch):
    monkeypatch.setattr(training_benchmarks, "DELTA_V", 0.7)
    rows = measure(discriminative_cases(shape=(2, 8, 8), channels=2, counts=(3,))[:1])
    assert rows[0]["correct"] is False and "gradients differ" in rows[0]["difference"]


def test_one_backbone_pass_has_the_gradients_of_two():
    (case, flat) = two_mode_cases(features=4, shape=(8, 16, 16))
    assert case.gate().endswith("in float64") and "64x64" in flat.workload
    assert len(case.ours()) == len(case.theirs())


def test_a_step_that_mistakes_the_prompts_fails_the_gate(monkeypatch):
    def mistaken(model: EMModel, batch: dict) -> dict:
        negative = batch | {"point_labels": torch.zeros_like(batch["point_labels"])}
        return training_benchmarks.EMObjective(training_benchmarks.EMLoss())(model, negative)

    (case, _) = two_mode_cases(features=4, shape=(8, 16, 16))
    monkeypatch.setattr(training_benchmarks, "one_backbone_pass", mistaken)
    with pytest.raises(AssertionError, match="gradients differ"):
        case.gate()


def test_memory_is_the_most_that_lives_at_once(monkeypatch):
    assert 8000 <= peak_bytes(lambda: torch.zeros(1000) + 1) <= 8100  # and the scalar
    monkeypatch.setattr(instance, "PIECE", {"cpu": 256})
    row = memory_row(shape=(8, 32, 32), channels=4, count=6)
    assert row["memory"]["ours"] < min(v for name, v in row["memory"].items() if name not in ("ours", "goal"))


def test_scaling_rows_have_exponents():
    assert all(isinstance(row["exponent"], float) for row in scaling_rows((2, 4, 8), (1, 2, 3), rounds=1))


def test_voronoi_labels_hold_background_and_all_ids():
    labels = random_instances((6, 20, 20), 5)
    assert labels.unique().tolist() == [0, 1, 2, 3, 4, 5]
    assert float((labels == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
