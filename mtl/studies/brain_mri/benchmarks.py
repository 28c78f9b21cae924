"""All benchmarks of the study, as ``mtl bench brain_mri`` runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mtl.model_folder import load_model
from mtl.models.brain_mri import MultiTaskModel
from mtl.studies.brain_mri.inference_benchmarks import briefly_trained, inference_cases, phantom_slices
from mtl.studies.brain_mri.training_benchmarks import allocator_row, training_cases
from mtl.timing import measure


def rows(
    ids: Collection[str],
    checkpoint: str,
    rounds: int,
    allocator: Mapping[str, str],
    say: Callable[[str], None],
    size: int = 256,
) -> Iterator[dict[str, Any]]:
    """Measured rows (see ``mtl.timing``) of the benchmarks in ``ids``, as they are measured.

    Args:
        checkpoint: model folder whose weights B1 and B2 use; empty: f=32, depth 3, trained for a minute on
            phantoms.
        allocator: environment variables that R1 compares with the default.
        say: is told what is being done.
    """
    cases = []
    if {"B1", "B2"} & set(ids):
        say("network of B1 and B2 ...")
        model = load_model(MultiTaskModel, Path(checkpoint)) if checkpoint else briefly_trained()
        images = phantom_slices(8, size)["image"]
        cases += [case for case in inference_cases(model, images[:1], images) if case.id in ids]
    if "B3" in ids:
        cases += training_cases(size=size)
    if cases:
        yield from measure(cases, rounds, on_round=lambda done, total: say(f"round {done} of {total}"))
    if "R1" in ids:
        say("R1: nine processes, one after the other ...")
        yield allocator_row(allocator)
