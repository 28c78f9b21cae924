"""The forecast counts the steps that training makes, for every stage, and leaves nothing behind."""

from __future__ import annotations

import pytest

from mtl.errors import MtlError
from mtl.reporting.preflight import is_long, preflight, preflight_text
from mtl.reporting.study_jobs import notebook_jobs
from mtl.studies import parameters_class
from mtl.studies.brain_mri.forecast import forecast
from mtl.studies.brain_mri.study import BrainMriStudy

SMALL = {"image_size": 48, "base_filters": 2, "depth": 2, "phantom_patients": 24, "batch_size": 4}


def test_steps_are_those_of_training_and_every_stage_is_there(tmp_path):
    values = SMALL | {
        "warm_up_epochs": 2,
        "joint_epochs": 3,
        "balancer": "pcgrad",
        "output_root": str(tmp_path),
    }
    study = BrainMriStudy(parameters_class("brain_mri").from_values(values, "test"))
    found = forecast(study, n_steps=2)
    rows = {row["stage"]: row for row in found["stages"]}
    assert list(rows) == ["warm_up", "head", "joint"]
    result = study.train("warm_up")[0]
    assert rows["warm_up"]["steps"] == result.steps
    assert found["minutes"] == pytest.approx(sum(row["minutes"] for row in rows.values()))
    assert all(row["minutes"] * 60 >= row["steps"] * row["seconds_per_step"] > 0 for row in rows.values())
    assert found["memory_gib"] > 0.05 and found["device"] == "cpu" and found["gpu_memory_gib"] is None


def test_only_long_or_unknown_runs_are_looked_at_beforehand():
    quick, real = (notebook_jobs("brain_mri", name, {"data_root": ""}) for name in ("quick", "real"))
    assert not is_long(quick) and not is_long([]) and is_long(real)


@pytest.mark.slow
def test_preflight_runs_in_a_process_of_its_own_and_says_why_it_cannot():
    text = preflight_text(preflight("brain_mri", "smoke", {}))
    assert "min of training on" in text and "joint" in text
    with pytest.raises(MtlError, match="preflight of brain_mri.*no_such_place"):
        preflight("brain_mri", "smoke", {"data_root": "/no_such_place"})
