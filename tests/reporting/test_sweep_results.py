"""What the sweep's notebook reads and draws."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
import pytest

from mtl.errors import MissingArtefactError
from mtl.files import write_json
from mtl.reporting.figures_sweep import curves_of_arms, seeds_of_arms
from mtl.reporting.sweep_results import (
    counted_verdicts,
    forest_rows,
    nested_differences,
    read_sweep,
    readable_differences,
    wide_values,
)

matplotlib.use("Agg")
SCORES = {("plain", 0): 0.5, ("plain", 1): 0.6, ("heavy", 0): 0.8, ("heavy", 1): 0.7}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two arms x two seeds, as far as the notebook reads them."""
    points = []
    for (arm, seed), score in SCORES.items():
        place = tmp_path / "points" / "brain_mri" / f"{arm}-seed{seed}"
        (place / "predictions").mkdir(parents=True)
        pd.DataFrame({"id": ["a", "b"], "tumor_prob": score}).to_parquet(place / "predictions/joint.parquet")
        stage = place / "checkpoints" / "fold_0" / "joint"
        stage.mkdir(parents=True)
        rows = [(1, "val/dice_and_balanced_accuracy", score), (1, "train/loss/segmentation", 9.0),
                (2, "val/dice_and_balanced_accuracy", score + 0.1)]  # fmt: skip
        pd.DataFrame(rows, columns=["epoch", "key", "value"]).to_parquet(stage / "history.parquet")
        trained = [{"stage": "joint", "fold": 0, "best_epoch": 2, "best_score": score, "seconds": 3.0}]
        write_json(place / "point.json", {"predictions": "predictions/joint.parquet", "trained": trained})
        points.append({"arm": arm, "seed": seed, "folder": place.relative_to(tmp_path).as_posix()})
    differing = {"plain": {"lambda_cls": 1.0}, "heavy": {"lambda_cls": 3.0}}
    plan = {"baseline": "plain", "arms": {"plain": {}, "heavy": {}}, "differing": differing, "points": points}
    write_json(tmp_path / "sweep.json", plan)
    return tmp_path


def test_a_sweep_is_read_with_arm_and_seed(folder):
    sweep = read_sweep(folder)
    assert sweep.predictions.groupby(["arm", "seed"])["tumor_prob"].first().to_dict() == SCORES
    assert sweep.trained["seconds"].tolist() == [3.0] * 4
    assert sweep.differing().to_dict("records") == [
        {"arm": "plain", "lambda_cls": "1.0"}, {"arm": "heavy", "lambda_cls": "3.0"},
    ]  # fmt: skip
    assert sweep.others() == ["heavy"]


def test_what_is_missing_is_named(folder):
    (folder / "points/brain_mri/heavy-seed1/point.json").unlink()
    with pytest.raises(
        MissingArtefactError, match="heavy-seed1/point.json is not there: run mtl sweep again"
    ):
        read_sweep(folder)
    with pytest.raises(MissingArtefactError, match="gone/sweep.json is not there: run mtl sweep first"):
        read_sweep(folder / "gone")


def test_figures_draw_every_network_and_the_mean_curve_of_every_arm(folder):
    rows = [{"metric": "roc_auc", "arm": a, "seed": s, "value": v} for (a, s), v in SCORES.items()]
    axis = seeds_of_arms(pd.DataFrame(rows), {"roc_auc": "ROC-AUC"}).axes[0]
    dots = [tuple(line.get_xdata()) for line in axis.lines if line.get_marker() == "o"]
    assert dots == [(0.5, 0.6), (0.8, 0.7)] and axis.get_title(loc="left") + axis.get_title() == "ROC-AUC"
    curves = curves_of_arms(read_sweep(folder)).axes[0].lines
    assert {line.get_label(): line.get_ydata().tolist() for line in curves} == {
        "plain": pytest.approx([0.55, 0.65]), "heavy": pytest.approx([0.75, 0.85]),
    }  # fmt: skip


def test_tables_for_people_and_for_files():
    keys = {"metric": "roc_auc", "baseline": "plain", "margin": 0.05, "n": 9, "unit": "group"}
    numbers = {"value": 0.2, "low": 0.1, "high": 0.3, "seeds_low": 0.15, "seeds_high": 0.25,
               "p_holm": 0.01, "minimal_detectable": 0.1}  # fmt: skip
    table = pd.DataFrame(
        [
            {**keys, **numbers, "source": "pooled", "arm": "very_heavy", "verdict": "positive"},
            {**keys, **numbers, "source": "a", "arm": "very_heavy", "verdict": "no verdict", "low": None},
        ]
    )
    assert readable_differences(table)["arm"].tolist() == ["very heavy"] * 2
    nested = nested_differences(table)["roc_auc"]
    assert nested["pooled"]["very_heavy"]["value"] == 0.2 and nested["a"]["very_heavy"]["low"] is None
    assert [row["label"] for row in forest_rows(table)] == ["very heavy"]
    assert counted_verdicts(table) == "positive for 1, no verdict for 1"

    rows = [
        {"metric": "roc_auc", "source": "pooled", "arm": a, "seed": s, "value": v}
        for (a, s), v in SCORES.items()
    ]
    means = pd.DataFrame([{**rows[0], "estimate": {"value": 0.55}}, {**rows[2], "estimate": {"value": 0.75}}])
    wide = wide_values(pd.DataFrame(rows), means, "roc_auc", "pooled")
    assert wide["arm"].tolist() == ["plain", "heavy"] and wide["seed 1"].tolist() == [0.6, 0.7]
    assert [one["value"] for one in wide["mean over seeds"]] == [0.55, 0.75]
