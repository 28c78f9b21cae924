"""Which notebooks a batch has to run, and in which order."""

from __future__ import annotations

import graphlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from mtl.errors import MtlError
from mtl.reporting.fingerprint import report_fingerprint
from mtl.reporting.status import NotebookJob, edit_status, notebook_status, this_process, update_notebook

JobKey = tuple[Path, str]  # run directory and name


def in_dependency_order(jobs: Sequence[NotebookJob]) -> list[NotebookJob]:
    """Topological order, otherwise as given; ``MtlError`` for doubles, unknown needs and cycles."""
    by_key = {job.key: job for job in jobs}
    if len(by_key) < len(jobs):
        raise MtlError("two jobs have the same name and run directory")
    for job in jobs:
        unknown = [key[1] for key in needed_keys(job) if key not in by_key]
        if unknown:
            raise MtlError(f"{job.name} needs {', '.join(unknown)}, which is not among the notebooks to run")
    try:
        graphlib.TopologicalSorter({key: needed_keys(job) for key, job in by_key.items()}).prepare()
    except graphlib.CycleError as error:
        names = " -> ".join(key[1] for key in error.args[1])
        raise MtlError(f"notebooks need each other in a circle: {names}") from error
    ordered: dict[JobKey, NotebookJob] = {}
    while len(ordered) < len(jobs):
        ready = (j for j in jobs if j.key not in ordered and all(key in ordered for key in needed_keys(j)))
        job = next(ready)
        ordered[job.key] = job
    return list(ordered.values())


def stale_jobs(ordered: Sequence[NotebookJob], force: bool = False) -> list[NotebookJob]:
    """The jobs to run: not ended well, changed, incomplete, or after one that is run again."""
    stale: dict[JobKey, NotebookJob] = {}
    for job in ordered:
        entry = notebook_status(job)
        kept = (
            entry.get("status") == "ok" and entry.get("fingerprint") == job.fingerprint and job.is_complete()
        )
        if force or not kept or any(key in stale for key in needed_keys(job)):
            stale[job.key] = job
    return list(stale.values())


def register(ordered: Sequence[NotebookJob], stale: Sequence[NotebookJob]) -> None:
    """Enter the jobs in their runs' records, so that the gallery shows what is still to come."""
    to_run = {job.key for job in stale}
    for run_directory in dict.fromkeys(job.run_directory for job in ordered):
        jobs = [job for job in ordered if job.run_directory == run_directory]
        with edit_status(run_directory) as record:
            record |= {"study": jobs[0].study, "run": run_directory.name, "runner": this_process()}
            for job in jobs:
                entry = record["notebooks"].setdefault(job.name, {})
                entry |= job.describe()
                if job.key in to_run:
                    entry |= {"status": "waiting"}


def refresh_reports(jobs: Sequence[NotebookJob]) -> None:
    """Render again, without computing again, where only the page-making code has changed."""
    current = report_fingerprint()
    for job in jobs:
        if job.noun == "notebook" and notebook_status(job).get("report_fingerprint") != current:
            from mtl.reporting.execute import render

            update_notebook(job, **render(job))


def needed_keys(job: NotebookJob) -> list[JobKey]:
    """The keys of the jobs that ``job`` needs."""
    return [(job.run_directory, name) for name in job.needs]


def forget_results(run_directory: Path) -> None:
    """Take away what would let a stage or a split be taken over from an earlier run of this name."""
    for folder in ("checkpoints", "predictions", "tensorboard", "points", "runs"):
        shutil.rmtree(run_directory / folder, ignore_errors=True)
    for file in ("split.json", "metrics.json"):
        (run_directory / file).unlink(missing_ok=True)
