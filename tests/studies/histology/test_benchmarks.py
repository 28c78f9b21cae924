"""The benchmarks at sizes that are over at once: peers do what we do, gates see what differs. No timing."""

from __future__ import annotations

import pytest
import torch

from mtl.errors import ParameterError
from mtl.reporting.bench_command import IDS
from mtl.studies.histology import benchmarks, loss_benchmarks, map_benchmarks
from mtl.studies.histology.loss_benchmarks import loss_cases
from mtl.studies.histology.loss_peers import usual_losses
from mtl.studies.histology.map_benchmarks import map_cases

FIELDS = {"id", "workload", "peer", "peer_s", "ours_s", "ratio", "correct", "difference"}


def test_maps_of_both_peers_equal_ours() -> None:
    cases = map_cases(counts=(3, 6), side=96)
    assert len(cases) == 4
    for case in cases:
        assert case.gate().startswith("maps off by")


def test_the_gate_of_maps_sees_another_map(monkeypatch) -> None:
    monkeypatch.setattr(map_benchmarks, "looped_hover_maps", lambda labels: 1.0 + 0 * labels)
    with pytest.raises(AssertionError, match="maps off by"):
        map_cases(counts=(3,), side=96)[0].gate()


def test_the_usual_losses_have_our_gradients() -> None:
    for case in loss_cases(side=64):
        assert "pixel contrast aside" in case.gate()
        gradients = case.ours()
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_the_gate_of_losses_sees_another_loss(monkeypatch) -> None:
    def other(output, *rest) -> torch.Tensor:
        return usual_losses(output, *rest) + 0.01 * output["preds"].mean()

    monkeypatch.setattr(loss_benchmarks, "usual_losses", other)
    with pytest.raises(AssertionError, match="gradients differ"):
        loss_cases(side=64)[0].gate()


def test_every_id_has_its_rows(monkeypatch) -> None:
    small = {"H1": lambda: map_cases((3,), 96)[:1], "H2": lambda: loss_cases(64)[:1]}
    monkeypatch.setattr(benchmarks, "_CASES", small)
    monkeypatch.setattr(benchmarks, "_GROWTH", {name: ("pixels", lambda: 1.0) for name in small})
    rows = list(benchmarks.rows(IDS["histology"], "", 7, {}, lambda said: None))
    assert [row["id"] for row in rows] == ["H1", "H1", "H2", "H2"]
    assert all(row.keys() >= FIELDS and row["correct"] for row in rows)


def test_the_sizes_are_those_of_the_goals_and_a_checkpoint_is_refused() -> None:
    assert (map_benchmarks.SIDE, map_benchmarks.COUNTS) == (512, (20, 95, 385))
    assert (loss_benchmarks.BATCH, loss_benchmarks.SIDE, loss_benchmarks.CHANNELS) == (4, 512, 32)
    with pytest.raises(ParameterError, match="--checkpoint: no benchmark of histology"):
        list(benchmarks.rows(["H1"], "folder", 7, {}, print))
