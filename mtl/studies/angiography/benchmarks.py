"""All benchmarks of the study, as ``mtl bench angiography`` runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from mtl.errors import ParameterError
from mtl.studies.angiography.contrastive_benchmarks import contrastive_cases, memory_rows
from mtl.studies.angiography.generation_benchmarks import generation_cases, length_exponent
from mtl.studies.angiography.masked_benchmarks import masked_cases
from mtl.timing import exponent_row, measure

_CASES = {"A1": generation_cases, "A2": contrastive_cases, "A3": masked_cases}


def rows(
    ids: Collection[str],
    checkpoint: str,
    rounds: int,
    allocator: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Measured rows (see ``mtl.timing``) of ``ids``, and rows of how costs grow, as they are measured.

    Args:
        checkpoint: must be empty: no benchmark of the study needs trained weights.
        allocator: not used; both sides run with the settings of the process.
        say: is told what is being done.

    Raises:
        ParameterError: a checkpoint is given.
    """
    if checkpoint:
        raise ParameterError("--checkpoint: no benchmark of angiography needs trained weights; leave it out")
    for name in sorted(ids):
        say(f"{name} ...")
        yield from measure(_CASES[name](), rounds, on_round=lambda done, n: say(f"round {done} of {n}"))
        yield from _growth(name, say)


def _growth(name: str, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """How time grows with the length (A1), and memory with the batch (A2)."""
    if name == "A1":
        say("A1: how the time grows with the length ...")
        yield exponent_row("A1", "tokens that are written, with a cache", length_exponent())
    if name == "A2":
        say("A2: memory ...")
        yield from memory_rows()
