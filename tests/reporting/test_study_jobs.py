"""Which notebooks a run has, what each waits for, and which studies are looked at before a long run."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl.errors import DataError
from mtl.reporting import preflight
from mtl.reporting.status import NotebookJob
from mtl.reporting.study_jobs import notebook_jobs, study_notebooks

ROOT = Path(__file__).resolve().parents[2]


def test_the_report_of_a_sweep_is_left_to_the_sweep():
    every = {path.stem for path in (ROOT / "notebooks" / "methods").glob("*.ipynb")}
    assert {path.stem for path in study_notebooks("methods")} == every - {"01_sweep"}


def test_notebooks_of_a_study_wait_for_each_other_and_tutorials_do_not(tmp_path):
    stages = notebook_jobs("brain_mri", "smoke", {"output_root": str(tmp_path)})
    assert [job.needs for job in stages[1:]] == [(job.name,) for job in stages[:-1]]
    tutorials = notebook_jobs("methods", "smoke", {"output_root": str(tmp_path)})
    assert len(tutorials) >= 2 and {job.needs for job in tutorials} == {()}


def test_every_notebook_of_a_parameter_file_has_expected_seconds(tmp_path):
    for study in ("brain_mri", "methods"):
        for name in ("smoke", "quick"):
            jobs = notebook_jobs(study, name, {"output_root": str(tmp_path)})
            assert all(job.expected_seconds for job in jobs), (study, name)


@pytest.mark.parametrize(("study", "looked_at"), [("brain_mri", True), ("em", True), ("methods", False)])
def test_only_studies_with_a_forecast_are_looked_at(monkeypatch, study, looked_at):
    monkeypatch.setattr(preflight, "preflight", lambda study, *_: study)
    monkeypatch.setattr(preflight, "preflight_text", lambda found: f"forecast of {found}")
    job = NotebookJob(study=study, name="x", notebook=Path("x.ipynb"), parameters={}, run_directory=Path("x"))
    assert list(preflight.long_runs([job], "mine.yaml", {})) == [f"forecast of {study}"] * looked_at


def test_other_weights_behind_the_same_name_make_a_notebook_stale(tmp_path):
    weights = tmp_path / "weights.pth"
    given = {"output_root": str(tmp_path), "pretrained": str(weights)}
    with pytest.raises(DataError, match="'pretrained': there is no .*weights.pth"):
        notebook_jobs("methods", "smoke", given)
    found = []
    for content in ("one", "another"):
        weights.write_text(content)
        found.append([job.fingerprint for job in notebook_jobs("methods", "smoke", given)])
    assert found[0] != found[1]
