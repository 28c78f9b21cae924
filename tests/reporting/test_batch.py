"""Batches: order, resume, and every way in which a notebook, a kernel or a process can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from small_notebooks import save, text

from mtl.errors import MissingArtefactError, MtlError
from mtl.files import read_json
from mtl.reporting import cluster as cluster_module
from mtl.reporting.batch import run_notebooks
from mtl.reporting.cluster import worker_environments
from mtl.reporting.plan import in_dependency_order, stale_jobs
from mtl.reporting.status import notebook_status, read_status, update_notebook

RUNNER = """
import sys
from pathlib import Path
from mtl.reporting.batch import run_notebooks
from mtl.reporting.status import NotebookJob

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run = folder / "outputs" / "brain_mri" / "quick"
    names = sys.argv[2:]
    jobs = [NotebookJob("brain_mri", n, folder / f"{n}.ipynb", {}, run, (), "a") for n in names]
    print("ok" if run_notebooks(jobs, project_root=folder).ok else "not ok", flush=True)
"""


def finish(job) -> None:
    """As if the job had run."""
    for path in (job.executed, job.report):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    update_notebook(job, status="ok", fingerprint=job.fingerprint)


def wait_for(condition, seconds: float = 60.0):
    """The first true value of ``condition()``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def test_order_follows_needs_and_else_the_list(make_job) -> None:
    jobs = [make_job("04", "1", needs=("02", "03")), *[make_job(n, "1", needs=("01",)) for n in ("03", "02")]]
    assert [job.name for job in in_dependency_order([*jobs, make_job("01", "1")])] == ["01", "03", "02", "04"]


def test_jobs_that_make_no_sense_are_refused(make_job) -> None:
    with pytest.raises(MtlError, match="02 needs 01"):
        in_dependency_order([make_job("02", "1", needs=("01",))])
    with pytest.raises(MtlError, match="circle"):
        in_dependency_order([make_job("01", "1", needs=("02",)), make_job("02", "1", needs=("01",))])
    with pytest.raises(MtlError, match="same name"):
        in_dependency_order([make_job("01", "1"), make_job("01", "2")])


def test_what_is_stale(make_job) -> None:
    jobs = [make_job("01", "1"), make_job("02", "1", needs=("01",)), make_job("03", "1")]
    assert stale_jobs(jobs) == jobs
    for job in jobs:
        finish(job)
    assert stale_jobs(jobs) == []
    assert stale_jobs(jobs, force=True) == jobs
    changed = replace(jobs[0], fingerprint="b")
    assert [job.name for job in stale_jobs([changed, *jobs[1:]])] == ["01", "02"]
    jobs[2].report.unlink()
    assert stale_jobs(jobs) == [jobs[2]]
    update_notebook(jobs[1], status="failed")
    assert stale_jobs(jobs) == [jobs[1], jobs[2]]


def test_a_missing_notebook_and_a_silent_cluster_are_named(make_job, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job("01", "1")
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1.0)
    with pytest.raises(MtlError, match="no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        run_notebooks([job], cluster="tcp://127.0.0.1:9")
    assert notebook_status(job)["status"] == "skipped"
    with pytest.raises(MissingArtefactError, match="nowhere.ipynb"):
        run_notebooks([replace(job, notebook=Path("nowhere.ipynb"))])


def test_each_gpu_worker_sees_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [e["CUDA_VISIBLE_DEVICES"] for e in worker_environments(1, 3)] == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    assert [e["CUDA_VISIBLE_DEVICES"] for e in worker_environments(1, 2)] == ["4", "GPU-7"]
    with pytest.raises(MtlError, match="3 GPUs asked for"):
        worker_environments(1, 3)
    assert all("CUDA_VISIBLE_DEVICES" not in e for e in worker_environments(2, 0))


def test_end_to_end_and_again(make_job, tmp_path: Path) -> None:
    """One real batch: a result, a failure, what depends on it; then nothing but the failure again."""
    marks = tmp_path / "marks.txt"
    mark = f"open({str(marks)!r}, 'a').write('%s ')"
    fail = f"{mark % '02'}\nimport os\nif not os.path.exists('fixed'):\n    raise ValueError('no')"
    jobs = [
        make_job("01", mark % "01"),
        make_job("02", fail, needs=("01",)),
        make_job("03", mark % "03", needs=("02",)),
    ]
    events = []
    result = run_notebooks(jobs, on_update=events.append, project_root=tmp_path)

    assert [o.status for o in result.outcomes] == ["ok", "failed", "skipped"] and not result.ok
    failure = result.failures[0].failure
    assert (failure["cell"], failure["ename"], failure["evalue"]) == (1, "ValueError", "no")
    assert "open(" in failure["source"] and jobs[1].failed_copy.exists() and not jobs[1].executed.exists()
    assert "02 failed, cell 2" in result.summary() and "ValueError: no" in result.summary()
    assert read_status(jobs[0].run_directory)["status"] == "failed"
    assert jobs[0].report.exists() and (tmp_path / "outputs" / "index.html").exists()
    ended = [(e.job.name, e.entry["status"]) for e in events if e.kind == "ended"]
    assert ended == [("01", "ok"), ("02", "failed"), ("03", "skipped")]

    (tmp_path / "fixed").touch()
    again = run_notebooks(jobs, project_root=tmp_path)
    assert [(o.status, o.up_to_date) for o in again.outcomes] == [("ok", True), ("ok", False), ("ok", False)]
    assert marks.read_text().split() == ["01", "02", "02", "03"]
    assert not jobs[1].failed_copy.exists()

    third = run_notebooks(jobs, project_root=tmp_path)
    assert all(o.up_to_date for o in third.outcomes) and len(marks.read_text().split()) == 4


def test_only_the_page_is_made_again_when_only_page_making_changed(make_job, tmp_path: Path) -> None:
    job = make_job("01", "1")
    finish(job)
    save(job.executed, text("# A new page"))
    update_notebook(job, report_fingerprint="old")
    assert run_notebooks([job]).outcomes[0].up_to_date
    assert "A new page" in job.report.read_text()


@pytest.mark.slow
def test_a_killed_kernel_is_dead_not_completed(make_job, tmp_path: Path) -> None:
    dying = (
        "from mtl.files import atomic_path\nimport os\nwith atomic_path({!r}):\n    os.kill(os.getpid(), 9)"
    )
    metrics = str(make_job("02", "1").run_directory / "metrics.json")
    jobs = [make_job("01", "1", dying.format(metrics), "2"), make_job("02", "1")]
    result = run_notebooks(jobs, project_root=tmp_path)
    assert [o.status for o in result.outcomes] == ["dead", "ok"]
    entry = notebook_status(jobs[0])
    assert entry["failure"]["cell"] == 2 and "os.kill" in entry["failure"]["source"]
    assert jobs[0].failed_copy.exists() and not jobs[0].executed.exists()
    assert "did not finish" in jobs[0].report.read_text()
    assert not list(jobs[0].run_directory.glob(".*.part"))  # the notebook after it has cleared away


@pytest.mark.slow
def test_a_killed_worker_is_dead_and_the_rest_goes_on(make_job, tmp_path: Path) -> None:
    note = "import os, time\nopen('kernel', 'w').write(str(os.getpid()))"
    kill_parent = f"{note}\nos.kill(os.getppid(), 9)\ntime.sleep(60)"
    jobs = [make_job("01", kill_parent), make_job("02", "1", needs=("01",)), make_job("03", "1")]
    result = run_notebooks(jobs, workers=1, project_root=tmp_path)
    assert [o.status for o in result.outcomes] == ["dead", "skipped", "ok"]
    assert "worker" in result.outcomes[0].reason and "needs 01" in result.outcomes[1].reason
    kernel = int((tmp_path / "kernel").read_text())
    wait_for(lambda: not alive(kernel), 10)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_runner_leaves_no_process_and_can_go_on(
    make_job, tmp_path: Path, how: signal.Signals
) -> None:
    """The kernel is busy, with a child of its own, when the runner is killed."""
    stay = (
        "import os, pathlib, subprocess, sys, time\n"
        "if not os.path.exists('go'):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "    pathlib.Path('pids').write_text(f'{os.getpid()} {os.getppid()} {child.pid}')\n"
        "    time.sleep(600)"
    )
    job = make_job("01", stay)
    make_job("02", "1")
    script = tmp_path / "runner.py"
    script.write_text(RUNNER)
    command = [sys.executable, str(script), str(tmp_path), "01", "02"]
    runner = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        pids = wait_for(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().split())
        below = [p.pid for p in psutil.Process(runner.pid).children(recursive=True)]
        assert {int(pid) for pid in pids} <= set(below)
        os.killpg(runner.pid, how) if how == signal.SIGINT else runner.send_signal(how)
        assert runner.wait(30) != 0
    finally:
        runner.kill()
        runner.communicate()
    kernel, worker, child = (int(pid) for pid in pids)
    wait_for(lambda: not alive(kernel) and not alive(worker), 15)
    if how == signal.SIGKILL:  # nobody was left to end what the kernel itself had started
        os.kill(child, signal.SIGKILL)
    wait_for(lambda: not alive(child), 15)
    left = notebook_status(job)["status"]
    assert left == ("running" if how == signal.SIGKILL else "dead")

    (tmp_path / "go").touch()
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert again.stdout.strip() == "ok" and again.stderr == ""
    assert {e["status"] for e in read_json(job.run_directory / "run.json")["notebooks"].values()} == {"ok"}


@pytest.mark.slow
def test_an_existing_cluster_and_the_environment_of_its_kernels(make_job, tmp_path: Path) -> None:
    """A worker started by hand: its kernels get our allocator and threads, not Dask's."""
    from distributed import LocalCluster

    report = "import json, os\njson.dump(dict(os.environ), open('environment.json', 'w'))"
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        result = run_notebooks([make_job("01", report)], cluster.scheduler_address, project_root=tmp_path)
    assert result.ok
    environment = read_json(tmp_path / "environment.json")
    assert environment["OMP_NUM_THREADS"] == str(len(os.sched_getaffinity(0)))
    assert environment["PYTHONHASHSEED"] == "0"


@pytest.mark.slow
def test_gpu_workers_hand_their_card_to_the_kernel(make_job, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    source = "import os, time\ntime.sleep(2)\nopen(os.environ['CUDA_VISIBLE_DEVICES'] + '.card', 'w').close()"
    assert run_notebooks([make_job("01", source), make_job("02", source)], gpus=2, project_root=tmp_path).ok
    assert sorted(path.stem for path in tmp_path.glob("*.card")) == ["0", "1"]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
