"""``run.json``: our own record of what happened to each notebook of a run.

The executed notebook cannot be asked: papermill saves one whose kernel was killed as completed.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mtl.errors import MissingArtefactError, MtlError
from mtl.files import file_lock, read_json, write_json

NAME = "run.json"
UNFINISHED = ("waiting", "running")
BAD = ("failed", "dead", "skipped")


@dataclass(frozen=True)
class NotebookJob:
    """One notebook to run with one set of parameters into one run directory."""

    noun: ClassVar[str] = "notebook"
    resumes: ClassVar[bool] = False  # killed half-way, it is worth another attempt at once

    study: str
    name: str  # "02_warm_up": also the stem of the executed notebook and of the report
    notebook: Path
    parameters: dict[str, Any]
    run_directory: Path
    needs: tuple[str, ...] = ()  # names of jobs of the same run directory
    fingerprint: str = ""
    expected_seconds: float | None = None  # for the ETA of a first run

    @property
    def key(self) -> tuple[Path, str]:
        return (self.run_directory, self.name)

    @property
    def executed(self) -> Path:
        return self.run_directory / "notebooks" / f"{self.name}.ipynb"

    @property
    def failed_copy(self) -> Path:
        return self.run_directory / "notebooks" / f"{self.name}.failed.ipynb"

    @property
    def log(self) -> Path:
        return self.run_directory / "notebooks" / f"{self.name}.log"

    @property
    def heartbeat(self) -> Path:
        """Where training within the notebook says how far it is (see ``mtl.training.progress``)."""
        return self.run_directory / "notebooks" / f"{self.name}.progress.json"

    @property
    def report(self) -> Path:
        return self.run_directory / "reports" / f"{self.name}.html"

    def is_complete(self) -> bool:
        """Whether the files that a good end leaves are there."""
        return self.executed.exists() and self.report.exists()

    def describe(self) -> dict[str, str]:
        """What its entry in run.json says before it has run. Raises ``MissingArtefactError``."""
        from mtl.reporting.pages import describe_notebook

        if not self.notebook.exists():
            raise MissingArtefactError(f"{self.notebook} is not there: no such notebook")
        return describe_notebook(read_json(self.notebook))


@dataclass(frozen=True)
class Outcome:
    """What became of one job: status ok, failed, dead or skipped; ``failure`` names the cell and error."""

    job: NotebookJob
    status: str
    seconds: float | None = None
    up_to_date: bool = False
    reason: str = ""
    failure: dict[str, Any] = field(default_factory=dict)


def read_status(run_directory: str | Path) -> dict[str, Any]:
    """The whole record; an empty one where the run has not begun."""
    path = Path(run_directory) / NAME
    return read_json(path) if path.exists() else {"status": "waiting", "notebooks": {}}


def notebook_status(job: NotebookJob) -> dict[str, Any]:
    """The entry of one notebook, empty where there is none."""
    return read_status(job.run_directory)["notebooks"].get(job.name, {})


def training_progress(job: NotebookJob) -> dict[str, Any]:
    """``{"label", "done", "total"}`` of the training that runs in a notebook now; empty without one."""
    return read_json(job.heartbeat) if job.heartbeat.exists() else {}


@contextlib.contextmanager
def edit_status(run_directory: str | Path) -> Iterator[dict[str, Any]]:
    """Change the record under a lock; it is written atomically, with the overall status worked out."""
    path = Path(run_directory) / NAME
    with file_lock(path):
        record = read_status(run_directory)
        yield record
        record["notebooks"] = dict(sorted(record["notebooks"].items()))
        record["status"] = overall_status(record)
        write_json(path, record)


def update_notebook(job: NotebookJob, **values: Any) -> None:
    """Set fields of one notebook's entry; a field set to None is removed."""
    with edit_status(job.run_directory) as record:
        entry = {**record["notebooks"].get(job.name, {}), **values}
        record["notebooks"][job.name] = {key: v for key, v in entry.items() if v is not None}


def overall_status(record: dict[str, Any]) -> str:
    """running while anything runs, else the worst of what happened."""
    found = {entry.get("status") for entry in record["notebooks"].values()}
    order = ("running", "dead", "failed", "waiting", "skipped", "ok")
    return next((status for status in order if status in found), "waiting")


@contextlib.contextmanager
def owned_run(run_directory: Path) -> Iterator[None]:
    """Hold the run directory for one runner; a second one is told so instead of mixing its results in.

    The lock vanishes with the process that holds it, however that process ends.
    """
    try:
        run_directory.mkdir(parents=True, exist_ok=True)
        handle = (run_directory / ".runner.lock").open("a+")
    except OSError as error:
        reason = f"cannot write to the output folder {run_directory} ({error.strerror})"
        raise MtlError(f"{reason}: choose another one, or make it writable") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MtlError(f"another process is busy in {run_directory}: wait for it") from error
        yield


def bury_the_dead(run_directory: Path) -> list[str]:
    """Mark entries that a killed runner left as running (call while owning the run); returns their names."""
    if not any(e.get("status") in UNFINISHED for e in read_status(run_directory)["notebooks"].values()):
        return []
    with edit_status(run_directory) as record:
        left = [n for n, entry in record["notebooks"].items() if entry.get("status") == "running"]
        for name in left:
            entry = record["notebooks"][name]
            entry |= {"status": "dead", "ended": now(), "reason": "its runner was killed"}
        for entry in record["notebooks"].values():
            if entry.get("status") == "waiting":
                entry |= {"status": "skipped", "reason": "its runner was killed before it began"}
    return left


def now() -> str:
    """UTC time, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def this_process() -> dict[str, Any]:
    """Who writes: process id, host and time, for the reader of a record."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": now()}
