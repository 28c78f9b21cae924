"""What a finished sweep left, for the notebook that compares its arms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mtl.errors import MissingArtefactError
from mtl.files import read_json
from mtl.reporting.claims import format_figure
from mtl.studies.parameters import project_path

METRIC_NAMES = {
    "roc_auc": "ROC-AUC",
    "roc_auc_within_source": "ROC-AUC within source",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "dice_nonempty": "Dice",
    "combined": "Dice and accuracy",
}


@dataclass(frozen=True)
class SweepResults:
    """``plan``: sweep.json; ``predictions``: all points' test predictions with ``arm`` and ``seed``;
    ``trained``: a row per point and stage (arm, seed, stage, fold, best_epoch, best_score, seconds)."""

    folder: Path
    plan: dict[str, Any]
    predictions: pd.DataFrame
    trained: pd.DataFrame

    def differing(self) -> pd.DataFrame:
        """A row per arm, a column per parameter that is not the same in all arms."""
        table = pd.DataFrame.from_dict(self.plan["differing"], orient="index").astype(str)
        return table.rename_axis("arm").reset_index()

    def others(self) -> list[str]:
        """The arms that are compared with the baseline."""
        return [arm for arm in self.plan["arms"] if arm != self.plan["baseline"]]


def read_sweep(folder: str | Path) -> SweepResults:
    """Read ``sweep.json`` and what its points left. Raises ``MissingArtefactError`` naming the file."""
    folder = project_path(folder)
    if not (folder / "sweep.json").exists():
        raise MissingArtefactError(f"{folder / 'sweep.json'} is not there: run mtl sweep first")
    plan = read_json(folder / "sweep.json")
    predictions, trained = [], []
    for point in plan["points"]:
        place = folder / point["folder"]
        if not (place / "point.json").exists():
            raise MissingArtefactError(f"{place / 'point.json'} is not there: run mtl sweep again")
        record, keys = read_json(place / "point.json"), {"arm": point["arm"], "seed": point["seed"]}
        predictions.append(pd.read_parquet(place / record["predictions"]).assign(**keys))
        trained.append(pd.DataFrame(record["trained"]).assign(**keys))
    return SweepResults(folder, plan, pd.concat(predictions, ignore_index=True), pd.concat(trained))


def wide_values(values: pd.DataFrame, means: pd.DataFrame, metric: str, source: str) -> pd.DataFrame:
    """For people: a row per arm with its mean (interval over seeds) and a column per seed."""
    chosen = values[(values["metric"] == metric) & (values["source"] == source)]
    per_seed = chosen.pivot(index="arm", columns="seed", values="value").add_prefix("seed ")
    averaged = means[(means["metric"] == metric) & (means["source"] == source)].set_index("arm")["estimate"]
    order = list(dict.fromkeys(chosen["arm"]))
    table = per_seed.loc[order].rename_axis(columns=None)
    table.insert(0, "mean over seeds", averaged.loc[order])
    return table.reset_index()


def readable_differences(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of ``compare_with_baseline`` that a reader wants, intervals as estimates."""
    return pd.DataFrame(
        {
            "metric": METRIC_NAMES[row.metric],
            "source": row.source,
            "arm": row.arm.replace("_", " "),
            "difference": {"value": row.value, "low": row.low, "high": row.high},
            "verdict": row.verdict,
            "margin": row.margin,
            "seeds only": {"value": row.value, "low": row.seeds_low, "high": row.seeds_high},
            "detectable": row.minimal_detectable,
            "p (Holm)": None if pd.isna(row.p_holm) else format_figure(float(row.p_holm), "p"),
        }
        for row in table.itertuples()
    )


def forest_rows(table: pd.DataFrame, source: str = "pooled") -> list[dict[str, Any]]:
    """Rows of ``forest_plot``: the arms' differences from the baseline, grouped by metric."""
    return [
        {
            "label": row.arm.replace("_", " "),
            "estimate": {"value": row.value, "low": row.low, "high": row.high},
            "group": METRIC_NAMES[row.metric],
        }
        for row in table[table["source"] == source].itertuples()
    ]


def nested_differences(table: pd.DataFrame) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Metric -> source -> arm -> the row, as comparison.json and metrics.json hold it."""
    nested: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for row in table.astype(object).where(table.notna(), None).to_dict("records"):
        keys = [row.pop(name) for name in ("metric", "source", "arm")]
        nested.setdefault(keys[0], {}).setdefault(keys[1], {})[keys[2]] = row
    return nested


def counted_verdicts(table: pd.DataFrame) -> str:
    """``positive for 1, no verdict for 2``: how often each verdict was given."""
    counts = table["verdict"].value_counts()
    return ", ".join(f"{name} for {number}" for name, number in counts.items())
