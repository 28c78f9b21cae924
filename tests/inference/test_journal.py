"""Journals: what is confirmed stays, what is damaged is named, two writers do not mix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import DataError
from mtl.inference.journal import Journal, mask_of, runs_of


def records(path: Path) -> list[dict]:
    found: list[dict] = []
    Journal(path).read(found.append)
    return found


def test_records_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "journal.jsonl")
    for n in range(3):
        journal.append({"n": n})
    assert records(journal.path) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert records(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("kept", [0, 1])
def test_a_line_cut_short_is_dropped_and_the_next_one_is_whole(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"n": 0}\n' * kept + '{"n": 1, "runs": [[0, 1')
    journal, found = Journal(path), []
    journal.read(found.append)
    journal.append({"n": 2})
    assert found == [{"n": 0}] * kept and records(path) == [*found, {"n": 2}]


def test_a_line_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"n": 0}\nnonsense\n')
    with pytest.raises(DataError, match=r"journal\.jsonl, line 2: not an action"):
        Journal(path, of="an action").read(lambda _: None)
    with pytest.raises(DataError, match=r"line 1: not a record \('name'\)"):
        Journal(path).read(lambda record: record["name"])


def test_a_full_disk_leaves_no_half_of_a_line(tmp_path: Path, monkeypatch) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({"n": 0})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(DataError, match=r"journal\.jsonl cannot be written .*the action was not taken"):
            journal.append({"n": 1})
    journal.append({"n": 2})
    assert records(journal.path) == [{"n": 0}, {"n": 2}]


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first, second = Journal(path), Journal(path)
    first.append({"n": 0})
    with pytest.raises(DataError, match="changed by somebody else"):
        second.append({"n": 1})
    second.read(lambda _: None)
    second.append({"n": 1})
    with pytest.raises(DataError, match="open it again"):
        first.append({"n": 2})
    assert records(path) == [{"n": 0}, {"n": 1}]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_runs_bring_any_mask_back(seed: int) -> None:
    mask = np.random.default_rng(seed).random((3, 6, 7)) < 0.4
    assert np.array_equal(mask_of(runs_of(mask), mask.shape), mask)


@pytest.mark.parametrize("line", ["[]", "3", "null"])
def test_lines_that_are_no_record_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(f'{{"a": 1}}\n{line}\n')
    with pytest.raises(DataError, match=r"journal\.jsonl, line 2: not a record"):
        Journal(path).read(lambda record: None)
