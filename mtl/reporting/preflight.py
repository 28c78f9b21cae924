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
    """The study's forecast (see e.g. ``mtl.studies.brain_mri.forecast``), made with the kernels' environment.

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
    """The forecast as lines for a terminal."""
    lines = [
        f"  {row['stage']:<10} {row['steps']:>8,} steps in {row['folds']} fold{'s' * (row['folds'] > 1)}, "
        f"{row['seconds_per_step']:.3g} s each: {row['minutes']:.1f} min"
        for row in found["stages"]
    ]
    memory = f"{found['memory_gib']:.1f} GiB of memory"
    if found["gpu_memory_gib"] is not None:
        memory += f", {found['gpu_memory_gib']:.1f} GiB on the GPU"
    total = f"Preflight: about {found['minutes']:.0f} min of training on {found['device']}, {memory}"
    return "\n".join([total, *lines])


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
