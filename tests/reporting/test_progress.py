"""Terminal output: lines for a log, an ETA that adds up, a failing cell that can be read."""

from __future__ import annotations

import io

import pytest

from mtl.reporting.progress import BatchEvent, Estimator, TerminalProgress, clock_text, summary_text
from mtl.reporting.status import Outcome, update_notebook


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (42.4, "0:42"), (725, "12:05"), (3723, "1:02:03")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


@pytest.fixture
def diamond(make_job):
    """01 -> 02, 03 -> 04, of 10, 20, 30 and 40 seconds."""
    needs = {"01": (), "02": ("01",), "03": ("01",), "04": ("02", "03")}
    jobs = [make_job(name, "1", needs=need) for name, need in needs.items()]
    for job, seconds in zip(jobs, (10, 20, 30, 40), strict=True):
        update_notebook(job, status="ok", last_seconds=seconds)
    return jobs


@pytest.mark.parametrize(("workers", "expected"), [(1, 100), (2, 80), (9, 80)])
def test_eta_is_work_shared_out_but_not_less_than_the_longest_chain(
    diamond, workers: int, expected: float
) -> None:
    assert Estimator(diamond, workers).remaining([], diamond) == expected


def test_eta_counts_down_and_never_below_zero(diamond) -> None:
    estimator = Estimator(diamond, 1)
    assert estimator.remaining(diamond[:1], diamond[1:], clock=100.0) == 100
    assert estimator.remaining(diamond[:1], diamond[1:], clock=106.0) == 94
    assert estimator.remaining(diamond[:1], diamond[1:], clock=900.0) == 90
    assert estimator.remaining([], [], clock=901.0) == 0


def test_eta_of_a_first_run_is_unknown_or_guessed_from_the_others(make_job) -> None:
    jobs = [make_job(name, "1") for name in ("01", "02")]
    assert Estimator(jobs).remaining([], jobs) is None
    update_notebook(jobs[0], status="ok", last_seconds=8)
    assert Estimator(jobs).remaining([], jobs) == 16


def test_a_log_file_gets_plain_lines_and_a_heartbeat(make_job) -> None:
    time, stream, job = [0.0], io.StringIO(), make_job("01_data", "1")
    tell = TerminalProgress(stream, clock=lambda: time[0])
    tell(BatchEvent("begin", total=3, up_to_date=1, workers=2, eta_seconds=130))
    tell(BatchEvent("started", job, position=2, total=3, up_to_date=1, eta_seconds=130))
    running = [("01_data", {"cell": 4, "cells": 9})]
    for time[0] in (1.0, 30.0, 59.0, 61.0, 62.0):
        tell(BatchEvent("tick", total=3, running=running, eta_seconds=69))
    tell(BatchEvent("ended", job, {"status": "ok", "seconds": 62}, 2, 3, 1, 1, eta_seconds=10))
    failed = {"status": "failed", "failure": {"ename": "DataError", "evalue": "no mask\nmore"}}
    tell(BatchEvent("ended", job, failed, 2, 3, 1, 2))
    lines = stream.getvalue().splitlines()
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()
    assert lines[0] == "2 notebooks to run, 1 up to date; 2 workers, about 2:10"
    assert lines[1].split() == ["[2/3]", "01_data", "started", "ETA", "2:10"]
    assert lines[2].strip() == "01_data 1:01 (cell 4 of 9)   ETA 1:09"
    assert lines[3].split() == ["[2/3]", "01_data", "ok", "1:02", "ETA", "0:10"]
    assert lines[4].endswith("FAILED  DataError: no mask")
    assert len(lines) == 5


def test_the_summary_shows_the_failing_cell(make_job) -> None:
    job = make_job("02_head", "1")
    job.failed_copy.parent.mkdir(parents=True)
    job.failed_copy.write_text("{}")
    failure = {"cell": 4, "source": "a = 1\nf(0)", "line": "f(0)", "ename": "E", "evalue": "no"}
    text = summary_text(
        [
            Outcome(make_job("01_data", "1"), "ok", 61.0, up_to_date=True),
            Outcome(job, "failed", 2.0, failure=failure),
            Outcome(make_job("03_joint", "1"), "skipped", reason="needs 02_head"),
        ]
    )
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0].split() == ["01_data", "ok", "1:01", "up", "to", "date"]
    assert lines[2].split() == ["03_joint", "skipped", "needs", "02_head"]
    assert lines[4:] == [
        "02_head failed, cell 5",
        "    | a = 1",
        "    | f(0)",
        "    at: f(0)",
        "    E: no",
        f"    kept: {job.failed_copy}",
    ]
