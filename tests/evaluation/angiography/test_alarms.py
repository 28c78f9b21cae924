"""Alarms ring for what they are about, and for nothing else."""

from __future__ import annotations

import pandas as pd
import pytest

from mtl.evaluation.angiography import caption_alarms, retrieval_alarms
from mtl.evaluation.statistics import Estimate

CHANCE = {"report of a film": {"recall_1": 0.02}}
SPACE = {"effective_rank_video": 12.0, "effective_rank_report": 9.0}
AUROC = Estimate(0.9, 0.8, 0.95, 60, "study")


def found(low: float | None = 0.3, n: int = 60) -> dict:
    return {"report of a film": {"recall_1": Estimate(0.5, low, 0.7, n, "study")}}


def written(n: int = 60, same: bool = False) -> pd.DataFrame:
    said = ["mLAD 70%" if same else f"mLAD {k}%" for k in range(n)]
    return pd.DataFrame({"study": [f"s{k}" for k in range(n)], "generated": said})


def test_good_results_ring_nothing() -> None:
    assert retrieval_alarms(found(), CHANCE, SPACE) == []
    assert caption_alarms(written(), AUROC, ignores_video=False) == []


@pytest.mark.parametrize(
    ("rung", "codes"),
    [
        (lambda: retrieval_alarms(found(n=29), CHANCE, SPACE), ["few_units"]),
        (lambda: retrieval_alarms(found(low=0.02), CHANCE, SPACE), ["at_chance"]),
        (lambda: retrieval_alarms(found(low=None), CHANCE, SPACE), []),
        (lambda: retrieval_alarms(found(), CHANCE, SPACE | {"effective_rank_report": 1.2}), ["collapsed"]),
        (lambda: caption_alarms(written(29), AUROC, False), ["few_units"]),
        (lambda: caption_alarms(written(same=True), AUROC, False), ["constant"]),
        (lambda: caption_alarms(written(), AUROC, True), ["video_ignored"]),
        (lambda: caption_alarms(written(), Estimate(0.4, 0.3, 0.5, 60, "study"), False), ["auc_below_half"]),
        (lambda: caption_alarms(written(), Estimate(None, None, None, 60, "study"), False), []),
    ],
)
def test_each_pattern_rings_its_own(rung, codes: list[str]) -> None:
    assert [alarm.code for alarm in rung()] == codes
