"""A run killed by SIGKILL at three seeded moments, one of them while a training state is being written.

It ends with exactly the metrics of an undisturbed run; nothing survives a kill, nothing finished runs again.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from watched_processes import alive, command, wait_for

from mtl.training.checkpoints import load_training_state

ROOT = Path(__file__).resolve().parents[2]
SEED = 5
EPOCHS = 3  # of the joint stage
# A disk that stops half-way: the n-th training state of the joint stage loses half of its bytes and its write
# does not return. Every Python process of the run reads this, so it must be light.
STALLING_DISK = """
import os, time
fsync, wanted, seen = os.fsync, int(os.environ["STALL_AT"]), 0

def stalling(handle):
    global seen
    path = os.readlink(f"/proc/self/fd/{handle}")
    seen += "/joint/.training_state.pt." in path
    if seen == wanted:
        os.truncate(path, os.path.getsize(path) // 2)
        open(os.environ["STALLED"], "w").close()
        time.sleep(600)
    fsync(handle)

os.fsync = stalling
"""


@dataclass
class Run:
    """``mtl run brain_mri`` at smoke size into outputs of its own; every call is the same command."""

    outputs: Path

    @property
    def folder(self) -> Path:
        return self.outputs / "brain_mri" / "smoke"

    def start(self, **variables: str) -> subprocess.Popen:
        options = ["--params", "smoke", "-p", f"joint_epochs={EPOCHS}", "-p", f"output_root={self.outputs}"]
        return subprocess.Popen(
            [sys.executable, "-m", "mtl.cli", "run", "brain_mri", *options],
            cwd=ROOT, env={**os.environ, **variables}, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def notebooks(self) -> dict[str, dict]:
        """Entries of run.json; empty before there is one."""
        path = self.folder / "run.json"
        return json.loads(path.read_text())["notebooks"] if path.exists() else {}

    def finished(self) -> dict[str, int]:
        """Notebooks that ended well, and when their files were written."""
        names = [name for name, entry in self.notebooks().items() if entry["status"] == "ok"]
        return {name: (self.folder / "notebooks" / f"{name}.ipynb").stat().st_mtime_ns for name in names}

    def metrics(self) -> dict:
        return json.loads((self.folder / "metrics.json").read_text())


def complete(run: Run) -> str:
    """Let a call come to its end, which must be a good one; returns what it printed."""
    out, err = run.start().communicate(timeout=500)
    assert err == "" and {entry["status"] for entry in run.notebooks().values()} == {"ok"}, out + err
    return out


def kill_when(run: Run, moment: Callable[[], bool], **variables: str) -> None:
    """SIGKILL the runner at ``moment``; its workers and kernels have to go with it."""
    runner = run.start(**variables)
    try:
        wait_for(moment, runner)
        below = psutil.Process(runner.pid).children(recursive=True)
        assert any("ipykernel_launcher" in part for process in below for part in command(process))
    finally:
        runner.kill()
        runner.communicate(timeout=30)  # the pipes stay open while a worker or kernel lives
    _, left = psutil.wait_procs(below, timeout=20)
    assert not [process for process in left if alive(process)]


def inside(run: Run, notebook: str, after_seconds: float) -> Callable[[], bool]:
    """True from so many seconds on after a notebook has begun."""
    began: list[float] = []

    def now() -> bool:
        if not began and run.notebooks().get(notebook, {}).get("status") == "running":
            began.append(time.monotonic())
        return bool(began) and time.monotonic() - began[0] >= after_seconds

    return now


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("undisturbed"))
    complete(run)
    return run


@pytest.mark.slow
def test_a_run_killed_three_times_ends_with_the_metrics_of_an_undisturbed_one(undisturbed, tmp_path):
    rng = random.Random(SEED)
    run = Run(tmp_path / "outputs")
    seconds = {name: entry["seconds"] for name, entry in undisturbed.notebooks().items()}
    early = rng.choice(["01_data_and_sources", "02_warm_up"])
    late = rng.choice(["04_joint", "05_evaluation"])
    nth = rng.randint(2, EPOCHS)

    kill_when(run, inside(run, early, rng.uniform(0.2, 0.7) * seconds[early]))
    after_first = run.finished()
    assert "03_head" not in after_first

    stalled, joint = tmp_path / "stalled", run.folder / "checkpoints" / "fold_0" / "joint"
    kill_when(run, stalled.exists, **stalling_disk(tmp_path / "site", nth, stalled))
    after_second = run.finished()
    assert list(after_second) == ["01_data_and_sources", "02_warm_up", "03_head"]
    assert after_first.items() <= after_second.items()
    (half,) = joint.glob(".training_state.pt.*.part")
    assert 0 < half.stat().st_size < (joint / "training_state.pt").stat().st_size
    assert load_training_state(joint / "training_state.pt")["epoch"] == nth - 1

    kill_when(run, inside(run, late, rng.uniform(0.2, 0.7) * seconds[late]))
    after_third = run.finished()
    assert after_second.items() <= after_third.items()

    out = complete(run)
    assert f" to run, {len(after_third)} up to date" in out
    assert after_third.items() <= run.finished().items()
    assert run.metrics() == undisturbed.metrics()
    assert not list(run.folder.rglob("*.part"))


def stalling_disk(site: Path, nth: int, stalled: Path) -> dict[str, str]:
    """Variables of a call in which the joint stage's n-th training state is half-written when ``stalled``
    appears."""
    site.mkdir()
    (site / "sitecustomize.py").write_text(STALLING_DISK)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "STALL_AT": str(nth), "STALLED": str(stalled)}
