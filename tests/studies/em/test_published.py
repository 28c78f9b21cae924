"""Rows for the README's table: accepted by ``publish``, with their units."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mtl.evaluation.statistics import Estimate
from mtl.files import read_json, write_json
from mtl.reporting.metrics_file import write_metrics
from mtl.reporting.published import publish, results_table_text
from mtl.studies.em.published import published_clicks, published_segmentations


@pytest.fixture
def study() -> SimpleNamespace:
    return SimpleNamespace(
        volume=SimpleNamespace(name="cube"), parameters=SimpleNamespace(volume="cube.h5", dims=3)
    )


def test_both_sections_make_one_table(study, tmp_path):
    run = tmp_path / "em" / "real"
    error, dice = Estimate(0.2, 0.1, 0.3, 27, "block"), Estimate(0.8, 0.7, 0.9, 30, "object")
    nothing = Estimate(None, None, None, 0, "object", "no object")
    rows = published_segmentations(study, error, {"late": error, "target_head": error})
    write_metrics(run, "published_segmentations", rows)
    figures = {"late": {"dice@0": dice, "dice@3": dice, "noc@85": nothing, "auc": dice}}
    figures["target_head"] = {"dice@0": dice}
    write_metrics(run, "published_clicks", published_clicks(study, figures))
    write_json(run / "run.json", {"status": "ok", "notebooks": {}})
    write_json(run / "provenance.json", {"date": "2026-11-21", "hardware": {"cpu": "Xeon", "cores": 2}})
    record = read_json(publish(run, tmp_path / "published"))
    assert record["title"] == "EM, real tissue (cube), 3-D" and len(record["rows"]) == 6
    table = results_table_text(tmp_path / "published")
    assert "| | cube: adapted Rand error (n = 27 blocks) | cube: Dice, no click (n = 30 objects) |" in table
    assert "| late | 0.20 [0.10, 0.30] | 0.80 [0.70, 0.90] | 0.80 [0.70, 0.90] |" in table
    assert "| target head | 0.20 [0.10, 0.30] | 0.80 [0.70, 0.90] | – |" in table  # one row, not two
    assert "| intensity watershed | 0.20 [0.10, 0.30] | – | – |" in table and "NoC" not in table
