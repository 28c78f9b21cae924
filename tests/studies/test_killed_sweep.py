"""A sweep whose worker, and later whose runner, is killed by SIGKILL in the middle of a point.

It ends with exactly the comparison of an undisturbed sweep, and nothing that was finished is trained again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest
from watched_processes import alive, command, wait_for

from mtl.reporting.check import check_run

ROOT = Path(__file__).resolve().parents[2]
POINTS = ["plain-seed0", "fast-seed0", "plain-seed1", "fast-seed1"]


@dataclass
class Sweep:
    """``mtl sweep smoke`` into outputs of its own; every call is the same command."""

    outputs: Path

    @property
    def folder(self) -> Path:
        return self.outputs / "sweeps" / "smoke"

    def point(self, name: str) -> Path:
        return self.folder / "points" / "brain_mri" / name

    def start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "mtl.cli", "sweep", "smoke", "-p", f"output_root={self.outputs}"]
        return subprocess.Popen(
            [*command, "-p", "joint_epochs=4"], cwd=ROOT, env=os.environ, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finished(self) -> dict[str, int]:
        """Points that are finished, and when their records were written."""
        files = {name: self.point(name) / "point.json" for name in POINTS}
        return {name: file.stat().st_mtime_ns for name, file in files.items() if file.exists()}

    def stage_record(self, point: str, stage: str) -> Path:
        return self.point(point) / "checkpoints" / "fold_0" / stage / "stage.json"

    def comparison(self) -> dict:
        return json.loads((self.folder / "comparison.json").read_text())

    def predictions(self) -> pd.DataFrame:
        columns = ["id", "tumor_prob", "dice", "threshold", "test_hash"]
        tables = {name: pd.read_parquet(self.point(name) / "predictions/joint.parquet") for name in POINTS}
        return pd.concat({name: table[columns] for name, table in tables.items()})


def complete(sweep: Sweep) -> str:
    """Let a call come to its end, which must be a good one; returns what it printed."""
    runner = sweep.start()
    out, err = runner.communicate(timeout=800)
    assert runner.returncode == 0 and err == "", out + err
    return out


def point_process(runner: subprocess.Popen) -> psutil.Process:
    """The process that trains a point now."""
    below = psutil.Process(runner.pid).children(recursive=True)
    (found,) = [process for process in below if "mtl.reporting.sweep_point" in command(process)]
    return found


@pytest.mark.slow
def test_a_sweep_survives_the_death_of_a_worker_and_of_its_runner(tmp_path):
    undisturbed, sweep = Sweep(tmp_path / "undisturbed"), Sweep(tmp_path / "killed")
    complete(undisturbed)

    runner = sweep.start()
    try:
        # The worker dies in the middle of the second point: the sweep goes on without anybody's help.
        second = sweep.stage_record(POINTS[1], "warm_up")
        wait_for(second.exists, runner)
        warm_up = second.stat().st_mtime_ns
        after_first = sweep.finished()
        assert list(after_first) == POINTS[:1]
        training = point_process(runner)
        training.parent().kill()
        psutil.wait_procs([training], timeout=20)
        assert not alive(training)
        wait_for((sweep.point(POINTS[1]) / "point.json").exists, runner)
        assert second.stat().st_mtime_ns == warm_up  # the stage that was finished was not trained again

        # The runner dies in the middle of the third: nothing is left behind.
        third = sweep.stage_record(POINTS[2], "warm_up")
        wait_for(third.exists, runner)
        warm_up = third.stat().st_mtime_ns
        below = psutil.Process(runner.pid).children(recursive=True)
    finally:
        runner.kill()
        out = runner.communicate(timeout=30)[0]
    _, left = psutil.wait_procs(below, timeout=20)
    assert not [process for process in left if alive(process)]
    assert f"{POINTS[1]:<28} was killed; it goes on" in out
    after_second = sweep.finished()
    assert list(after_second) == POINTS[:2] and after_first.items() <= after_second.items()

    out = complete(sweep)
    assert "2 points to run, 2 up to date" in out
    assert after_second.items() <= sweep.finished().items() and list(sweep.finished()) == POINTS
    assert third.stat().st_mtime_ns == warm_up
    pd.testing.assert_frame_equal(sweep.predictions(), undisturbed.predictions())
    assert sweep.comparison() == undisturbed.comparison()
    assert not list(sweep.folder.rglob("*.part"))
    assert check_run(sweep.folder) == {}

    files = [*sweep.folder.rglob("*.ipynb"), *sweep.folder.rglob("point.json")]
    before = {path: path.stat().st_mtime_ns for path in files}
    complete(sweep)
    assert {path: path.stat().st_mtime_ns for path in files} == before
