"""What mtl bench prints."""

from __future__ import annotations

import json

import pytest

from mtl.reporting.bench_command import bench_study, table_text

ROW = {
    "id": "B3", "workload": "step", "peer": "two networks", "peer_s": 4.0, "ours_s": 2.0, "peer_gflop": 600.0,
    "ours_gflop": 500.0, "ratio": 2.0, "goal": 1.7, "correct": True, "difference": "equal", "control": 1.01,
}  # fmt: skip
NO_TIMES = dict.fromkeys(("peer_s", "ours_s", "ratio", "control"))
LIMITS = {"product_gflop_per_s": 260.0, "bfloat16_product_gflop_per_s": 500.0}


def test_times_rates_and_what_the_machine_could_do():
    text = table_text({"rows": [ROW], "limits": LIMITS})
    assert "4000.0 ms / 2000.0 ms = 2.00x (goal 1.70); the same twice 1.01" in text
    assert "150 GFLOP/s / 250 GFLOP/s" in text
    assert "260 GFLOP/s in float32, 500 in bfloat16" in text


def test_a_row_that_failed_its_gate_has_no_number():
    failed = ROW | NO_TIMES | {"correct": False, "difference": "masks differ"}
    text = table_text({"rows": [failed], "limits": LIMITS})
    assert "no number: masks differ" in text and "x (goal" not in text


def test_a_row_of_how_a_cost_grows_has_its_figure_and_no_ratio():
    text = table_text({"rows": [ROW | NO_TIMES | {"difference": "exponent 0.05"}], "limits": LIMITS})
    assert "    exponent 0.05" in text and "no number" not in text


def test_what_was_measured_is_not_lost_with_what_comes_later(tmp_path, monkeypatch):
    def rows(*_):
        yield ROW
        raise KeyboardInterrupt

    monkeypatch.setattr("mtl.studies.em.benchmarks.rows", rows)
    monkeypatch.setattr("mtl.timing.machine_limits", lambda: LIMITS)
    with pytest.raises(KeyboardInterrupt):
        bench_study("em", ["E1"], "", 7, tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text())["rows"] == [ROW]
