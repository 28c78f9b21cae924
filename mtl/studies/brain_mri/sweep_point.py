"""One point of a sweep: every stage that the parameters leave in, then test predictions of the last."""

from __future__ import annotations

from typing import Any

from mtl.studies.brain_mri import stages
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.brain_mri.predictions import write_test_predictions
from mtl.studies.brain_mri.study import BrainMriStudy


def train_point(parameters: BrainMriParameters) -> dict[str, Any]:
    """Train (finished stages are taken over, a begun one goes on) and predict; returns the record.

    Keys: stage, predictions (path in the run directory), test_hash, trained (a list of stages with fold, best
    epoch, best score and seconds).
    """
    study = BrainMriStudy(parameters)
    trained = [
        {"stage": stage, "fold": fold, "best_epoch": result.best_epoch,
         "best_score": result.best_score, "seconds": result.seconds}
        for stage in study.training_order()
        for fold, result in enumerate(study.train(stage))
    ]  # fmt: skip
    write_test_predictions(study, stages.JOINT)
    return {
        "stage": stages.JOINT,
        "predictions": study.run.predictions(stages.JOINT).relative_to(study.run.path).as_posix(),
        "test_hash": study.split.test_hash,
        "trained": trained,
    }
