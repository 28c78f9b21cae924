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
    assert all(row["minutes_of"]["validation"] > 0 for row in rows.values())
    assert [name for name, row in rows.items() if "gradient diagnostics" in row["minutes_of"]] == ["joint"]


def row(stage, minutes_of, **values):
    minutes = sum(minutes_of.values())
    whole = {
        "folds": 1,
        "steps": 1200,
        "seconds_per_step": 0.25,
        "minutes_of": minutes_of,
        "minutes": minutes,
    }
    return {"stage": stage, **whole, **values}


def test_the_text_has_a_row_per_stage_and_no_column_that_says_nothing():
    rows = [row("late", {"training": 5.0, "tuning": 0.5}), row("no_geometry", {"training": 240.0})]
    found = {
        "stages": rows, "minutes": 245.5, "memory_gib": 1.25, "gpu_memory_gib": None, "device": "cpu",
        "not_counted": "figures",
    }  # fmt: skip
    assert preflight_text(found).splitlines() == [
        "Preflight: about 4.1 h on cpu, 1.2 GiB of memory",
        "               steps  per step  training  tuning   in all",
        "  late         1,200    0.25 s   5.0 min    30 s  5.5 min",
        "  no_geometry  1,200    0.25 s     4.0 h            4.0 h",
        "Not counted: figures",
    ]
    found |= {"stages": [row("warm_up", {"training": 5.0}, folds=3)], "gpu_memory_gib": 0.5, "device": "H100"}
    text = preflight_text(found)
    assert "on H100, 1.2 GiB of memory, 0.5 GiB on the GPU" in text
    assert text.splitlines()[1].split() == ["folds", "steps", "per", "step", "training", "in", "all"]
    assert text.splitlines()[2].split()[:3] == ["warm_up", "3", "1,200"]


def test_only_long_or_unknown_runs_are_looked_at_beforehand():
    quick, real = (notebook_jobs("brain_mri", name, {"data_root": ""}) for name in ("quick", "real"))
    assert not is_long(quick) and not is_long([]) and is_long(real)


@pytest.mark.slow
@pytest.mark.parametrize(("study", "stage"), [("brain_mri", "joint"), ("em", "no_geometry")])
def test_preflight_runs_in_a_process_of_its_own(study, stage):
    text = preflight_text(preflight(study, "smoke", {}))
    assert text.startswith("Preflight: about ") and f"\n  {stage} " in text and "\nNot counted: " in text


@pytest.mark.slow
def test_preflight_says_why_it_cannot():
    with pytest.raises(MtlError, match="preflight of brain_mri.*no_such_place"):
        preflight("brain_mri", "smoke", {"data_root": "/no_such_place"})
