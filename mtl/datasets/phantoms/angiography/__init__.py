"""Made-up coronary angiograms: beating vessel trees that fill with contrast, planted stenoses, true reports.

A study is one coronary artery, left or right, filmed under one or two angulations; its clips share the
report. The trees of all patients are alike but for a jitter of their nodes and sizes, so that segments lie at
much the same places; stenoses narrow the lumen by exactly what the report says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtl.datasets.angiography.clips import Clip, Stenosis
from mtl.datasets.phantoms.angiography.anatomy import PIXEL, Tree, grow_tree
from mtl.datasets.phantoms.angiography.lesions import HALF_LENGTH, Lesion, distance_to, narrowed, plant
from mtl.datasets.phantoms.angiography.plan import StudyPlan, plan_studies
from mtl.datasets.phantoms.angiography.projection import ANGULATIONS, Film, drawn_angles, expose
from mtl.datasets.phantoms.angiography.rendering import FINER, light, scenery, thickness
from mtl.errors import ParameterError

__all__ = ["angiography_phantom"]

PERCENTS = (30, 40, 50, 60, 70, 80, 90)
SECONDS = 2.0  # of a clip
STRETCH = 0.17  # typical length between two nodes
STEP = 1.6  # fine pixels between points
MARGIN = 1.5 * PIXEL  # around the lumen in a box
GRAIN = 0.02
VIEW_NUMBERS = {view: number for number, view in enumerate(ANGULATIONS)}


def angiography_phantom(
    n_studies: int = 100,
    n_views: tuple[int, int] = (1, 2),
    n_frames: int = 16,
    size: int = 64,
    *,
    n_findings: tuple[int, int] = (1, 3),
    percents: Sequence[int] = PERCENTS,
    share_normal: float = 0.1,
    duplicate_rate: float = 0.0,
    distinct: bool = False,
    same_patient: float = 0.2,
    noise: float = 1.0,
    difficulty: float = 1.0,
    motion: float = 1.0,
    seed: int = 0,
) -> list[Clip]:
    """Clips of made-up studies, study by study; the same arguments give the same clips.

    Frames are uint8 ``(n_frames, size, size)``. What a study holds is drawn first; every clip then has a
    random generator of its own, from the seed, its study and its number.

    Args:
        n_views: least and most clips (angulations) of a study, 1 to 2.
        n_findings: least and most stenoses of a study that has any, 1 to 5, each in another segment.
        percents: diameter reductions to draw from, in steps of 5, 5 to 95.
        share_normal: share of studies without a stenosis.
        duplicate_rate: share of studies whose report, and whose findings, are those of another study.
        distinct: no two studies, copies aside, have the same view and findings. There are only two normal
            contents, so at most two normal studies then; the others get findings.
        same_patient: share of studies that are of the same patient as the one before.
        noise: times that of a usual film; 0: none.
        difficulty: how far patients and angulations differ, and how much lies behind the vessels; 0: nothing.
        motion: of the heart; 0: stands still.

    Raises:
        ParameterError: names the argument that is out of range, or ``distinct`` where there are too few
            contents.
    """
    _check(n_studies, n_views, n_frames, size, n_findings, percents)
    _check_dials(share_normal, duplicate_rate, same_patient, noise, difficulty, motion)
    rng = np.random.default_rng([seed, 0])
    plans = plan_studies(
        n_studies, share_normal, n_findings, percents, duplicate_rate, same_patient, distinct, rng
    )
    numbers = np.random.default_rng([seed, 4]).integers(n_views[0], n_views[1] + 1, n_studies)
    return [
        make_clip(plan, number, n_frames, size, noise, difficulty, motion, seed)
        for plan, views in zip(plans, numbers, strict=True)
        for number in range(views)
    ]


def make_clip(
    plan: StudyPlan,
    number: int,
    n_frames: int,
    size: int,
    noise: float,
    difficulty: float,
    motion: float,
    seed: int,
) -> Clip:
    """The ``number``-th clip of a planned study."""
    side = VIEW_NUMBERS[plan.view]
    steps = max(4, round(STRETCH * FINER * size / STEP))
    healthy = grow_tree(plan.view, steps, difficulty, np.random.default_rng([seed, 1, plan.patient, side]))
    lesions = plant(healthy, plan.findings, np.random.default_rng([seed, 2, plan.number]))
    tree = narrowed(healthy, lesions)
    rng = np.random.default_rng([seed, 3, plan.number, number])
    film = expose(tree, drawn_angles(plan.view, number, difficulty, rng), n_frames, motion, rng)
    frames = light(thickness(tree, film, size), scenery(size, difficulty, rng), GRAIN * noise, rng)
    stenoses = tuple(_seen(lesion, healthy, film) for lesion in lesions)
    study = f"study_{plan.number:04d}"
    return Clip(
        id=f"phantom/{study}/view_{number}",
        study=study,
        patient=f"patient_{plan.patient:04d}",
        view=plan.view,
        report=plan.report,
        stenoses=stenoses,
        source=frames,
        fps=n_frames / SECONDS,
    )


def _seen(lesion: Lesion, healthy: Tree, film: Film) -> Stenosis:
    """Where a lesion is best seen: the frame in which it and its neighbourhood hold most contrast."""
    inside = distance_to(healthy, lesion) <= HALF_LENGTH
    frame = int(film.contrast[:, inside].mean(axis=1).argmax())
    reach = healthy.radius[inside][:, None] + MARGIN
    low = (film.places[frame, inside] - reach).min(axis=0).clip(0, 1)
    high = (film.places[frame, inside] + reach).max(axis=0).clip(0, 1)
    box = float(low[1]), float(low[0]), float(high[1]), float(high[0])
    return Stenosis(lesion.segment, lesion.percent, frame, box)


def _check(
    n_studies: int,
    n_views: tuple[int, int],
    n_frames: int,
    size: int,
    n_findings: tuple[int, int],
    percents: Sequence[int],
) -> None:
    rules = {
        f"n_studies={n_studies}: at least 1 is expected": n_studies >= 1,
        f"n_views={n_views}: least and most, 1 to 2, are expected": _ordered(n_views, 1, 2),
        f"n_frames={n_frames}: at least 1 is expected": n_frames >= 1,
        f"size={size}: at least 32 pixels are expected": size >= 32,
        f"n_findings={n_findings}: least and most, 1 to 5, are expected": _ordered(n_findings, 1, 5),
        f"percents={tuple(percents)}: steps of 5 from 5 to 95 are expected": len(percents) > 0
        and all(5 <= percent <= 95 and percent % 5 == 0 for percent in percents),
    }
    _refuse(rules)


def _check_dials(
    share_normal: float,
    duplicate_rate: float,
    same_patient: float,
    noise: float,
    difficulty: float,
    motion: float,
) -> None:
    rules = {
        f"share_normal={share_normal:g}: 0 to 1 is expected": 0 <= share_normal <= 1,
        f"duplicate_rate={duplicate_rate:g}: 0 or more and below 1 is expected": 0 <= duplicate_rate < 1,
        f"same_patient={same_patient:g}: 0 or more and below 1 is expected": 0 <= same_patient < 1,
        f"noise={noise:g}: 0 to 20 is expected": 0 <= noise <= 20,
        f"difficulty={difficulty:g}: 0 to 4 is expected": 0 <= difficulty <= 4,
        f"motion={motion:g}: 0 to 3 is expected": 0 <= motion <= 3,
    }
    _refuse(rules)


def _ordered(pair: Sequence[int], low: int, high: int) -> bool:
    return len(pair) == 2 and low <= pair[0] <= pair[1] <= high


def _refuse(rules: dict[str, bool]) -> None:
    for message, holds in rules.items():
        if not holds:
            raise ParameterError(message)
