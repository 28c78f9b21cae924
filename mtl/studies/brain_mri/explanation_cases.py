"""Which cases an explanation shows: as many right as wrong ones, drawn by seed and not by looks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtl.evaluation.brain_mri import average_over_folds
from mtl.studies.brain_mri.explanation import TRAINED, tumour_maps
from mtl.studies.brain_mri.study import BrainMriStudy

#: Kind of answer to (label, decision).
KINDS = {
    "true positive": (1, True),
    "false negative": (1, False),
    "true negative": (0, False),
    "false positive": (0, True),
}


def balanced_cases(predictions: pd.DataFrame, per_kind: int = 4, seed: int = 0) -> pd.DataFrame:
    """Up to ``per_kind`` cases of each kind of answer, in the order of ``KINDS``.

    predictions: rows of one stage (``read_predictions``). A case that several folds test appears once, with
    one of its folds, drawn as well. Adds the columns ``kind`` and ``available`` (distinct cases of the kind).
    """
    shuffled = predictions.sample(frac=1.0, random_state=seed)
    decided = shuffled["tumor_prob"] >= shuffled["threshold"]
    parts = []
    for kind, (label, decision) in KINDS.items():
        cases = shuffled[(shuffled["cls"] == label) & (decided == decision)].drop_duplicates("id")
        parts.append(cases.head(per_kind).assign(kind=kind, available=len(cases)))
    # A slice may be answered rightly by one fold's network and wrongly by another's: it is shown once.
    return pd.concat(parts, ignore_index=True).drop_duplicates("id", ignore_index=True)


def off_target(predictions: pd.DataFrame, explanations: pd.DataFrame, n: int = 8) -> pd.DataFrame:
    """Tumours that were found, with the least of the map's energy on them: right for another reason?

    predictions: rows of one stage; explanations: of ``write_explanations``. Each case once, in its worst
    fold, with ``energy_inside``; undefined maps have no energy and are not among them.
    """
    found = average_over_folds(predictions).query("cls == 1 and tumor_prob >= threshold")["id"]
    maps = explanations[(explanations["map"] == TRAINED) & explanations["id"].isin(found)]
    return maps.dropna(subset=["energy_inside"]).sort_values("energy_inside").drop_duplicates("id").head(n)


def maps_of(study: BrainMriStudy, cases: pd.DataFrame) -> list[NDArray[np.float32]]:
    """The trained map over pixels ``(H, W)`` of each row's ``id`` and ``fold``, in the rows' order."""
    maps: dict[tuple[int, str], NDArray] = {}
    for fold, rows in cases.groupby("fold"):
        _, pixels = tumour_maps(study, int(fold), list(rows["id"]))
        maps |= {(int(fold), name): cam for name, cam in zip(rows["id"], pixels, strict=True)}
    return [maps[int(row.fold), row.id] for row in cases.itertuples()]
