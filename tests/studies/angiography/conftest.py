"""A run of the study at smoke size, whose network of all objectives is trained once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl.studies.angiography.parameters import AngiographyParameters
from mtl.studies.angiography.study import AngiographyStudy
from mtl.training.objective import Batch

ROOT = Path(__file__).resolve().parents[3]


def smoke(output_root: Path, file: str = "smoke", **changes) -> AngiographyParameters:
    """The parameters of a file in ``params/angiography`` with changes, on the CPU."""
    values = {"output_root": str(output_root), "device": "cpu", **changes}
    return AngiographyParameters.from_yaml(ROOT / f"params/angiography/{file}.yaml", values)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> AngiographyStudy:
    """All objectives, two epochs of three batches."""
    study = AngiographyStudy(smoke(tmp_path_factory.mktemp("outputs")))
    study.train_one(study.first)
    return study


@pytest.fixture
def batch(trained: AngiographyStudy) -> Batch:
    """The first training batch of all objectives: four clips."""
    return next(iter(trained.loader(trained.first).batches(1)))
