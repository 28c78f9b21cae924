"""Files that appear whole or not at all, and what a killed writer leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mtl.files import atomic_path, read_json, remove_halves, write_json
from mtl.training.stage_result import discard_result

WRITER = """
import os, signal, sys
from mtl.files import atomic_path
with atomic_path(sys.argv[1]) as half:
    half.write_text("{")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(target: Path) -> list[Path]:
    """What is left in the folder of ``target`` by a process that died in the middle of writing it."""
    code = subprocess.run([sys.executable, "-c", WRITER, str(target)], timeout=60).returncode
    assert code == -signal.SIGKILL
    return list(target.parent.glob(".*.part"))


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    target = tmp_path / "checkpoints" / "stage.json"
    write_json(target, {"epoch": 3})
    (dead,) = killed_while_writing(target)
    assert read_json(target) == {"epoch": 3}
    with atomic_path(target) as half:
        half.write_text("{}")
        remove_halves(tmp_path)
        assert half.exists() and not dead.exists()
    assert read_json(target) == {}
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_stage_that_goes_on_starts_without_halves(tmp_path):
    for name in ("stage.json", "history.parquet", "training_state.pt"):
        assert killed_while_writing(tmp_path / name)
    discard_result(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_exception_leaves_neither_half_nor_open_file(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"a": 1})
    before = psutil.Process().num_fds()
    for _ in range(3):
        with pytest.raises(ValueError, match="no"), atomic_path(target):
            raise ValueError("no")
    assert read_json(target) == {"a": 1} and list(tmp_path.iterdir()) == [target]
    assert psutil.Process().num_fds() == before
