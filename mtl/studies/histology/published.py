"""The rows of the README's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtl.evaluation.statistics import Estimate
from mtl.studies.histology.loss_sets import ALPHAS, SHOWN, arm_name, shown_arm
from mtl.studies.histology.parameters import PHANTOM
from mtl.studies.histology.scoring import OTSU, OUTSIDE, TEST
from mtl.studies.histology.study import HistologyStudy

_METRICS = {"pq": "PQ", "aji": "AJI", "dice": "Dice"}


def published_rows(
    study: HistologyStudy, figures: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
) -> dict[str, Any]:
    """Figures of the test part and of the outside set, for ``publish``.

    Args:
        figures: part to arm (``otsu`` among them) to metric.
    """
    p, shown = study.parameters, {arm_name(OTSU, 0.0): "Otsu and watershed"}
    shown |= {arm_name(*arm): shown_arm(*arm) for arm in study.arms}
    sources = {TEST: "phantom" if p.tiles == PHANTOM else p.tiles, OUTSIDE: f"{p.outside} (outside)"}
    rows = [
        {
            "stage": shown[arm],
            "source": sources[part],
            "metric": f"{label} (n = {found[metric].n} images)",
            "estimate": found[metric],
        }
        for part, arms in figures.items()
        for arm, found in arms.items()
        for metric, label in _METRICS.items()
        if metric in found and found[metric].value is not None
    ]
    usual = {loss: p.model_fields[name].default for loss, name in ALPHAS.items()}
    others = [f"{SHOWN[loss]} weighs {p.alphas[loss]:g}" for loss in ALPHAS if p.alphas[loss] != usual[loss]]
    title = ["Histology", "phantom" if p.tiles == PHANTOM else "real tissue", *others]
    return {"title": ", ".join(title), "rows": rows}
