"""A run of the study at smoke size, trained once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl.studies.histology.parameters import HistologyParameters
from mtl.studies.histology.scoring import score_network, score_otsu
from mtl.studies.histology.study import HistologyStudy

ROOT = Path(__file__).resolve().parents[3]


def smoke(output_root: Path, **changes) -> HistologyParameters:
    """The parameters of ``params/histology/smoke.yaml`` with changes."""
    values = {"output_root": str(output_root), **changes}
    return HistologyParameters.from_yaml(ROOT / "params/histology/smoke.yaml", values)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> HistologyStudy:
    """Every network of the smoke run, trained and scored, and the baseline."""
    study = HistologyStudy(smoke(tmp_path_factory.mktemp("outputs")))
    for training in study.all_trainings():
        study.train_one(training)
        score_network(study, training)
    for fold in study.folds:
        score_otsu(study, fold)
    return study
