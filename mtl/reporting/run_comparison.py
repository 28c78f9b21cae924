"""Two runs of one study side by side: parameters that differ, paired differences, training curves.

Intervals and p values are about these trained networks on these test cases; what training again would change
is not in them (that is what ``mtl sweep`` is for).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtl.errors import MissingArtefactError, ParameterError
from mtl.evaluation.brain_mri import POOLED, compare_stages
from mtl.evaluation.brain_mri.arms import planned
from mtl.evaluation.comparison import holm
from mtl.evaluation.protocol import require_same_test_set
from mtl.files import read_json
from mtl.reporting.claims import format_figure
from mtl.reporting.sweep_results import METRIC_NAMES

METRICS = ("roc_auc", "roc_auc_within_source", "balanced_accuracy", "dice_nonempty")
NOT_COMPARED = ("baselines",)
NAMES_ONLY = ("run", "output_root")


@dataclass(frozen=True)
class RunComparison:
    """``names``: of the two runs; ``differing``: parameter, a column per run; ``table``: a row per stage,
    metric and source; ``history``: tidy training curves of both (run, stage, epoch, key, value)."""

    study: str
    names: tuple[str, str]
    folders: tuple[Path, Path]
    test_hash: str
    differing: pd.DataFrame
    table: pd.DataFrame
    history: pd.DataFrame

    def readable(self, first: str, second: str) -> pd.DataFrame:
        """The table for people, estimates with their intervals; ``first``, ``second``: the runs' columns."""
        return pd.DataFrame(
            {
                "stage": row.stage.replace("_", "-"),
                "metric": METRIC_NAMES[row.metric],
                "source": row.source,
                first: row.first_value,
                second: row.second_value,
                "difference": {"value": row.value, "low": row.low, "high": row.high, "reason": row.reason},
                "detectable": row.minimal_detectable,
                "p (Holm)": None if pd.isna(row.p_holm) else format_figure(float(row.p_holm), "p"),
            }
            for row in self.table.itertuples()
        )

    def to_text(self) -> str:
        """What the terminal shows."""
        shown = self.readable(*self.names)
        for column in shown.columns[3:]:
            shown[column] = [format_figure(None if _missing(value) else value) for value in shown[column]]
        same = "no parameter differs" if self.differing.empty else self.differing.to_string(index=False)
        title = f"{self.names[1]} minus {self.names[0]} ({self.study}), test set {self.test_hash[:12]}"
        return (
            f"{title}\n\n{same}\n\n"
            f"{shown.to_string(index=False)}\n\n"
            "Intervals and p values are about these trained networks, not about training again (mtl sweep)."
        )


def compare_runs(first: Path, second: Path, *, n_resamples: int = 1000, seed: int = 0) -> RunComparison:
    """Set ``second`` against ``first``, stage by stage.

    Raises:
        MissingArtefactError: a folder is no run, or the runs have no stage with predictions in common.
        ParameterError: the runs are of different studies, or of one that cannot be compared.
        ProtocolError: they were tested on different test sets; both hashes are named.
    """
    folders = (Path(first), Path(second))
    records = [_provenance(folder) for folder in folders]
    names = run_names(folders)
    studies = [record["study"] for record in records]
    if studies[0] != studies[1]:
        raise ParameterError(f"{folders[0]} is a run of {studies[0]}, {folders[1]} of {studies[1]}")
    tables = _shared_predictions(folders)
    if any("tumor_prob" not in rows for pair in tables.values() for rows in pair):
        raise ParameterError(f"runs of {studies[0]} cannot be compared here yet; there is brain_mri")
    hashes = {
        f"{name} ({folder})": ", ".join(sorted({h for pair in tables.values() for h in pair[i]["test_hash"]}))
        for i, (name, folder) in enumerate(zip(names, folders, strict=True))
    }
    test_hash = require_same_test_set(hashes)
    parts = [
        _differences(stage, names, pair, {"n_resamples": n_resamples, "seed": seed})
        for stage, pair in tables.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    table["p_holm"] = holm(table["p_value"].tolist())
    differing = _differing(names, [record["parameters"] for record in records])
    return RunComparison(studies[0], names, folders, test_hash, differing, table, _history(names, folders))


def run_names(folders: tuple[Path, Path]) -> tuple[str, str]:
    """The folders' names, numbered where they are the same."""
    first, second = (folder.resolve().name for folder in folders)
    return (first, second) if first != second else (f"{first} 1", f"{second} 2")


def _provenance(folder: Path) -> dict[str, Any]:
    path = folder / "provenance.json"
    if not path.exists():
        raise MissingArtefactError(
            f"{path} is not there: a run directory, outputs/<study>/<run>, is expected"
        )
    return read_json(path)


def _shared_predictions(folders: tuple[Path, Path]) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    found = [{path.stem: path for path in (folder / "predictions").glob("*.parquet")} for folder in folders]
    order = ["warm_up", "head", "joint", "reference"]
    shared = sorted(
        (set(found[0]) & set(found[1])) - set(NOT_COMPARED),
        key=lambda stage: (order.index(stage) if stage in order else len(order), stage),
    )
    if not shared:
        raise MissingArtefactError(
            f"{folders[0]} and {folders[1]} have no predictions of the same stage: run both to the end first"
        )
    return {stage: tuple(pd.read_parquet(one[stage]) for one in found) for stage in shared}


def _differences(
    stage: str, names: tuple[str, str], pair: tuple[pd.DataFrame, pd.DataFrame], settings: dict[str, int]
) -> pd.DataFrame:
    both = pd.concat([rows.assign(stage=name) for name, rows in zip(names, pair, strict=True)])
    classifies = both["tumor_prob"].notna().all()
    metrics = [name for name in METRICS if classifies or name == "dice_nonempty"]
    sources = both["source"].nunique()
    parts = [
        compare_stages(
            both, name, 0.0, source=None if source == POOLED else source, pairs=[names], **settings
        )
        for name, source in planned(both, metrics)
        if name != "roc_auc_within_source" or sources > 1
    ]
    # Without a margin fixed beforehand there is nothing to give a verdict on.
    return (
        pd.concat(parts, ignore_index=True).assign(stage=stage).drop(columns=["margin", "verdict", "p_holm"])
    )


def _differing(names: tuple[str, str], parameters: list[dict[str, Any]]) -> pd.DataFrame:
    """A run made before a parameter existed shows it as ``not recorded``."""
    first, second = parameters
    keys = [key for key in dict.fromkeys([*first, *second]) if key not in NAMES_ONLY]
    rows = [
        {
            "parameter": key,
            **{n: str(p.get(key, "not recorded")) for n, p in zip(names, parameters, strict=True)},
        }
        for key in keys
        if first.get(key, np.nan) != second.get(key, np.nan)
    ]
    return pd.DataFrame(rows, columns=["parameter", *names])


def _history(names: tuple[str, str], folders: tuple[Path, Path]) -> pd.DataFrame:
    parts = [
        pd.read_parquet(path).assign(run=name, stage=path.parent.name)
        for name, folder in zip(names, folders, strict=True)
        for path in sorted((folder / "checkpoints").glob("fold_*/*/history.parquet"))
    ]
    columns = ["run", "stage", "epoch", "key", "value"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))
