"""The heartbeat of a stage: one line for who watches."""

from __future__ import annotations

import json

from mtl.training.progress import HEARTBEAT_VARIABLE, StageProgress


def test_a_heartbeat_tells_the_step(tmp_path, monkeypatch):
    heartbeat = tmp_path / "notebook.progress.json"
    monkeypatch.setenv(HEARTBEAT_VARIABLE, str(heartbeat))
    progress = StageProgress("joint, fold 1 of 5", total=9, done=3)
    progress.advance()
    assert json.loads(heartbeat.read_text()) == {"label": "joint, fold 1 of 5", "done": 4, "total": 9}
    progress.close()
    assert not heartbeat.exists()
