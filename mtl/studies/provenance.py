"""Where a result comes from: parameters, code, packages, data, hardware."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtl.files import file_lock, read_json, write_json
from mtl.studies.parameters import StudyParameters, project_root

_PACKAGES = ("mtl", "torch", "numpy", "monai", "lightning-fabric", "torchjd", "scikit-learn", "papermill")
_ENVIRONMENT = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
)


def git_commit() -> str:
    """Commit of the project, with ``+changes`` if files differ from it; ``unknown`` outside git."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def hardware() -> dict[str, Any]:
    """Processor, cores, memory in GiB and GPU."""
    import psutil
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1]
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0].strip() if names else model
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def record_provenance(
    parameters: StudyParameters, data_fingerprint: str, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write ``provenance.json`` of the run and return it; entries of ``extra`` are merged in.

    The record of a run that is only looked at (``parameters.looked_at``) is returned as it is.
    """
    path = parameters.run_directory / "provenance.json"
    if parameters.looked_at and path.exists():
        return read_json(path)
    record = {
        "study": parameters.study,
        "run": parameters.run,
        "parameters": parameters.model_dump(),
        "seed": parameters.seed,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "data_fingerprint": data_fingerprint,
        "hardware": hardware(),
        "environment": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **(extra or {}),
    }
    with file_lock(path):
        before = read_json(path) if path.exists() else {}
        write_json(path, before | record)
    return record


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(project_root()), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
