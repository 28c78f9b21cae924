"""Proofreading: what each action does to the labels, and that none that was confirmed is ever lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import DataError, ParameterError
from mtl.inference.em.label_edits import parted_by_seeds
from mtl.inference.em.proofreading import JOURNAL, START, Proofreading

SHAPE = (4, 8, 10)


def start() -> np.ndarray:
    """Objects 1 (left), 2 (right) and 5 (a voxel)."""
    labels = np.zeros(SHAPE, np.int64)
    labels[:, :, :4], labels[:, :, 5:9], labels[0, 0, 9] = 1, 2, 5
    return labels


def cube(z: int, y: int, x: int, side: int = 3) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[z : z + side, y : y + side, x : x + side] = True
    return mask


def test_an_accepted_object_takes_voxels_from_segments_but_not_from_accepted_ones(tmp_path: Path) -> None:
    work = Proofreading(tmp_path, start())
    first = work.accept(cube(0, 0, 2))
    second = work.accept(cube(0, 0, 4), clicks=[[0, 1, 5, 1]])
    assert (first, second) == (6, 7) and work.accepted == {6, 7}
    assert np.array_equal(work.labels == first, cube(0, 0, 2)), "kept where the second one overlaps it"
    assert np.array_equal(work.labels == second, cube(0, 0, 4) & ~cube(0, 0, 2))
    assert (work.labels == 1).sum() == 4 * 8 * 4 - (cube(0, 0, 2) & (start() == 1)).sum()
    assert work.history[1].note == {"clicks": [[0, 1, 5, 1]]}
    assert work.counts()["accepted"] == 2 and work.counts()["objects"] == 5


def test_a_better_version_replaces_an_object_also_outside_of_its_box(tmp_path: Path) -> None:
    work = Proofreading(tmp_path, start())
    number = work.accept(cube(0, 0, 2))
    box = (slice(0, 2), slice(0, 2), slice(None))
    assert work.accept(cube(0, 0, 3, side=2)[box], box, replaces=number) == number
    assert np.array_equal(work.labels == number, cube(0, 0, 3, side=2))
    assert work.labels[2, 2, 2] == 0


def test_merge_split_and_remove(tmp_path: Path) -> None:
    work = Proofreading(tmp_path, start())
    assert work.merge([2, 1]) == 2
    assert set(np.unique(work.labels)) == {0, 2, 5} and work.accepted == {2}
    work.remove(2)
    assert set(np.unique(work.labels)) == {0, 5} and work.accepted == set()
    assert [deed.name for deed in work.history] == ["merge", "remove"]
    assert work.history[0].others == (1,)


def test_split_cuts_a_dumbbell_at_its_neck(tmp_path: Path) -> None:
    y, x = np.mgrid[:21, :41]
    balls = ((y - 10) ** 2 + (x - 10) ** 2 < 64) | ((y - 10) ** 2 + (x - 30) ** 2 < 64)
    dumbbell = balls | ((abs(y - 10) < 2) & (x > 10) & (x < 30))
    work = Proofreading(tmp_path, 3 * dumbbell.astype(np.int32))
    ids = work.split([[(10, 8)], [(12, 33), (7, 30)]])
    assert ids == (3, 4) and np.array_equal(work.labels > 0, dumbbell)
    assert (work.labels[:, :18][dumbbell[:, :18]] == 3).all()
    assert (work.labels[:, 23:][dumbbell[:, 23:]] == 4).all()
    assert work.accepted == set() and work.history[0].others == (4,)
    work.accept(work.labels == 3, replaces=3)
    assert work.split([[(10, 5)], [(10, 12)]]) == (3, 5) and work.accepted == {3, 5}


def test_the_cut_heeds_spacing() -> None:
    """Two seeds in a slab whose planes are far apart: the border is half way in nm."""
    inside = np.ones((9, 9), bool)
    parts = parted_by_seeds(inside, [[(0, 4)], [(8, 4)]], (10.0, 1.0))
    assert set(np.unique(parts)) == {1, 2} and (parts[0] == 1).all() and (parts[8] == 2).all()


def test_a_piece_without_a_seed_goes_to_the_nearest_part() -> None:
    inside = np.zeros((3, 20), bool)
    inside[:, :8] = inside[:, 9:16] = inside[:, 18:] = True
    parts = parted_by_seeds(inside, [[(1, 1)], [(1, 12)]], (1.0, 1.0))
    assert (parts[:, 18:] == 2).all() and (parts[:, :8] == 1).all() and np.array_equal(parts > 0, inside)


def test_reopening_shows_every_action_and_undo_goes_back(tmp_path: Path) -> None:
    work = Proofreading(tmp_path, start())
    work.accept(cube(0, 0, 2))
    before = work.labels.copy()
    work.merge([1, 2])
    undone = work.undo()
    assert undone is not None and undone.name == "merge"
    work.split([[(3, 0, 6)], [(3, 7, 8)]])
    again = Proofreading(tmp_path, start())
    assert again.history == work.history and again.accepted == work.accepted == {6}
    assert np.array_equal(again.labels, work.labels)
    assert np.array_equal(again.after(1)[0], before)
    assert np.array_equal(again.after(0)[0], start())
    assert again.undo().name == "split" and again.undo().name == "accept" and again.undo() is None
    assert np.array_equal(again.labels, start())


def test_the_work_goes_on_with_the_segmentation_that_it_began_with(tmp_path: Path) -> None:
    number = Proofreading(tmp_path, start()).accept(cube(0, 0, 2))
    other = Proofreading(tmp_path, np.zeros(SHAPE, np.uint8))
    assert other.began_elsewhere and (other.labels == number).sum() == 27 and (other.labels == 2).any()
    assert not Proofreading(tmp_path, start()).began_elsewhere


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_work_is_read_back_as_it_was(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("work")
    work = Proofreading(folder, start())
    place = st.tuples(*(st.integers(0, side - 1) for side in SHAPE))
    for _ in range(data.draw(st.integers(1, 6))):
        deed = data.draw(st.sampled_from(["accept", "split", "merge", "remove", "undo"]))
        here, there = data.draw(place), data.draw(place)
        objects = [work.object_at(here), work.object_at(there)]
        before = work.labels.copy()
        try:
            if deed == "accept":
                work.accept(cube(*here))
            elif deed == "split":
                work.split([[here], [there]])
            elif deed == "merge":
                work.merge(objects)
            elif deed == "remove":
                work.remove(objects[0])
            else:
                work.undo()
        except ParameterError:
            assert np.array_equal(work.labels, before), "what is refused changes nothing"
    again = Proofreading(folder, start())
    assert np.array_equal(again.labels, work.labels) and again.accepted == work.accepted
    assert np.array_equal(work.after(len(work.history))[0], work.labels)


def test_what_cannot_be_done_is_refused_and_leaves_no_line(tmp_path: Path) -> None:
    work = Proofreading(tmp_path, start())
    number = work.accept(cube(0, 0, 2))
    for act, message in (
        (lambda: work.accept(cube(0, 0, 2)), "accepted already"),
        (lambda: work.accept(np.zeros(SHAPE, bool)), "is empty"),
        (lambda: work.accept(np.ones((2, 2), bool)), r"shape \(2, 2\)"),
        (lambda: work.accept(cube(0, 0, 6), replaces=77), "object 77 does not exist"),
        (lambda: work.merge([1]), "two or more"),
        (lambda: work.merge([1, 99]), "object 99 does not exist"),
        (lambda: work.remove(0), "object 0 does not exist"),
        (lambda: work.split([[(0, 0, 0)]]), "two or more parts"),
        (lambda: work.split([[(0, 0, 0)], []]), "two or more parts"),
        (lambda: work.split([[(3, 7, 0)], [(3, 7, 0)]]), "different voxels"),
        (lambda: work.split([[(3, 7, 0)], [(3, 7, 8)]]), r"objects \[1, 2\]"),
        (lambda: work.split([[(0, 0, 4)], [(3, 7, 4)]]), "expected in one"),
        (lambda: work.split([[(0, 0, 99)], [(3, 7, 4)]]), r"voxel \(0, 0, 99\) is outside"),
        (lambda: work.object_at((0, 0)), "outside of the volume"),
        (lambda: work.after(2), "n = 2: 0 to 1"),
    ):
        with pytest.raises(ParameterError, match=message):
            act()
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == 1 and number == 6


def test_damaged_and_foreign_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="type float64"):
        Proofreading(tmp_path / "a", np.zeros((3, 3)))
    with pytest.raises(DataError, match="ids from -100"):
        Proofreading(tmp_path / "a", np.full((3, 3), -100))
    with pytest.raises(DataError, match="one length per axis"):
        Proofreading(tmp_path / "a", start(), spacing=(1.0, 1.0))
    assert not (tmp_path / "a").exists()
    Proofreading(tmp_path, start()).remove(5)
    with pytest.raises(DataError, match=r"start\.npz has shape \(4, 8, 10\)"):
        Proofreading(tmp_path, np.zeros((2, 2), int))
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"do": "paint", "object": 1, "note": {}}\n')
    with pytest.raises(DataError, match="line 2: not an action on this segmentation"):
        Proofreading(tmp_path, start())
    with pytest.raises(DataError, match="above 0 nm"):
        Proofreading(tmp_path / "a", start(), spacing=(0.0, 1.0, 1.0))
    assert Proofreading(tmp_path / "b", start(), np.array([8.0, 4.0, 4.0])).spacing == (8.0, 4.0, 4.0)
    whole = (tmp_path / START).read_bytes()
    for damaged in (b"nothing", b"", whole[: len(whole) // 2], whole[:-30]):
        (tmp_path / START).write_bytes(damaged)
        with pytest.raises(DataError, match=r"start\.npz: not a segmentation"):
            Proofreading(tmp_path, start())
    (tmp_path / START).unlink()
    with pytest.raises(DataError, match=r"start\.npz is missing"):
        Proofreading(tmp_path, start())


@pytest.mark.parametrize(
    "damage",
    [
        {"note": None},
        {"object": 0},
        {"object": "7"},
        {"others": "abc"},
        {"others": [2**40]},
        {"parts": [{"box": [[0, 1], [0, 1], [0, 2]], "runs": [[0, 1]]}]},
        {"parts": [{"object": 6, "box": [[0, 10**5]] * 3, "runs": [[0, 1]]}]},
        {"parts": [{"object": 6, "box": [[0, 1], [0, 1], [0, 2]], "runs": [[0, 10**9]]}]},
        {"parts": [{"object": 6, "box": [[0, 1], [0, 1], [0, 2]], "runs": [[-1, 2]]}]},
        {"parts": [{"object": 6, "box": [[0, 1], [0, 1], [0, 2]], "runs": []}]},
    ],
)
def test_a_damaged_action_is_named_with_its_line(tmp_path: Path, damage: dict) -> None:
    Proofreading(tmp_path, start()).accept(cube(0, 0, 6))
    journal = tmp_path / JOURNAL
    record = json.loads(journal.read_text())
    journal.write_text(json.dumps(record | damage) + "\n")
    with pytest.raises(DataError, match=r"journal\.jsonl, line 1: not an action on this segmentation"):
        Proofreading(tmp_path, start())


@pytest.mark.slow
def test_a_killed_process_loses_no_confirmed_object(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from mtl.inference.em.proofreading import Proofreading\n"
        "work = Proofreading(sys.argv[1], np.zeros((1, 10_000), np.int32))\n"
        "for k in range(10_000):\n"
        "    mask = np.zeros((1, 10_000), bool); mask[0, k] = True\n"
        "    print(work.accept(mask), flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    for _ in range(25):
        confirmed = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    again = Proofreading(tmp_path, np.zeros((1, 10_000), np.int32))
    assert again.labels.max() >= confirmed and (again.labels[0, :confirmed] > 0).all()
