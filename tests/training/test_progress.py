"""The heartbeat of a stage: one line for who watches; the bar of a notebook."""

from __future__ import annotations

import json

import nbformat
from nbclient import NotebookClient

from mtl.training.progress import HEARTBEAT_VARIABLE, StageProgress


def test_a_heartbeat_tells_the_step(tmp_path, monkeypatch):
    heartbeat = tmp_path / "notebook.progress.json"
    monkeypatch.setenv(HEARTBEAT_VARIABLE, str(heartbeat))
    progress = StageProgress("joint, fold 1 of 5", total=9, done=3)
    progress.advance()
    assert json.loads(heartbeat.read_text()) == {"label": "joint, fold 1 of 5", "done": 4, "total": 9}
    progress.close()
    assert not heartbeat.exists()


def test_a_notebook_keeps_nothing_of_a_bar(monkeypatch):
    """No widget either, which would be missing where the notebook is opened again."""
    monkeypatch.delenv(HEARTBEAT_VARIABLE, raising=False)
    code = "from mtl.training.progress import StageProgress\nbar = StageProgress('joint', 4, done=2)"
    cells = [nbformat.v4.new_code_cell(text) for text in (code, "bar.advance(); bar.close()")]
    client = NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=60)
    with client.setup_kernel():
        client.execute_cell(cells[0], 0)
        assert [list(output.data) for output in cells[0].outputs] == [["text/plain"]]
        assert cells[0].outputs[0].data["text/plain"].startswith("joint:  50%|█████     | 2/4")
        client.execute_cell(cells[1], 1)
    assert cells[0].outputs[0].data == {"text/plain": ""} and cells[1].outputs == []
