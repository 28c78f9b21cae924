"""The process of its own in which a point of a sweep trains, seen from the worker that starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from mtl.files import read_json, write_json
from mtl.reporting.execute import die_with_parent, end_group
from mtl.reporting.sweep_jobs import PointJob
from mtl.training.progress import HEARTBEAT_VARIABLE

LOG_LINES = 15


def execute_point(job: PointJob, environment: dict[str, str], project_root: Path) -> dict[str, Any] | None:
    """Train one point in a fresh process, which dies with this one; None, or what went wrong."""
    job.folder.mkdir(parents=True, exist_ok=True)
    for left in (job.executed, job.failure, job.heartbeat):
        left.unlink(missing_ok=True)
    write_json(job.request, {"study": job.study, "parameters": job.parameters})
    command = [sys.executable, "-m", "mtl.reporting.sweep_point", str(job.folder)]
    variables = {**os.environ, **environment, HEARTBEAT_VARIABLE: str(job.heartbeat)}
    with job.log.open("w") as log:
        process = subprocess.Popen(
            command, cwd=project_root, env=variables, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        try:
            code = process.wait()
        finally:
            end_group(process.pid)
            job.heartbeat.unlink(missing_ok=True)
    return None if code == 0 and job.executed.exists() else describe_end(job, code)


def describe_end(job: PointJob, code: int) -> dict[str, Any]:
    """Status, error and message of a point that did not end well."""
    if code < 0:
        said = f"its process was ended by {signal.Signals(-code).name} (killed, or out of memory)"
        return {"status": "dead", "ename": "Killed", "evalue": said}
    if job.failure.exists():
        return {"status": "failed", **read_json(job.failure)}
    tail = "\n".join(job.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
    return {"status": "failed", "ename": f"exit code {code}", "evalue": tail or f"see {job.log}"}
