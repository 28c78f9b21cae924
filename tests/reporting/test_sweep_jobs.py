"""Points on a cluster: resume, retries after a kill, failures. A shell script stands in for the training."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import LocalCluster

from mtl.files import read_json
from mtl.reporting import sweep_process
from mtl.reporting.batch import run_notebooks
from mtl.reporting.gallery import find_runs
from mtl.reporting.plan import stale_jobs
from mtl.reporting.status import notebook_status, update_notebook
from mtl.reporting.sweep_jobs import PointJob, point_jobs
from mtl.reporting.sweep_plan import read_sweep_plan

# Counts its runs per point and does what the file "does" in the point's folder says.
STAND_IN = """#!/bin/sh
cd "$3"
echo run >> ran
what=$(cat does 2>/dev/null)
if [ "$what" = "is killed once" ] && [ $(wc -l < ran) -lt 2 ]; then kill -9 $$; fi
if [ "$what" = "is always killed" ]; then kill -9 $$; fi
if [ "$what" = "fails" ]; then
  echo '{"ename": "DataError", "evalue": "N2.jpg: cut off"}' > point.failure.json
  exit 1
fi
if [ "$what" = "cannot start" ]; then echo "no module named mtl"; exit 3; fi
echo '{"stage": "joint"}' > point.json
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    options = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as made:
        yield made.scheduler_address


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text(STAND_IN)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sweep_process.sys, "executable", str(script))


@pytest.fixture
def make_point(tmp_path: Path) -> Callable[..., PointJob]:
    def make(name: str, does: str = "", fingerprint: str = "a") -> PointJob:
        folder = tmp_path / "outputs" / "sweeps" / "mine"
        job = PointJob("brain_mri", name, tmp_path / "mine.yaml", {"seed": 0}, folder, (), fingerprint)
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "does").write_text(does)
        return job

    return make


def runs(job: PointJob) -> int:
    return len((job.folder / "ran").read_text().splitlines()) if (job.folder / "ran").exists() else 0


def test_finished_points_are_not_run_again_and_a_changed_one_is(cluster, stand_in, make_point):
    jobs = [make_point("a-seed0"), make_point("a-seed1"), make_point("b-seed0", does="fails")]
    first = run_notebooks(jobs, cluster)
    assert [outcome.status for outcome in first.outcomes] == ["ok", "ok", "failed"]
    assert [runs(job) for job in jobs] == [1, 1, 1]
    written = jobs[0].executed.stat().st_mtime_ns

    again = run_notebooks(
        [replace(jobs[0]), replace(jobs[1], fingerprint="b"), make_point("b-seed0")], cluster
    )
    assert again.ok and [runs(job) for job in jobs] == [1, 2, 2]
    assert [outcome.up_to_date for outcome in again.outcomes] == [True, False, False]
    assert jobs[0].executed.stat().st_mtime_ns == written


def test_a_killed_point_goes_on_by_itself_but_not_for_ever(cluster, stand_in, make_point):
    once, always = make_point("once", "is killed once"), make_point("always", "is always killed")
    events = []
    result = run_notebooks(
        [once, always], cluster, on_update=lambda e: events.append((e.kind, e.job and e.job.name))
    )
    assert [outcome.status for outcome in result.outcomes] == ["ok", "dead"]
    assert (runs(once), runs(always)) == (2, 3)
    assert events.count(("again", "once")) == 1 and events.count(("again", "always")) == 2
    assert "SIGKILL" in result.summary() and "failure" not in notebook_status(once)


@pytest.mark.parametrize(
    ("does", "expected"),
    [("fails", "DataError: N2.jpg: cut off"), ("cannot start", "exit code 3: no module named")],
)
def test_a_failing_point_is_run_once_and_says_why(cluster, stand_in, make_point, does, expected):
    job = make_point("a-seed0", does)
    result = run_notebooks([job], cluster)
    assert not result.ok and runs(job) == 1
    assert expected in result.summary()


def test_points_do_not_flood_the_gallery(cluster, stand_in, make_point):
    job = make_point("a-seed0")
    run_notebooks([job], cluster)
    root = job.run_directory.parents[1]
    assert find_runs(root) == []
    update_notebook(replace(job, name="01_sweep"), status="ok", title="Sweep")
    assert [card.name for run in find_runs(root) for card in run.cards] == ["01_sweep"]


def test_what_makes_a_point_stale(tmp_path):
    values = {"output_root": str(tmp_path)}
    before = point_jobs(read_sweep_plan("smoke", values))
    for job in before:
        job.folder.mkdir(parents=True)
        job.executed.write_text("{}")
        update_notebook(job, status="ok", fingerprint=job.fingerprint)
    assert stale_jobs(point_jobs(read_sweep_plan("smoke", values))) == []
    before[1].executed.unlink()
    assert [job.name for job in stale_jobs(point_jobs(read_sweep_plan("smoke", values)))] == [before[1].name]
    changed = point_jobs(read_sweep_plan("smoke", {**values, "joint_epochs": 3}))
    assert len(stale_jobs(changed)) == len(before) == len({job.fingerprint for job in before})
    moved = point_jobs(read_sweep_plan("smoke", {"output_root": str(tmp_path / "elsewhere")}))
    assert [job.fingerprint for job in moved] == [job.fingerprint for job in before]
    assert read_json(before[0].run_directory / "run.json")["status"] == "ok"
