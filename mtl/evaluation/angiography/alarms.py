"""What a report on retrieval and captions must warn of, beside its figures."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mtl.evaluation.protocol import MIN_UNITS, Alarm
from mtl.evaluation.statistics import Estimate

COLLAPSED = 2.0  # directions: a space of fewer is a line
SIDES = {"video": "films", "report": "reports"}


def retrieval_alarms(
    retrieval: Mapping[str, Mapping[str, Estimate]],
    chance: Mapping[str, Mapping[str, float]],
    monitors: Mapping[str, float],
) -> list[Alarm]:
    """Of both directions of retrieval, and of the common space.

    Args:
        retrieval: direction to its metrics, as of ``summarise_retrieval``; chance: of ``chance_levels``.
        monitors: of ``collapse_monitors``.

    Codes: few_units, at_chance, collapsed.
    """
    found = []
    units = min((metrics["recall_1"].n for metrics in retrieval.values()), default=MIN_UNITS)
    if units < MIN_UNITS:
        found.append(Alarm("few_units", f"{units} test studies, fewer than {MIN_UNITS}"))
    for direction, metrics in retrieval.items():
        low, level = metrics["recall_1"].low, chance[direction]["recall_1"]
        if low is not None and low <= level:
            found.append(Alarm("at_chance", f"{direction}: R@1 is not shown to be above chance"))
    for side, name in SIDES.items():
        if (rank := monitors.get(f"effective_rank_{side}", COLLAPSED)) < COLLAPSED:
            found.append(Alarm("collapsed", f"the embeddings of {name} fill {rank:.1f} directions"))
    return found


def caption_alarms(captions: pd.DataFrame, severe_auroc: Estimate, ignores_video: bool) -> list[Alarm]:
    """Of the written reports: a row per clip with ``study`` and ``generated``.

    Codes: few_units, constant, video_ignored, auc_below_half.
    """
    found = []
    if (units := captions["study"].nunique()) < MIN_UNITS:
        found.append(Alarm("few_units", f"{units} test studies, fewer than {MIN_UNITS}"))
    if len(captions) > 1 and captions["generated"].nunique() == 1:
        found.append(Alarm("constant", f"all {len(captions)} films get one and the same report"))
    if ignores_video:
        told = "with films exchanged between studies the written reports are as good"
        found.append(Alarm("video_ignored", told))
    if severe_auroc.value is not None and severe_auroc.value < 0.5:
        found.append(Alarm("auc_below_half", "severe stenoses get the lower percentages (AUROC below 0.5)"))
    return found
