"""A folder of one's own: one source only, and one without any mask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mtl.datasets.phantoms.brain_folder import write_kaggle_folder
from mtl.datasets.phantoms.brain_mri import BrainPhantom
from mtl.files import read_json
from mtl.reporting.check import check_run

ROOT = Path(__file__).resolve().parents[2]


PHANTOM = {"n_patients": 24, "slices_per_patient": 1, "rho": 0.0, "size": 64, "seed": 3}


def mtl_run(data: Path, outputs: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mtl.cli", "run", "brain_mri", "--params", "smoke"]
    command += ["-p", f"data_root={data}", "-p", f"output_root={outputs}", "-p", "run=own"]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=ROOT)


@pytest.mark.slow
def test_one_source_runs_through_all_notebooks(tmp_path):
    write_kaggle_folder(tmp_path / "data", BrainPhantom(**PHANTOM), masks=True)
    done = mtl_run(tmp_path / "data", tmp_path / "outputs")
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "outputs" / "brain_mri" / "own"
    assert check_run(run) == {}
    found = read_json(run / "metrics.json")["evaluation"]["classification"]["joint"]
    assert set(found) == {"kaggle", "pooled"}
    pooled = found["pooled"]
    assert pooled["roc_auc_within_source"]["value"] == pytest.approx(pooled["roc_auc"]["value"])


@pytest.mark.slow
def test_a_folder_without_any_mask_is_told_what_is_missing(tmp_path):
    write_kaggle_folder(tmp_path / "data", BrainPhantom(**PHANTOM), masks=False)
    done = mtl_run(tmp_path / "data", tmp_path / "outputs")
    assert done.returncode == 1
    assert "no training slice has a filled one" in done.stdout
    assert "01_data_and_sources  ok" in done.stdout
