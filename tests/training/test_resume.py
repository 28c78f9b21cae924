"""A run killed at any moment ends with the numbers of an undisturbed one."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("toy_study.py")
EPOCHS, STEPS_PER_EPOCH = 6, 8


def run(folder: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def kill_points() -> list[tuple[str, int]]:
    """Two seeded steps (early and late) and one seeded save."""
    draw = random.Random(20261121)
    early, late = draw.randint(2, 20), draw.randint(25, EPOCHS * STEPS_PER_EPOCH - 1)
    return [("--kill-at-step", early), ("--kill-at-step", late), ("--kill-in-save", draw.randint(2, EPOCHS))]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, dict]:
    results = {}
    for balancer in ("uncertainty", "random"):
        done = run(tmp_path_factory.mktemp(balancer), "--balancer", balancer)
        assert done.returncode == 0, done.stderr
        results[balancer] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.mark.slow
@pytest.mark.parametrize("balancer", ["uncertainty", "random"])
@pytest.mark.parametrize(("option", "moment"), kill_points())
def test_killed_run_ends_with_the_same_numbers(tmp_path, undisturbed, balancer, option, moment):
    killed = run(tmp_path, "--balancer", balancer, option, str(moment))
    assert killed.returncode == -9
    assert not (tmp_path / "stage.json").exists()
    resumed = run(tmp_path, "--balancer", balancer)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout.splitlines()[-1]) == undisturbed[balancer]


@pytest.mark.slow
def test_the_average_of_the_weights_is_taken_up_too(tmp_path):
    whole = run(tmp_path / "whole", "--average", "0.95")
    assert run(tmp_path / "killed", "--average", "0.95", "--kill-at-step", "21").returncode == -9
    resumed = run(tmp_path / "killed", "--average", "0.95")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout.splitlines()[-1]) == json.loads(whole.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_run_with_other_settings_does_not_take_up_the_old_state(tmp_path, undisturbed):
    assert run(tmp_path, "--balancer", "random", "--kill-at-step", "30").returncode == -9
    other = run(tmp_path, "--balancer", "uncertainty")
    assert json.loads(other.stdout.splitlines()[-1]) == undisturbed["uncertainty"]
