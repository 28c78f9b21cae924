"""Every notebook runs at smoke size, leaves a flawless report, and is not run again without need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from mtl.reporting.check import check_run
from mtl.reporting.kernel_environment import THREADS, kernel_environment
from mtl.reporting.study_jobs import study_notebooks
from mtl.studies import STUDIES

ROOT = Path(__file__).resolve().parents[2]


def own_threads() -> dict[str, str]:
    """This process's environment, with its share of the cores where tests run side by side."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    share = str(max(1, len(os.sched_getaffinity(0)) // workers))
    return {**os.environ, **(dict.fromkeys(THREADS, share) if workers > 1 else {})}


def mtl_run(study: str, outputs: Path, *options: str) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "mtl.cli",
        "run",
        study,
        "--params",
        "smoke",
        "--no-preflight",
        "-p",
        f"output_root={outputs}",
    ]
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=800, cwd=ROOT, env=own_threads()
    )


#: What a study's notebooks stand on: finished runs of others, which are not trained again.
STANDS_ON = {"demos": ("brain_mri", "em", "histology", "angiography")}


class SmokeRuns(dict[str, tuple[Path, SimpleNamespace]]):
    """Study to its run's folder and process; a study is run when it is first asked for, once for all workers.

    outputs: a folder that they share.
    """

    def __init__(self, outputs: Path) -> None:
        super().__init__()
        self.outputs = outputs

    def __missing__(self, study: str) -> tuple[Path, SimpleNamespace]:
        for other in STANDS_ON.get(study, ()):
            self[other]
        record = self.outputs / f"{study}.json"
        with FileLock(f"{record}.lock"):
            if not record.exists():
                done = mtl_run(study, self.outputs)
                found = {name: getattr(done, name) for name in ("returncode", "stdout", "stderr")}
                record.write_text(json.dumps(found))
        self[study] = self.outputs / study / "smoke", SimpleNamespace(**json.loads(record.read_text()))
        return self[study]


@pytest.fixture(scope="session")
def smoke_runs(tmp_path_factory) -> SmokeRuns:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of this run, shared by its workers
    (folder / "smoke_runs").mkdir(exist_ok=True)
    return SmokeRuns(folder / "smoke_runs")


class SmokeRun:
    """What holds of a study's notebooks; a class for each study, so that processes can share them out."""

    study: str

    def test_all_notebooks_run(self, smoke_runs):
        run, done = smoke_runs[self.study]
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        names = {path.stem for path in study_notebooks(self.study)}
        assert {path.stem for path in (run / "reports").glob("*.html")} == names
        record = json.loads((run / "run.json").read_text())
        assert {entry["status"] for entry in record["notebooks"].values()} == {"ok"}

    def test_reports_are_flawless(self, smoke_runs):
        assert check_run(smoke_runs[self.study][0]) == {}

    def test_a_run_leaves_everything_that_its_numbers_come_from(self, smoke_runs):
        run = smoke_runs[self.study][0]
        provenance = json.loads((run / "provenance.json").read_text())
        needed = {
            "parameters",
            "seed",
            "packages",
            "git_commit",
            "data_fingerprint",
            "hardware",
            "environment",
        }
        assert needed <= provenance.keys()
        assert json.loads((run / "metrics.json").read_text())
        trained = run.parent.parent if self.study == "demos" else run  # demos train in their studies' runs
        assert list(run.rglob("predictions/*.parquet")) and list(trained.rglob("tensorboard/**/events*"))
        assert (run.parent.parent / "index.html").exists()

    def test_kernels_get_the_cores_and_the_allocator_setting_and_the_record_says_so(
        self, smoke_runs, monkeypatch
    ):
        """Dask sets one thread and a small trim threshold for its own processes, not for kernels."""
        record = json.loads((smoke_runs[self.study][0] / "provenance.json").read_text())["environment"]
        for name in THREADS:
            if name in own_threads():
                monkeypatch.setenv(name, own_threads()[name])
        expected = kernel_environment(workers=1)
        assert record["OMP_NUM_THREADS"] == expected["OMP_NUM_THREADS"]
        assert record.get("MALLOC_TRIM_THRESHOLD_") == expected.get("MALLOC_TRIM_THRESHOLD_")

    def test_a_second_call_runs_nothing(self, smoke_runs):
        run = smoke_runs[self.study][0]
        executed = {path: path.stat().st_mtime_ns for path in (run / "notebooks").glob("*.ipynb")}
        again = mtl_run(self.study, run.parent.parent)
        assert again.returncode == 0, again.stdout + again.stderr
        assert {path: path.stat().st_mtime_ns for path in (run / "notebooks").glob("*.ipynb")} == executed


for _study in sorted(STUDIES, key=STANDS_ON.__contains__):  # last what waits for others
    _name = f"Test_{_study}"
    globals()[_name] = pytest.mark.notebooks(type(_name, (SmokeRun,), {"study": _study}))


def papermill(study: str, notebook: str, out: Path, *options: str) -> subprocess.CompletedProcess:
    source = next((ROOT / "notebooks" / study).glob(f"{notebook}*.ipynb"))
    command = [sys.executable, "-m", "papermill", str(source), str(out), "--no-progress-bar", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=own_threads())


@pytest.mark.notebooks
def test_raw_papermill_runs_a_notebook_with_a_parameter_file(tmp_path):
    out = tmp_path / "out.ipynb"
    options = [
        "-f",
        "params/brain_mri/smoke.yaml",
        "-p",
        "output_root",
        str(tmp_path),
        "-p",
        "augment",
        "false",
    ]
    done = papermill("brain_mri", "01", out, *options)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "brain_mri" / "smoke" / "metrics.json").read_text())["data_and_sources"]


@pytest.mark.notebooks
@pytest.mark.parametrize(("study", "notebook"), [("brain_mri", "01"), ("methods", "04")])
def test_raw_papermill_refuses_an_unknown_parameter_by_name(tmp_path, study, notebook):
    done = papermill(study, notebook, tmp_path / "out.ipynb", "-p", "image_sise", "64")
    assert done.returncode != 0
    assert "unknown parameter 'image_sise'; did you mean 'image_size'?" in done.stderr


@pytest.mark.slow
@pytest.mark.notebooks
def test_a_notebook_without_its_forerunner_names_it(tmp_path):
    options = ["-f", "params/brain_mri/smoke.yaml", "-p", "output_root", str(tmp_path)]
    done = papermill("brain_mri", "03", tmp_path / "out.ipynb", *options)
    assert done.returncode != 0
    assert "run notebook 02_warm_up first" in done.stderr
