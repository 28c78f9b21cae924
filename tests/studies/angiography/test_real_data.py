"""ARCADE stills go through training and evaluation as films do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mtl.datasets.splits import PARTS
from mtl.reporting.check import check_run
from mtl.studies.angiography.comparison import study_scores
from mtl.studies.angiography.masked_evaluation import masked_table
from mtl.studies.angiography.scoring import SHOWN_CONTROLS, score_network
from mtl.studies.angiography.study import AngiographyStudy

from .conftest import ROOT, smoke

SMALL = {
    "size": 32, "tubelet_side": 8, "width": 16, "heads": 2, "video_depth": 1, "text_depth": 1,
    "caption_depth": 1, "batch_size": 4, "clips_per_epoch": 12, "probe_batches": 3, "probe_every": 0,
    "epochs": 1, "codebook": 8, "n_bootstrap": 100, "precision": "32-true",
}  # fmt: skip


@pytest.mark.real_data
def test_stills_are_learnt_from_and_scored_without_special_cases(data_root: Path, tmp_path: Path) -> None:
    study = AngiographyStudy(smoke(tmp_path, "real_arcade", data_root=str(data_root), **SMALL))
    patients = [{clip.patient for clip in study.parts[part]} for part in PARTS]
    assert all(patients) and sum(map(len, patients)) == len(set().union(*patients))
    batch = next(iter(study.loader(study.first).batches(1)))
    assert batch["video"].shape == (4, 3, 1, 32, 32)
    assert study.train_one(study.first).steps == 3
    tables = score_network(study, study.first)
    assert {"retrieval", "retrieval_shuffled", "captions"} <= set(tables)
    assert set(tables["captions"]["arm"]) == set(SHOWN_CONTROLS)
    assert set(study_scores(study, "all").columns) == {"study", "to_report", "to_video", "fields", "seed"}
    assert len(masked_table(study, study.first)) == len(study.parts.test)


@pytest.mark.slow
@pytest.mark.real_data
def test_all_notebooks_run_on_stills_whose_reports_have_no_percentages(
    data_root: Path, tmp_path: Path
) -> None:
    values = {**SMALL, "data_root": data_root, "output_root": tmp_path}
    pairs = [text for name, value in values.items() for text in ("-p", f"{name}={value}")]
    command = [
        sys.executable,
        "-m",
        "mtl.cli",
        "run",
        "angiography",
        "--params",
        "real_arcade",
        "--no-preflight",
    ]
    done = subprocess.run([*command, *pairs], capture_output=True, text=True, timeout=800, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert check_run(tmp_path / "angiography" / "real_arcade") == {}
