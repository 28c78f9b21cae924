"""What the studies of a phantom hold: view, findings, wording; copies and normal ones as their dials say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mtl.datasets.angiography.clips import SEGMENTS
from mtl.datasets.angiography.reports import N_WORDINGS, write_report
from mtl.errors import ParameterError

TRIES = 200
Findings = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class StudyPlan:
    """One study; ``copy_of``: the number of the study whose content and wording it has, or None."""

    number: int
    patient: int
    view: str
    findings: Findings
    wording: int
    copy_of: int | None = None

    @property
    def report(self) -> str:
        """The study's report, the same for all its clips."""
        return write_report(self.view, self.findings, self.wording)


def plan_studies(
    n_studies: int,
    share_normal: float,
    n_findings: tuple[int, int],
    percents: Sequence[int],
    duplicate_rate: float,
    same_patient: float,
    distinct: bool,
    rng: np.random.Generator,
) -> list[StudyPlan]:
    """Plan all studies; ``round(duplicate_rate * n_studies)`` of them are copies of others.

    Raises `ParameterError` where ``distinct`` asks for more different contents than there are.
    """
    n_copies = min(round(duplicate_rate * n_studies), n_studies - 1)
    copies = set(rng.permutation(np.arange(1, n_studies))[:n_copies].tolist())
    patients = _patients(n_studies, same_patient, rng)
    seen: set[tuple[str, Findings]] | None = set() if distinct else None
    plans: dict[int, StudyPlan] = {}
    for number in (number for number in range(n_studies) if number not in copies):
        view, findings = _content(share_normal, n_findings, percents, seen, n_studies, rng)
        plans[number] = StudyPlan(number, patients[number], view, findings, int(rng.integers(N_WORDINGS)))
    originals = list(plans.values())
    for number in sorted(copies):
        model = originals[int(rng.integers(len(originals)))]
        plans[number] = replace(model, number=number, patient=patients[number], copy_of=model.number)
    return [plans[number] for number in range(n_studies)]


def _patients(n_studies: int, same_patient: float, rng: np.random.Generator) -> list[int]:
    """Number of each study's patient: a share of studies is of the same patient as the one before."""
    new = rng.random(n_studies) >= same_patient
    new[0] = False
    return np.cumsum(new).tolist()


def _content(
    share_normal: float,
    n_findings: tuple[int, int],
    percents: Sequence[int],
    seen: set[tuple[str, Findings]] | None,
    n_studies: int,
    rng: np.random.Generator,
) -> tuple[str, Findings]:
    """View and findings; never the same twice where ``seen`` is kept (then normal studies soon run out)."""
    normal = bool(rng.random() < share_normal)
    for _ in range(TRIES):
        view = str(rng.choice(list(SEGMENTS)))
        content = view, () if normal else _findings(view, n_findings, percents, rng)
        if seen is None or content not in seen:
            if seen is not None:
                seen.add(content)
            return content
        normal = False
    raise ParameterError(
        f"distinct=True: n_studies={n_studies} contents cannot be found with n_findings={n_findings} "
        f"and {len(percents)} percents; allow more findings or percents"
    )


def _findings(
    view: str, n_findings: tuple[int, int], percents: Sequence[int], rng: np.random.Generator
) -> Findings:
    names = SEGMENTS[view]
    number = int(rng.integers(n_findings[0], n_findings[1] + 1))
    chosen = sorted(rng.permutation(len(names))[:number])
    return tuple((names[place], int(rng.choice(percents))) for place in chosen)
