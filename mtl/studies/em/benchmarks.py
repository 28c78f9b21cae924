"""All benchmarks of the study, as ``mtl bench em`` runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from mtl.errors import ParameterError
from mtl.studies.em import inference_benchmarks
from mtl.studies.em.decoding_benchmarks import decoding_cases, decoding_exponent, made_workload
from mtl.studies.em.target_benchmarks import target_cases, target_exponents
from mtl.studies.em.trained_embeddings import trained_workload
from mtl.studies.em.training_benchmarks import discriminative_cases, memory_row, scaling_rows, two_mode_cases
from mtl.timing import Case, exponent_row, measure

IDS = ("E1", "E2", "E3", "E4", "E5", "E6", "E7")


def rows(
    ids: Collection[str],
    checkpoint: str,
    rounds: int,
    allocator: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Measured rows (see ``mtl.timing``) of ``ids``, and rows of how costs grow, as they are measured.

    Args:
        checkpoint: model folder of a trained 3-D network, on whose output E6 is measured too; or empty.
        allocator: not used; both sides run with the settings of the process.
        say: is told what is being done.

    Raises:
        CheckpointError, ParameterError: the checkpoint is no such network, or E6 is not asked for.
    """
    if checkpoint and "E6" not in ids:
        raise ParameterError("--checkpoint: of em's benchmarks only E6 looks at a network; leave it out")
    for name in sorted(ids):
        say(f"{name} ...")
        cases = _cases(name, checkpoint)
        yield from measure(cases, rounds, on_round=lambda done, total: say(f"round {done} of {total}"))
        say(f"{name}: how the cost grows ...")
        yield from _growth(name)


def _cases(name: str, checkpoint: str) -> list[Case]:
    if name in ("E1", "E2"):
        return [case for case in target_cases() if case.id == name]
    if name in inference_benchmarks.IDS:
        return inference_benchmarks.inference_cases([name])
    if name == "E6":
        works = [made_workload(), *([trained_workload(checkpoint)] if checkpoint else [])]
        return [case for work in works for case in decoding_cases(work)]
    return {"E3": discriminative_cases, "E5": two_mode_cases}[name]()


def _growth(name: str) -> list[dict[str, Any]]:
    if name in inference_benchmarks.IDS:
        return inference_benchmarks.scaling_rows([name])
    if name == "E1":
        return [exponent_row(name, what, value) for what, value in target_exponents().items()]
    if name == "E3":
        return [memory_row(), *scaling_rows()]
    if name == "E6":
        return [exponent_row(name, "voxels", decoding_exponent())]
    return []
