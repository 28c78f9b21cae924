"""The gates of E4 and E7, the rows of small runs of them, and the exponents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtl.studies.em import window_benchmarks
from mtl.studies.em.click_benchmarks import click_cases, click_rows, gate, workload
from mtl.studies.em.inference_benchmarks import inference_cases, scaling_rows
from mtl.studies.em.window_benchmarks import identity_gate, memory_row, window_cases
from mtl.timing import measure


@pytest.mark.parametrize("injection", ["late", "embedding", "target_head"])
def test_the_gate_of_a_click_passes_and_sees_other_weights(injection: str) -> None:
    made = workload(injection, features=4, shape=(8, 16, 16), clicks=4)
    assert "predictions off by" in gate(made, 4)
    runs = []

    def other_features_every_run(module: nn.Module, inputs: object, features: Tensor) -> Tensor:
        runs.append(1)
        return features * len(runs)

    made.model.backbone.register_forward_hook(other_features_every_run)
    with pytest.raises(AssertionError, match="predictions off by"):
        gate(made, 4)


@pytest.mark.slow
def test_rows_of_small_clicks() -> None:
    rows = measure(click_cases(4, (8, 16, 16), (8, 24, 24)), warm_up=1)
    assert [row["id"] for row in rows] == ["E4"] * 6
    assert all(row["correct"] and row["ratio"] > 0 for row in rows)
    growth = click_rows(4, [(8, 16, 16), (8, 24, 24), (12, 24, 24)])
    assert [len(row["sizes"]) for row in growth] == [5, 3]
    assert all(np.isfinite(row["exponent"]) for row in growth)


def test_rows_of_a_small_window() -> None:
    network = torch.nn.Conv3d(1, 3, 3, padding=1).eval()
    rows = measure(window_cases(network, (6, 20, 20), (4, 12, 12)), warm_up=1)
    assert [row["id"] for row in rows] == ["E7", "E7"]
    assert all(row["correct"] and row["ratio"] > 0 for row in rows)


def test_the_identity_gate_fails_on_weights_that_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).random((6, 20, 20), dtype=np.float32)
    assert "off by" in identity_gate(image, (4, 12, 12))
    blended = window_benchmarks.sliding_window
    monkeypatch.setattr(window_benchmarks, "sliding_window", lambda *a, **k: blended(*a, **k) * 1.01)
    with pytest.raises(AssertionError, match="identity network off by"):
        identity_gate(image, (4, 12, 12))


@pytest.mark.slow
def test_memory_of_the_window_does_not_grow_with_depth() -> None:
    row = memory_row(depths=(64, 128, 256), side=64)
    assert row["exponent"] < row["peer_exponent"] / 2
    assert len(row["ours_mib"]) == len(row["peer_mib"]) == 3


def test_only_the_rows_asked_for() -> None:
    assert {case.id for case in inference_cases(("E7",))} == {"E7"}
    assert inference_cases(()) == [] and scaling_rows(()) == []
