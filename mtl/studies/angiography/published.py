"""The rows of the README's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtl.evaluation.statistics import Estimate
from mtl.studies.angiography.parameters import PHANTOM
from mtl.studies.angiography.study import AngiographyStudy

#: Metric of the figures of notebooks 03 and 05 to its column.
_METRICS = {
    "to_report": "R@1, report of a video",
    "to_video": "R@1, video of a report",
    "field_f1": "field F1 (segment, percent within 10 points)",
    "fields": "field F1 by study",
    "segment_f1": "segment F1",
    "percent_mae_all": "error of percent, all findings",
}


def published_rows(
    study: AngiographyStudy, figures: Mapping[str, Mapping[str, Estimate]], what: str = "Angiography"
) -> dict[str, Any]:
    """Figures of the test part, for ``publish``; ``what`` they are of begins their title.

    Args:
        figures: who (the network, its controls, settings, in words) to metric.
    """
    p = study.parameters
    source = "phantom" if p.videos == PHANTOM else p.videos
    rows = [
        {
            "stage": who,
            "source": source,
            "metric": f"{label} (n = {found[metric].n} studies)",
            "estimate": found[metric],
        }
        for who, found in figures.items()
        for metric, label in _METRICS.items()
        if metric in found and found[metric].value is not None
    ]
    kind = "phantom (every claim is one about phantoms)" if p.videos == PHANTOM else "real clips"
    return {"title": f"{what}, {kind}", "rows": rows}
