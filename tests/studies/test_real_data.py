"""The real parameters on the real slices, cut down to minutes: reports without fault, a split without leaks.

The split is held against the files themselves (names, groups.csv, equal bytes), not only against what the
package says about them.
"""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest

from mtl.files import read_json
from mtl.reporting.check import check_run

pytestmark = pytest.mark.real_data
ROOT = Path(__file__).resolve().parents[2]
N_FOLDS = 2
SMALL = {
    "n_folds": N_FOLDS, "image_size": 64, "base_filters": 4, "depth": 2, "warm_up_epochs": 2,
    "head_epochs": 1, "joint_epochs": 1, "reference_folds": 0, "n_bootstrap": 100,
    "rho_values": "0,1", "shortcut_patients": 24, "shortcut_test_patients": 24, "shortcut_epochs": 1,
}  # fmt: skip
NOTEBOOKS = [
    "01_data_and_sources",
    "02_warm_up",
    "03_head",
    "04_joint",
    "05_evaluation",
    "06_source_shortcut",
    "07_explanation",
]
STAGES = ["warm_up", "head", "joint"]
PARTS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def run(data_root, tmp_path_factory) -> Path:
    """The run directory of ``mtl run brain_mri --params real``, cut down."""
    outputs = tmp_path_factory.mktemp("outputs")
    values = {"data_root": data_root, "output_root": outputs, **SMALL}
    pairs = [word for name, value in values.items() for word in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "mtl.cli", "run", "brain_mri", "--params", "real", *pairs]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return outputs / "brain_mri" / "real"


@pytest.fixture(scope="module")
def slices(run) -> pd.DataFrame:
    return pd.read_parquet(run / "slices.parquet")


@pytest.fixture(scope="module")
def folds(run) -> list[dict[str, list[str]]]:
    """Ids of train, validation and test per fold, as frozen in the run directory."""
    return read_json(run / "split.json")["folds"]


@pytest.fixture(scope="module")
def predictions(run) -> dict[str, pd.DataFrame]:
    return {name: pd.read_parquet(run / "predictions" / f"{name}.parquet") for name in [*STAGES, "baselines"]}


def of_source(ids: list[str], source: str) -> list[str]:
    return [name for name in ids if name.startswith(f"{source}/")]


def test_reports_without_fault(run):
    assert sorted(path.stem for path in (run / "reports").glob("*.html")) == NOTEBOOKS
    assert check_run(run) == {}


def test_both_sources_are_in_the_tables_of_every_stage(run, slices, predictions):
    assert set(slices["source"]) == {"kaggle", "lgg"}
    for table in predictions.values():
        assert set(table["source"]) == {"kaggle", "lgg"}
    metrics = read_json(run / "metrics.json")
    for stage in STAGES:
        for kind in ("classification", "segmentation"):
            assert set(metrics["evaluation"][kind][stage]) == {"kaggle", "lgg", "pooled"}
    rows = {(row["stage"], row["source"]) for row in metrics["published"]["rows"]}
    assert rows >= {(stage, source) for stage in STAGES for source in ("kaggle", "lgg")}


@pytest.mark.parametrize("stage", STAGES)
def test_every_kaggle_slice_is_tested_once_by_a_network_that_has_not_seen_it(
    stage, data_root, predictions, folds
):
    tested = predictions[stage].query("source == 'kaggle'")
    pictures = (data_root / "brain_mri_253" / "brain_tumor_dataset").glob("[yn]*/*")
    expected = sorted(f"kaggle/{path.parent.name}/{path.name}" for path in pictures)
    assert sorted(tested["id"]) == expected
    for row in tested.itertuples():
        assert row.id in folds[row.fold]["test"]
        assert row.id not in [*folds[row.fold]["train"], *folds[row.fold]["validation"]]


def test_lgg_test_patients_are_the_same_in_all_folds_and_nowhere_else(folds, predictions):
    def patients(fold: dict[str, list[str]], *parts: str) -> set[str]:
        """``TCGA_CS_4941`` of ``lgg/TCGA_CS_4941_19960909/...``."""
        return {name.split("/")[1][:12] for part in parts for name in of_source(fold[part], "lgg")}

    first = patients(folds[0], "test")
    assert len(folds) == N_FOLDS and len(first) >= 10
    for fold in folds:
        assert patients(fold, "test") == first
        assert not first & patients(fold, "train", "validation")
        assert not patients(fold, "train") & patients(fold, "validation")
    for stage in STAGES:
        tested = predictions[stage].query("source == 'lgg'")
        assert {name.split("/")[1][:12] for name in tested["id"]} == first
        assert set(tested.groupby("id").size()) == {N_FOLDS}


def test_copies_of_a_kaggle_picture_are_on_one_side(data_root, slices, folds):
    root = data_root / "brain_mri_253"
    alike: dict[str, set[str]] = defaultdict(set)
    with (root / "groups.csv").open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            name = f"kaggle/{Path(row['file']).parent.name}/{Path(row['file']).name}"
            alike[row["near_duplicate_group"]].add(name)
            alike[hashlib.sha256((root / row["file"]).read_bytes()).hexdigest()].add(name)
    for row in slices.query("source == 'kaggle'").itertuples():
        alike[row.group].add(row.id)
    several = [names for names in alike.values() if len(names) > 1]
    assert len(several) > 20
    for names in several:
        for fold in folds:
            sides = [part for part in PARTS if names & set(fold[part])]
            assert len(sides) == 1, (names, sides)


def test_every_table_was_made_on_the_frozen_test_set(run, predictions):
    frozen = read_json(run / "split.json")["test_hash"]
    for name, table in predictions.items():
        assert set(table["test_hash"]) == {frozen}, name
