"""What ``mtl predict`` does: parameters, predictor, folder, page, with a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from mtl.errors import CheckpointError
from mtl.files import read_json
from mtl.inference.brain_mri import MultiTaskPredictor, predict_folder
from mtl.inference.brain_mri.folder import Case, FolderPrediction
from mtl.inference.brain_mri.uncertainty import UncertaintyOptions
from mtl.reporting.prediction_page import PredictionPage
from mtl.studies.brain_mri import stages
from mtl.studies.brain_mri.production import ProductionParameters, load_production
from mtl.studies.parameters import project_path

PREDICTS = ("brain_mri",)
_SECONDS_IN_A_LOG = 30.0


def predict_with_page(
    folder: Path, params: str, overrides: Mapping[str, Any], out: Path | None = None
) -> FolderPrediction:
    """Predict a folder and write its page.

    Args:
        folder: of images.
        params: YAML file of ``ProductionParameters``; empty: the project's own.
        overrides: replace its values.
        out: where results go; ``<output_root>/<name of folder>`` where not given.

    Raises:
        ParameterError, CheckpointError, DataError: parameters, checkpoint or folder are no good.
    """
    p = load_production(params, overrides)
    out = out or project_path(p.output_root) / folder.resolve().name
    predictor = MultiTaskPredictor(_checkpoint(p, overrides), **p.predictor_options)
    page = PredictionPage(p.picture_size, p.max_pictures)
    often = 0.1 if sys.stderr.isatty() else _SECONDS_IN_A_LOG
    with tqdm(unit="file", desc=f"predicting {folder.name}", mininterval=often) as bar:

        def add(case: Case) -> None:
            page.add(case)
            bar.update()

        result = predict_folder(
            predictor,
            folder,
            out,
            uncertainty=UncertaintyOptions(p.dropout_samples, p.test_time_augmentation, p.seed),
            on_start=bar.reset,
            on_case=add,
        )
    page.write(result, folder, predictor)
    return result


def _checkpoint(p: ProductionParameters, overrides: Mapping[str, Any]) -> Path:
    """A folder that is given counts from where the command is given, one of the file from the project."""
    given = "checkpoint" in overrides
    folder = Path(p.checkpoint) if given else project_path(p.checkpoint)
    record = folder.resolve().parent / "stage.json"
    stage = read_json(record)["stage"] if record.is_file() else None
    if stage is not None and stage not in stages.CLASSIFIES:
        known = " or ".join(stages.CLASSIFIES)
        raise CheckpointError(
            f"{folder}: stage {stage!r} has not trained a classification; name a checkpoint of {known}"
        )
    if not given and not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such checkpoint; train one (mtl run brain_mri --params real), or name another "
            "with --checkpoint"
        )
    return folder
