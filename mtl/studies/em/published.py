"""The rows of the README's table, from the evaluation and from the clicks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtl.evaluation.statistics import Estimate
from mtl.studies.em.segmentation import INTENSITY
from mtl.studies.em.study import EMStudy
from mtl.studies.em.variants import shown_name

#: Figures of the click curves that are published.
_CLICKS = {
    "dice@0": "Dice, no click",
    "dice@3": "Dice, 3 clicks",
    "noc@85": "NoC@85",
    "failed@85": "failed at 85",  # NoC counts a failure as the largest number of clicks, which flatters
}


def published_segmentations(
    study: EMStudy, baseline: Estimate, networks: Mapping[str, Estimate]
) -> dict[str, Any]:
    """Adapted Rand errors of the intensity watershed and of every network's instances, for ``publish``.

    Args:
        networks: variant to the error of the decoding that validation chose for it.
    """
    errors = {INTENSITY: baseline, **networks}
    label = "adapted Rand error"
    return _section(study, [_row(study, name, label, estimate) for name, estimate in errors.items()])


def published_clicks(study: EMStudy, figures: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Any]:
    """Dice before and after clicks, and clicks needed, for ``publish``.

    Args:
        figures: arm to what ``summarise_clicks`` found. Figures beyond the run's ``max_clicks`` are left out.
    """
    rows = [
        _row(study, arm, label, found[name])
        for arm, found in figures.items()
        for name, label in _CLICKS.items()
        if name in found
    ]
    return _section(study, rows)


def _row(study: EMStudy, stage: str, label: str, estimate: Estimate) -> dict[str, Any] | None:
    """A row of the table, or None where the figure is not defined; its column says over how many units."""
    if estimate.value is None:
        return None
    metric = f"{label} (n = {estimate.n} {estimate.unit}s)"
    shown = {"stage": shown_name(stage), "source": study.volume.name, "metric": metric}
    return shown | {"estimate": estimate}


def _section(study: EMStudy, rows: list[dict[str, Any] | None]) -> dict[str, Any]:
    phantom = study.parameters.volume == "phantom"
    kind = "phantom" if phantom else f"real tissue ({study.volume.name})"
    return {
        "title": f"EM, {kind}, {study.parameters.dims}-D",
        "rows": [row for row in rows if row],
    }
