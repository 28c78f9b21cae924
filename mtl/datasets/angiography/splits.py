"""Splits of clips by patient; pictures whose patient nobody knows stay with their near copies."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mtl.datasets.angiography.clips import Clip
from mtl.datasets.near_duplicates import find_near_duplicates
from mtl.datasets.splits import PARTS, FrozenSplit, make_split
from mtl.errors import DataError

SIDE = 128  # pixels: what near copies are looked for at


def clip_table(clips: Sequence[Clip]) -> pd.DataFrame:
    """The table for `make_split`: ``id``, ``source`` (one), ``group``, ``cls`` (1: a stenosis is known).

    ``group`` is the patient. Clips without one (`Clip.patient_known` is False) are grouped by near copies of
    their middle frame. Raises `DataError` for a study of two patients, or ids that occur twice.
    """
    patients: dict[str, str] = {}
    for clip in clips:
        if patients.setdefault(clip.study, clip.patient) != clip.patient:
            raise DataError(
                f"study {clip.study!r} has two patients: {patients[clip.study]!r}, {clip.patient!r}"
            )
    table = pd.DataFrame(
        {
            "id": [clip.id for clip in clips],
            "source": "angiography",
            "group": _groups(clips),
            "cls": [int(bool(clip.stenoses)) for clip in clips],
        }
    )
    if table["id"].duplicated().any():
        raise DataError(f"the clip id {table['id'][table['id'].duplicated()].iloc[0]!r} occurs twice")
    return table


def split_clips(
    clips: Sequence[Clip], test_fraction: float = 0.2, validation_fraction: float = 0.15, seed: int = 0
) -> FrozenSplit:
    """Split clips into train, validation and test, whole groups of `clip_table` on one side.

    Raises `ParameterError` as `make_split` does (fractions, too few groups), `DataError` as `clip_table`.
    """
    return make_split(clip_table(clips), 1, (), test_fraction, validation_fraction, seed)


def clips_of(split: FrozenSplit, clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """The clips of ``train``, ``validation`` and ``test`` of a split's only fold, in the order given.

    Raises `ProtocolError` where clips and split do not belong together.
    """
    split.check(clip_table(clips))
    wanted = {part: set(getattr(split.folds[0], part)) for part in PARTS}
    return {part: [clip for clip in clips if clip.id in wanted[part]] for part in PARTS}


def _groups(clips: Sequence[Clip]) -> list[str]:
    """Name of each clip's group."""
    lone = [clip for clip in clips if not clip.patient_known]
    pictures = [clip.read(1, SIDE).frames[0].mean(axis=-1) for clip in lone]
    numbers = dict(zip((clip.id for clip in lone), find_near_duplicates(pictures), strict=True))
    return [clip.patient if clip.patient_known else f"near copies {numbers[clip.id]}" for clip in clips]
