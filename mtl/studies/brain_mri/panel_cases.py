"""What a panel shows: the newest network of a run, test slices that it did not see, and what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mtl.files import read_json
from mtl.studies.brain_mri import stages
from mtl.studies.brain_mri.study import BrainMriStudy


def trained_network(study: BrainMriStudy) -> Path:
    """Model folder of the first fold's last stage; stages that are missing are trained first."""
    names = [name for name in study.training_order() if name != stages.REFERENCE]
    for name in names:
        study.train(name)
    return study.run.stage(0, names[-1]) / "best"


def panel_slices(study: BrainMriStudy, per_kind: int = 2) -> dict[str, np.ndarray]:
    """Native slices of the first fold's test part, float32 ``(H, W)``, by name.

    The first ``per_kind`` of every source with and without a tumour; the names say which.
    """
    rows = study.rows(0, "test").groupby(["source", "cls"], sort=True).head(per_kind)
    kinds = {0: "no tumour", 1: "tumour"}
    return {
        f"{row.id} ({kinds[int(row.cls)]})": study.dataset.native(row.id)[0]
        for row in rows.sort_values(["cls", "source"], ascending=[False, True], kind="stable").itertuples()
    }


def measured_performance(study: BrainMriStudy, stage: str = stages.JOINT) -> list[dict[str, Any]]:
    """Rows of ``source``, ``metric`` and ``estimate`` that notebook 05 measured for a stage over all folds.

    From the run's ``metrics.json``; none where the notebook has not been run.
    """
    path = study.run.metrics
    published = read_json(path).get("published", {}) if path.exists() else {}
    return [row for row in published.get("rows", ()) if row["stage"] == stage and row["in_table"]]
