"""``mtl bench``: rows, machine and software into one JSON file, and a table for the terminal."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mtl.errors import ParameterError
from mtl.files import write_json
from mtl.reporting.kernel_environment import KEEP_MEMORY, kernel_environment

#: Study to the ids of its benchmarks; ``mtl.studies.<study>.benchmarks.rows`` runs them.
IDS = {
    "angiography": ("A1", "A2", "A3"),
    "brain_mri": ("B1", "B2", "B3", "R1"),
    "em": ("E1", "E2", "E3", "E4", "E5", "E6", "E7"),
    "histology": ("H1", "H2"),
}
_MARK = "MTL_BENCH_ENVIRONMENT"


def bench(
    study: Annotated[str, typer.Argument(help="E.g. brain_mri.")],
    json: Annotated[Path | None, typer.Option("--json", help="File for the rows.")] = None,
    only: Annotated[str, typer.Option(help="Ids by comma, e.g. B1,B3; all where not given.")] = "",
    checkpoint: Annotated[
        str, typer.Option(help="Model folder (brain_mri: to predict with; em: E6 on its output too).")
    ] = "",
    rounds: Annotated[int, typer.Option(min=7, help="The median is over so many.")] = 9,
) -> None:
    """Time our ways against others', side by side; see the performance goals for the ids."""
    if study not in IDS:
        raise ParameterError(f"unknown study {study!r}: there is {', '.join(IDS)}")
    ids = chosen_ids(only, IDS[study])
    restart_tuned(sys.argv[1:])
    typer.echo(table_text(bench_study(study, ids, checkpoint, rounds, json)))


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


def bench_study(
    study: str, ids: Sequence[str], checkpoint: str, rounds: int, file: Path | None
) -> dict[str, Any]:
    """Measure, and return the record; ``file``, if there is one, holds the rows so far at any time."""
    from mtl.studies.provenance import git_commit, hardware
    from mtl.timing import machine_limits

    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    benchmarks = importlib.import_module(f"mtl.studies.{study}.benchmarks")
    record: dict[str, Any] = {
        "study": study,
        "hardware": hardware(),
        "limits": machine_limits(),
        "git_commit": git_commit(),
        "rounds": rounds,
        "rows": [],
    }
    for row in benchmarks.rows(ids, checkpoint, rounds, KEEP_MEMORY, say):
        record["rows"].append(row)
        if file is not None:
            write_json(file, record)
    return record


def table_text(record: Mapping[str, Any]) -> str:
    """One block per row: what was compared, both times, the ratio beside its goal, and how exact it is."""
    lines = []
    for row in record["rows"]:
        lines.append(f"{row['id']}  {row['workload']}  against  {row['peer']}")
        if row["ratio"] is None:
            # How a cost grows, or what memory it takes: a figure, but no ratio of two times.
            lines.append(f"    {'' if row['correct'] else 'no number: '}{row['difference']}")
            continue
        goal = f" (goal {row['goal']:.2f})" if row["goal"] else ""
        times = f"{1000 * row['peer_s']:.1f} ms / {1000 * row['ours_s']:.1f} ms"
        lines.append(f"    {times} = {row['ratio']:.2f}x{goal}; the same twice {row['control']:.2f}")
        if row.get("ours_gflop"):
            rates = [row[f"{side}_gflop"] / row[f"{side}_s"] for side in ("peer", "ours")]
            lines.append(f"    {rates[0]:.0f} GFLOP/s / {rates[1]:.0f} GFLOP/s")
        lines.append(f"    {row['difference']}")
    limits = record["limits"]
    lines.append(
        f"this machine's matrix products: {limits['product_gflop_per_s']:.0f} GFLOP/s in float32, "
        f"{limits['bfloat16_product_gflop_per_s']:.0f} in bfloat16"
    )
    return "\n".join(lines)
