"""One notebook, one kernel: run it with papermill and say what happened.

The kernel dies with the process that started it (Linux: parent-death signal), and whatever the kernel
started in its session dies with the kernel, so that no process is left behind after a kill.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jupyter_client import AsyncKernelManager

from mtl.files import file_lock, remove_halves
from mtl.reporting.kernel_environment import kernel_environment
from mtl.reporting.status import BAD, NotebookJob, notebook_status, now, this_process, update_notebook
from mtl.training.progress import HEARTBEAT_VARIABLE

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
EXCERPT_LINES = 8
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Ask Linux to SIGKILL this process when the one that started it ends (``prctl(2)``)."""
    if LIBC is not None:
        LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)  # 1 is PR_SET_PDEATHSIG


class OwnedKernelManager(AsyncKernelManager):
    """A kernel manager whose kernel gets extra variables and does not outlive this process.

    What the kernel's process itself prints (not the cells) goes into ``printed``.
    """

    variables: dict[str, str] = {}
    started: list[int] = []
    printed: Any = None

    async def start_kernel(self, **options: Any) -> None:
        options["env"] = {**os.environ, **options.get("env", {}), **self.variables}
        await super().start_kernel(
            preexec_fn=die_with_parent, stdout=self.printed, stderr=self.printed, **options
        )
        self.started.append(self.provisioner.pid)


def run_job(
    job: NotebookJob,
    environment: dict[str, str] | None,
    project_root: Path,
    upstream: Sequence[str] = (),
    workers_here: int = 1,
) -> str:
    """Run one job in this process and return its status; everything else goes into run.json.

    Done already (another process was faster, or a lost worker's result is asked for again): nothing runs.
    ``environment`` of the kernel; None: worked out here, for ``workers_here`` kernels on this machine.
    """
    if environment is None:  # what Dask sets for its own workers (one thread) is not meant for kernels
        environment = kernel_environment(workers_here, inherit=False)
    if any(status in BAD for status in upstream):
        return "skipped"
    job.executed.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(job.executed):
        if notebook_status(job).get("status") == "ok":
            return "ok"
        return _run_and_record(job, environment, project_root)


def _run_and_record(job: NotebookJob, environment: dict[str, str], project_root: Path) -> str:
    began = time.monotonic()
    remove_halves(job.run_directory)
    clean = dict.fromkeys(("failure", "reason", "ended", "cell", "cells", "seconds"))
    update_notebook(job, **{**clean, "status": "running", "fingerprint": job.fingerprint, **this_process()})
    failure = execute(job, environment, project_root)
    seconds = round(time.monotonic() - began, 1)
    if failure:
        status = failure.pop("status")
        keep_failed(job)
    else:
        status = "ok"
        job.failed_copy.unlink(missing_ok=True)
    made = render(job, failure)
    finished = {"status": status, "seconds": seconds, "ended": now(), "failure": failure or None, **made}
    if status == "ok":
        finished["last_seconds"] = seconds
    update_notebook(job, cell=None, **finished)
    return status


def execute(job: NotebookJob, environment: dict[str, str], project_root: Path) -> dict[str, Any] | None:
    """A notebook with papermill, a point of a sweep in a process of its own; None where all went well."""
    if job.noun == "point":
        from mtl.reporting.sweep_process import execute_point

        return execute_point(job, environment, project_root)
    return execute_notebook(job, environment, project_root)


def render(job: NotebookJob, failure: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write the report of an executed (or failed) notebook; returns the record's fields for it."""
    if job.noun != "notebook":
        return {}
    from mtl.reporting.fingerprint import report_fingerprint
    from mtl.reporting.html import export_report

    notebook = job.executed if failure is None else job.failed_copy
    if not notebook.exists():
        job.report.unlink(missing_ok=True)
        return {}
    export_report(notebook, job.report, failure=failure)
    return {"report": f"reports/{job.report.name}", "report_fingerprint": report_fingerprint()}


def keep_failed(job: NotebookJob) -> None:
    """Move the notebook of a failed run aside, where the next attempt does not overwrite it at once."""
    if job.executed.exists():
        os.replace(job.executed, job.failed_copy)


def execute_notebook(
    job: NotebookJob, environment: dict[str, str], project_root: Path
) -> dict[str, Any] | None:
    """Run with papermill from ``project_root``; None where all went well, else what failed and where."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # all it has to say goes into the record
    progress = CellProgress(job)
    job.heartbeat.unlink(missing_ok=True)
    environment = {**environment, HEARTBEAT_VARIABLE: str(job.heartbeat)}
    with job.log.open("w") as log:
        fields = {"variables": environment, "started": [], "printed": log}
        manager = type("JobKernelManager", (OwnedKernelManager,), fields)
        try:
            papermill.execute_notebook(
                str(job.notebook), str(job.executed), parameters=job.parameters, cwd=str(project_root),
                progress_bar=False, kernel_manager_class=manager, on_cell_start=progress,
                on_notebook_start=progress.begin, ipython_hist_file="", autosave_cell_every=0,
            )  # fmt: skip
        except PapermillExecutionError as error:
            return {"status": "failed", **describe_error(error)}
        except DeadKernelError:
            reason = "the kernel died (killed, or out of memory)"
            return {"status": "dead", **progress.where(), "ename": "DeadKernelError", "evalue": reason}
        except Exception as error:  # a notebook that cannot be read, a kernel that does not start
            status = "dead" if "Kernel died" in str(error) else "failed"
            said = {"ename": type(error).__name__, "evalue": plain(str(error))}
            return {"status": status, **progress.where(), **said}
        finally:
            job.heartbeat.unlink(missing_ok=True)
            for kernel in manager.started:
                end_group(kernel)
    return None


class CellProgress:
    """Called before each code cell: remembers which it is, and notes it in run.json once a second at most."""

    def __init__(self, job: NotebookJob, clock: Callable[[], float] = time.monotonic) -> None:
        self.job, self.clock = job, clock
        self.noted, self.cells = -1.0, 0
        self.index: int | None = None
        self.source = ""

    def begin(self, notebook: Any) -> None:
        self.cells = len(notebook.cells)

    def __call__(self, cell: Any, cell_index: int) -> None:
        self.index, self.source = cell_index, cell.source
        if self.clock() - self.noted >= 1.0:
            self.noted = self.clock()
            update_notebook(self.job, cell=cell_index + 1, cells=self.cells or None)

    def where(self) -> dict[str, Any]:
        return {} if self.index is None else {"cell": self.index, "source": excerpt(self.source)}


def describe_error(error: Any) -> dict[str, Any]:
    """Cell, first lines of its source, failing line, name and message of a papermill error."""
    trace = plain("\n".join(error.traceback))
    arrow = re.search(r"^-+> *\d+ (.*)$", trace, re.MULTILINE)
    return {
        "cell": error.cell_index,
        "execution_count": error.exec_count,
        "source": excerpt(error.source),
        "line": arrow[1].strip() if arrow else "",
        "ename": error.ename,
        "evalue": plain(error.evalue)[:2000],
        "traceback": trace[-6000:],
    }


def excerpt(source: str) -> str:
    """The first lines of a cell."""
    lines = source.strip().splitlines()
    more = [f"... ({len(lines) - EXCERPT_LINES} more lines)"] if len(lines) > EXCERPT_LINES else []
    return "\n".join(lines[:EXCERPT_LINES] + more)


def plain(text: str) -> str:
    """``text`` without terminal colours."""
    return ANSI.sub("", text)


def end_group(leader: int) -> None:
    """Kill what is left of a process group (a kernel is the leader of its own)."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
