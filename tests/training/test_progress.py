"""The heartbeat of a stage: one line for who watches, and nothing left of a process that was killed."""

from __future__ import annotations

import json

from mtl.training.progress import HEARTBEAT_VARIABLE, StageProgress


def test_a_heartbeat_tells_the_step_and_goes_with_what_a_killed_process_left_of_it(tmp_path, monkeypatch):
    heartbeat = tmp_path / "notebook.progress.json"
    half, other = tmp_path / ".notebook.progress.json.abc.part", tmp_path / ".run.json.abc.part"
    for file in (half, other):
        file.write_text("{")
    monkeypatch.setenv(HEARTBEAT_VARIABLE, str(heartbeat))
    progress = StageProgress("joint, fold 1 of 5", total=9, done=3)
    progress.advance()
    assert json.loads(heartbeat.read_text()) == {"label": "joint, fold 1 of 5", "done": 4, "total": 9}
    assert not half.exists() and other.exists()  # another file may have a writer
    progress.close()
    assert not heartbeat.exists()
