"""run.json: one owner, no half-written record, no entry that runs for ever."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from mtl.errors import MtlError
from mtl.reporting.status import (
    bury_the_dead,
    edit_status,
    notebook_status,
    overall_status,
    owned_run,
    read_status,
    update_notebook,
)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], "waiting"),
        (["ok", "ok"], "ok"),
        (["ok", "running", "failed"], "running"),
        (["ok", "failed", "skipped"], "failed"),
        (["dead", "failed"], "dead"),
        (["ok", "waiting"], "waiting"),
    ],
)
def test_overall_status(statuses: list[str], expected: str) -> None:
    entries = {str(index): {"status": status} for index, status in enumerate(statuses)}
    assert overall_status({"notebooks": entries}) == expected


def test_fields_are_set_and_removed(make_job) -> None:
    job = make_job("01_data", "1")
    assert notebook_status(job) == {}
    update_notebook(job, status="running", cell=3)
    update_notebook(job, status="ok", cell=None)
    assert notebook_status(job) == {"status": "ok"}
    assert read_status(job.run_directory)["status"] == "ok"


def test_an_edit_that_fails_changes_nothing(run_directory: Path) -> None:
    with edit_status(run_directory) as record:
        record["notebooks"]["a"] = {"status": "ok"}
    with pytest.raises(RuntimeError), edit_status(run_directory) as record:
        record["notebooks"]["a"] = {"status": "failed"}
        raise RuntimeError
    assert read_status(run_directory)["notebooks"]["a"]["status"] == "ok"


def _own_and_wait(run_directory: Path, ready) -> None:
    with owned_run(run_directory):
        ready.set()
        signal.pause()


def test_a_second_runner_is_refused_until_the_first_is_gone(run_directory: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    other = spawn.Process(target=_own_and_wait, args=(run_directory, ready))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(MtlError, match="another process"), owned_run(run_directory):
            pass
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.join()
    with owned_run(run_directory):
        assert run_directory.is_dir()


def test_what_a_killed_runner_left_is_dead(make_job) -> None:
    jobs = [make_job(name, "1") for name in ("01_a", "02_b", "03_c")]
    for job, status in zip(jobs, ("ok", "running", "waiting"), strict=True):
        update_notebook(job, status=status)
    assert bury_the_dead(jobs[0].run_directory) == ["02_b"]
    assert [notebook_status(job)["status"] for job in jobs] == ["ok", "dead", "skipped"]
    assert bury_the_dead(jobs[0].run_directory) == []


def test_an_output_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("")
    with (
        pytest.raises(MtlError, match="cannot write to the output folder"),
        owned_run(tmp_path / "outputs" / "a"),
    ):
        pass
