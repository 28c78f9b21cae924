"""Annotations: every action is on the disk before it counts, and reopening shows them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mtl.errors import DataError, ParameterError
from mtl.inference.histology.annotation_session import JOURNAL, AnnotationSession

SHAPES = {"a": (8, 9), "b": (5, 5)}


def box(top: int, left: int, side: int = 3, shape: tuple[int, int] = (8, 9)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_actions_become_instances_rejections_and_counts(tmp_path: Path) -> None:
    session = AnnotationSession(tmp_path, SHAPES)
    session.add("a", box(0, 0))
    session.accept("a", box(0, 2), confidence=0.9)
    session.reject("a", box(5, 5))
    session.add("b", box(1, 1, shape=(5, 5)))
    labels = session.instances("a")
    assert np.array_equal(labels == 1, box(0, 0)), "pixels stay with the nucleus that had them first"
    assert (labels == 2).sum() == 6 and labels.max() == 2
    assert np.array_equal(session.rejected("a"), box(5, 5)) and not session.rejected("b").any()
    assert session.counts() == {"accept": 1, "reject": 1, "add": 2, "outlined": 3}
    assert session.entries[1].note == {"confidence": 0.9}


def test_reopening_shows_every_action_and_undo_holds(tmp_path: Path) -> None:
    session = AnnotationSession(tmp_path, SHAPES)
    for top in (0, 4):
        session.add("a", box(top, 0), nucleus=top)
    session.undo()
    session.accept("a", box(0, 5))
    again = AnnotationSession(tmp_path, SHAPES)
    assert again.entries == session.entries and len(again.entries) == 2
    assert np.array_equal(again.instances("a"), session.instances("a"))
    assert AnnotationSession(tmp_path / "new", SHAPES).undo() is None


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    session = AnnotationSession(tmp_path, SHAPES)
    session.add("a", box(0, 0))
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"action": "add", "tile": "a", "ru')
    again = AnnotationSession(tmp_path, SHAPES)
    again.add("a", box(4, 4))
    assert len(AnnotationSession(tmp_path, SHAPES).entries) == 2


def test_what_cannot_be_recorded_is_refused_and_leaves_no_line(tmp_path: Path) -> None:
    session = AnnotationSession(tmp_path, SHAPES)
    session.add("a", box(0, 0))
    for tile, mask, message in (
        ("c", box(0, 0), "unknown tile 'c'"),
        ("b", box(0, 0), r"mask has shape \(8, 9\)"),
        ("a", np.zeros((8, 9), bool), "is empty"),
        ("a", box(0, 0), "outlined already"),
    ):
        with pytest.raises(ParameterError, match=message):
            session.add(tile, mask)
    assert len(AnnotationSession(tmp_path, SHAPES).entries) == 1


def test_a_journal_of_other_tiles_or_of_no_sense_is_named(tmp_path: Path) -> None:
    AnnotationSession(tmp_path, SHAPES).add("a", box(0, 0))
    with pytest.raises(DataError, match=r"journal\.jsonl, line 1: .*unknown tile 'a'"):
        AnnotationSession(tmp_path, {"b": (5, 5)})
    for line in (
        "nonsense", "[]", "3",
        '{"action": "paint", "tile": "a", "runs": [[0, 1]], "note": {}}',
        '{"action": "add", "tile": "a", "runs": [[0, 1]], "note": 3}',
        '{"action": "add", "tile": "a", "runs": [[0, 99999]], "note": {}}',
        '{"action": "add", "tile": "a", "runs": [[-3, 2]], "note": {}}',
        '{"action": "add", "tile": "a", "runs": [[3, 0]], "note": {}}',
    ):  # fmt: skip
        (tmp_path / JOURNAL).write_text(f"{line}\n")
        with pytest.raises(DataError, match="line 1: not an action of these tiles"):
            AnnotationSession(tmp_path, SHAPES)


@pytest.mark.slow
def test_a_killed_process_loses_no_confirmed_action(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from mtl.inference.histology.annotation_session import AnnotationSession\n"
        "session = AnnotationSession(sys.argv[1], {'a': (1, 10_000)})\n"
        "for k in range(10_000):\n"
        "    mask = np.zeros((1, 10_000), bool); mask[0, k] = True\n"
        "    session.add('a', mask); print(k, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    for _ in range(25):
        confirmed = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(AnnotationSession(tmp_path, {"a": (1, 10_000)}).entries) >= confirmed + 1
