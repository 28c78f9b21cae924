"""What a notebook's result depends on, as one hash: a second run redoes only what changed.

Two hashes are kept apart. The notebook's covers its cells, its parameters, the package code that runs
in the kernel, and the notebooks before it. The report's covers what turns an executed notebook into HTML:
when only that changes, pages are rendered again and nothing is computed again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mtl.files import read_json, sha256_of

PACKAGE = Path(__file__).resolve().parents[1]
IN_THE_KERNEL = (
    "figures",
    "claims",
    "metrics_file",
    "sweep_results",
)  # reporting modules that notebooks call


def notebook_fingerprint(
    notebook: str | Path,
    parameters: Mapping[str, Any],
    package_files: Iterable[str | Path] | str | None = None,
    upstream: Iterable[str] = (),
) -> str:
    """SHA-256 over cells (not outputs, not metadata but tags), parameters, code and upstream hashes.

    ``package_files``: paths to hash, or a hash already made by ``package_fingerprint``; by default
    the package's own computing code.
    """
    code = package_files if isinstance(package_files, str) else package_fingerprint(package_files)
    cells = [
        (cell["cell_type"], "".join(cell["source"]), sorted(cell.get("metadata", {}).get("tags", [])))
        for cell in read_json(notebook)["cells"]
    ]
    values = json.dumps(dict(parameters), sort_keys=True, default=str)
    return sha256_of(json.dumps(cells), values, code, *upstream)


def package_fingerprint(files: Iterable[str | Path] | None = None) -> str:
    """SHA-256 over names (relative to the package) and contents of the code that computes results."""
    return _hash_files(computing_files() if files is None else [Path(f) for f in files])


def report_fingerprint() -> str:
    """SHA-256 over the modules and templates that turn an executed notebook into a page."""
    reporting = PACKAGE / "reporting"
    templates = [path for path in (reporting / "templates").rglob("*") if path.is_file()]
    return _hash_files([p for p in reporting.glob("*.py") if not _in_the_kernel(p)] + templates)


def computing_files() -> list[Path]:
    """Every module of the package but the command line, the server and the page-making ones."""
    apart = {PACKAGE / "cli.py", PACKAGE / "serve.py"}
    return [
        path
        for path in PACKAGE.rglob("*.py")
        if path not in apart and (path.parent.name != "reporting" or _in_the_kernel(path))
    ]


def _in_the_kernel(path: Path) -> bool:
    return path.stem.startswith(IN_THE_KERNEL)


def _hash_files(files: Iterable[Path]) -> str:
    parts: list[str | bytes] = []
    for path in sorted(files):
        inside = path.is_relative_to(PACKAGE)
        parts += [path.relative_to(PACKAGE).as_posix() if inside else path.name, path.read_bytes()]
    return sha256_of(*parts)
