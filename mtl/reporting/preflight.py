"""Minutes and memory that a run will need, found out in a process of its own before it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mtl.errors import MtlError
from mtl.reporting.kernel_environment import kernel_environment
from mtl.reporting.status import NotebookJob
from mtl.studies import FORECAST

#: A run that is expected to take longer is looked at beforehand.
LONG_SECONDS = 600.0


def is_long(jobs: Sequence[NotebookJob]) -> bool:
    """Whether the notebooks that are to run take more than ten minutes, or nobody knows how long."""
    expected = [job.expected_seconds for job in jobs]
    return bool(jobs) and (None in expected or sum(filter(None, expected)) > LONG_SECONDS)


def long_runs(jobs: Sequence[NotebookJob], params: str, overrides: Mapping[str, Any]) -> Iterator[str]:
    """The forecast of each study that has one and whose notebooks in ``jobs`` will take long, as text."""
    for study in dict.fromkeys(job.study for job in jobs):
        if study in FORECAST and is_long([job for job in jobs if job.study == study]):
            yield preflight_text(preflight(study, params, overrides))


def preflight(study: str, params: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The study's forecast (``mtl.training.forecast.forecast_record``), made with the kernels' environment.

    Raises:
        MtlError: the steps could not be made; with the reason that the process gave.
    """
    request = json.dumps([study, params, dict(overrides)])
    command = [sys.executable, "-m", "mtl.reporting.preflight", request]
    environment = os.environ | kernel_environment(workers=1)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise MtlError(f"preflight of {study} with parameters {params!r} failed: {said[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def preflight_text(found: Mapping[str, Any]) -> str:
    """The forecast as lines for a terminal: a row per stage, or variant, and what its time goes to."""
    memory = f"{found['memory_gib']:.1f} GiB of memory"
    if found["gpu_memory_gib"] is not None:
        memory += f", {found['gpu_memory_gib']:.1f} GiB on the GPU"
    total = f"Preflight: about {_duration(found['minutes'])} on {found['device']}, {memory}"
    table = _table(found["stages"])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in table
    ]
    return "\n".join([total, *(f"  {line}" for line in lines), f"Not counted: {found['not_counted']}"])


def _table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Header and cells; no column that says nothing."""
    parts = list(dict.fromkeys(name for row in rows for name in row["minutes_of"]))
    several = any(row["folds"] > 1 for row in rows)
    head = ["", *(["folds"] if several else []), "steps", "per step", *parts, "in all"]
    cells = [
        [
            row["stage"],
            *([str(row["folds"])] if several else []),
            f"{row['steps']:,}",
            f"{row['seconds_per_step']:.3g} s",
            *(_duration(row["minutes_of"][name]) if name in row["minutes_of"] else "" for name in parts),
            _duration(row["minutes"]),
        ]
        for row in rows
    ]
    return [head, *cells]


def _duration(minutes: float) -> str:
    if minutes < 1.5:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.1f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _answer(request: str) -> None:
    """What the process of :func:`preflight` does: nothing of the real run directory is touched."""
    from mtl.reporting.study_jobs import load_parameters
    from mtl.studies import forecast_function, study_class

    study, params, overrides = json.loads(request)
    with tempfile.TemporaryDirectory(prefix="mtl_preflight_") as folder:
        parameters = load_parameters(study, params, {**overrides, "output_root": folder})
        print(json.dumps(forecast_function(study)(study_class(study)(parameters))))


if __name__ == "__main__":
    try:
        _answer(sys.argv[1])
    except MtlError as error:
        sys.exit(str(error))
