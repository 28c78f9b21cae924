"""``mtl bench``: rows, machine and software into one JSON file, and a table for the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl.errors import ParameterError
from mtl.files import write_json
from mtl.reporting.kernel_environment import KEEP_MEMORY, kernel_environment

_MARK = "MTL_BENCH_ENVIRONMENT"


def restart_tuned(arguments: Sequence[str]) -> None:
    """Start this command again with the allocator and threads of the kernels, so that both sides have them.

    An allocator reads its settings when a process starts. Does nothing the second time.
    """
    if os.environ.get(_MARK):
        return
    environment = {**os.environ, **kernel_environment(workers=1, inherit=False), _MARK: "1"}
    os.execve(sys.executable, [sys.executable, "-m", "mtl.cli", *arguments], environment)


def chosen_ids(text: str, known: Collection[str]) -> list[str]:
    """The ids of ``--only``, by comma; all where empty. Raises ``ParameterError`` for an unknown one."""
    wanted = [name.strip() for name in text.split(",") if name.strip()] or list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise ParameterError(f"--only: unknown benchmark {unknown[0]!r}; there is {', '.join(known)}")
    return wanted


def bench_brain_mri(ids: Sequence[str], checkpoint: str, rounds: int, file: Path | None) -> dict[str, Any]:
    """Measure, write the record to ``file`` if there is one, and return it."""
    from mtl.studies.brain_mri.benchmarks import rows
    from mtl.studies.provenance import git_commit, hardware
    from mtl.timing import machine_limits

    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    record = {
        "study": "brain_mri",
        "hardware": hardware(),
        "limits": machine_limits(),
        "git_commit": git_commit(),
        "rounds": rounds,
        "rows": rows(ids, checkpoint, rounds, KEEP_MEMORY, say),
    }
    if file is not None:
        write_json(file, record)
    return record


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """One block per row: what was compared, both times, the ratio beside its goal, and how exact it is."""
    lines = []
    for row in rows:
        lines.append(f"{row['id']}  {row['workload']}  against  {row['peer']}")
        if row["ratio"] is None:
            lines.append(f"    no number: {row['difference']}")
            continue
        goal = f" (goal {row['goal']:.2f})" if row["goal"] else ""
        times = f"{1000 * row['peer_s']:.1f} ms / {1000 * row['ours_s']:.1f} ms"
        lines.append(f"    {times} = {row['ratio']:.2f}x{goal}; the same twice {row['control']:.2f}")
        lines.append(f"    {row['difference']}")
    return "\n".join(lines)
