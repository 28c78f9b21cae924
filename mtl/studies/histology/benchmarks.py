"""All benchmarks of the study, as ``mtl bench histology`` runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from mtl.errors import ParameterError
from mtl.studies.histology.loss_benchmarks import loss_cases, loss_exponent
from mtl.studies.histology.map_benchmarks import map_cases, map_exponent
from mtl.timing import exponent_row, measure

_CASES = {"H1": map_cases, "H2": loss_cases}
_GROWTH = {"H1": ("nuclei, 20 to 385 on 512 x 512", map_exponent), "H2": ("pixels", loss_exponent)}


def rows(
    ids: Collection[str],
    checkpoint: str,
    rounds: int,
    allocator: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Measured rows (see ``mtl.timing``) of ``ids``, and rows of how costs grow, as they are measured.

    Args:
        checkpoint: must be empty: no benchmark of the study looks at a network.
        allocator: not used; both sides run with the settings of the process.
        say: is told what is being done.

    Raises:
        ParameterError: a checkpoint is given.
    """
    if checkpoint:
        raise ParameterError("--checkpoint: no benchmark of histology looks at a network; leave it out")
    for name in sorted(ids):
        say(f"{name} ...")
        yield from measure(_CASES[name](), rounds, on_round=lambda done, n: say(f"round {done} of {n}"))
        say(f"{name}: how the cost grows ...")
        what, exponent = _GROWTH[name]
        yield exponent_row(name, what, exponent())
