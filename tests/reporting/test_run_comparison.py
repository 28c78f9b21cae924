"""Two runs side by side, against scikit-learn; runs of other test sets are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mtl.errors import MissingArtefactError, ParameterError, ProtocolError
from mtl.files import write_json
from mtl.reporting.check import check_report
from mtl.reporting.run_comparison import compare_runs
from mtl.reporting.run_comparison_page import write_comparison_page


def predictions(skill: float, test_hash: str = "feed" * 16) -> pd.DataFrame:
    """40 cases of two sources in 20 groups; those of ``b`` have masks."""
    rng = np.random.default_rng(5)
    cases = pd.DataFrame({"id": [f"c{i}" for i in range(40)], "cls": rng.integers(0, 2, 40)})
    cases["source"], cases["group"] = np.repeat(["a", "b"], 20), [f"g{i // 2}" for i in range(40)]
    cases["has_mask"] = cases["source"] == "b"
    dice = pd.Series(rng.random(40) * 0.4 + skill * 0.5).where(cases["has_mask"])
    return cases.assign(
        patient=cases["group"], slice=0, fold=0, tumor_prob=(rng.random(40) + skill * cases["cls"]) / 2,
        threshold=0.5, dice=dice, iou=dice, hd95=1.0, mask_pixels=np.where(cases["cls"] == 1, 30.0, 0.0),
        predicted_pixels=30.0, stage="joint", test_hash=test_hash, made_by="x",
    )  # fmt: skip


def write_run(folder: Path, skill: float, study: str = "brain_mri", **parameters: object) -> Path:
    """A run directory with one stage, as far as a comparison reads it."""
    test_hash = str(parameters.pop("test_hash", "feed" * 16))
    values = {"run": folder.name, "output_root": "outputs", "lambda_cls": 1.0, "seed": 0} | parameters
    write_json(folder / "provenance.json", {"study": study, "run": folder.name, "parameters": values})
    (folder / "predictions").mkdir()
    predictions(skill, test_hash).to_parquet(folder / "predictions" / "joint.parquet")
    predictions(0.0).assign(stage="majority").to_parquet(folder / "predictions" / "baselines.parquet")
    stage = folder / "checkpoints" / "fold_0" / "joint"
    stage.mkdir(parents=True)
    curve = [
        {"stage": "joint", "epoch": epoch, "step": 4 * epoch, "key": key, "value": skill * epoch / 5}
        for epoch in (1, 2, 3)
        for key in ("val/dice_and_balanced_accuracy", "train/loss/segmentation")
    ]
    pd.DataFrame(curve).to_parquet(stage / "history.parquet")
    return folder


def test_differences_parameters_and_page(tmp_path):
    first = write_run(tmp_path / "first", 0.2)
    second = write_run(tmp_path / "second", 0.8, lambda_cls=3.0, split_seed=2)
    found = compare_runs(first, second, n_resamples=200)

    assert found.differing.to_dict("records") == [
        {"parameter": "lambda_cls", "first": "1.0", "second": "3.0"},
        {"parameter": "split_seed", "first": "not recorded", "second": "2"},
    ]
    rows = found.table.set_index(["stage", "metric", "source"])
    a, b = predictions(0.2), predictions(0.8)
    auc = [roc_auc_score(table["cls"], table["tumor_prob"]) for table in (a, b)]
    pooled = rows.loc[("joint", "roc_auc", "pooled")]
    assert (pooled["first_value"], pooled["second_value"], pooled["value"]) == pytest.approx(
        (*auc, auc[1] - auc[0])
    )
    assert pooled["low"] < pooled["value"] < pooled["high"]
    filled = (a["source"] == "b") & (a["mask_pixels"] > 0)
    gain = (b["dice"] - a["dice"])[filled].mean()
    assert rows.loc[("joint", "dice_nonempty", "b"), "value"] == pytest.approx(gain)
    assert ("joint", "dice_nonempty", "a") not in rows.index and "baselines" not in set(found.table["stage"])
    assert found.table["p_holm"].ge(found.table["p_value"]).all()

    text = found.to_text()
    assert "second minus first" in text and f"{auc[1]:.2f}" in text and "not about training again" in text
    page = write_comparison_page(found, tmp_path / "pages" / "page.html")
    html = page.read_text()
    assert check_report(page) == []
    assert "second against first" in html and "lambda_cls" in html and "a panel per stage" in html
    assert "brain_mri" in html and "feedfeedfeed" in html


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    runs = [write_run(tmp_path / where / "quick", skill) for where, skill in (("a", 0.2), ("b", 0.2))]
    found = compare_runs(*runs, n_resamples=100)
    assert found.names == ("quick 1", "quick 2")
    assert found.differing.empty and "no parameter differs" in found.to_text()
    assert found.table["value"].abs().max() == 0


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    first = write_run(tmp_path / "first", 0.2)
    other = write_run(tmp_path / "other", 0.2, test_hash="beef" * 16)
    with pytest.raises(ProtocolError, match="first .*: feedfeedfeed.*other .*: beefbeefbeef"):
        compare_runs(first, other)
    with pytest.raises(ParameterError, match="first is a run of brain_mri, .*elsewhere of em"):
        compare_runs(first, write_run(tmp_path / "elsewhere", 0.2, study="em"))
    with pytest.raises(MissingArtefactError, match="gone/provenance.json is not there: a run directory"):
        compare_runs(first, tmp_path / "gone")
    empty = write_run(tmp_path / "empty", 0.2)
    (empty / "predictions" / "joint.parquet").unlink()
    with pytest.raises(MissingArtefactError, match="no predictions of the same stage"):
        compare_runs(first, empty)


def test_a_study_without_slices_is_refused_by_name(tmp_path):
    runs = [write_run(tmp_path / name, 0.2, study="em") for name in ("first", "second")]
    for run in runs:
        table = run / "predictions" / "joint.parquet"
        pd.read_parquet(table).drop(columns="tumor_prob").to_parquet(table)
    with pytest.raises(ParameterError, match="runs of em cannot be compared here yet"):
        compare_runs(*runs)
