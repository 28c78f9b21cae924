"""The laboratory's audit on a run's own sources: background only, and each source left out in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mtl.datasets.brain_mri import MultiSourceDataset
from mtl.evaluation.brain_mri import histogram_predictions
from mtl.evaluation.brain_mri.baselines import COLUMNS
from mtl.studies.brain_mri.data import open_dataset
from mtl.studies.brain_mri.predictions import read_predictions
from mtl.studies.brain_mri.shortcut import (
    BACKGROUND_NATIVE,
    BACKGROUND_PREPARED,
    ELSEWHERE,
    background_features,
)
from mtl.studies.brain_mri.small_classifier import Recipe, SmallClassifier, TrainingData
from mtl.studies.brain_mri.study import BrainMriStudy

AUDITED = ["joint", "source_only", "histogram"]


def audit_predictions(study: BrainMriStudy) -> pd.DataFrame:
    """The joint network and what a shortcut alone reaches, on the run's frozen test set; saved.

    Stages joint, source_only and histogram (as saved by earlier notebooks), the background alone as scanned
    and as prepared (grey-value histograms), and every case scored by a small network that learned from the
    other sources only; the last is left out where there are no other sources, or where a class is missing
    in them. Returns the study's prediction table.

    Raises:
        MissingArtefactError: an earlier notebook has not run.
    """
    saved = read_predictions(study, ["joint", "baselines"])
    size = study.parameters.shortcut_size
    same = size == study.parameters.image_size
    small = study.dataset if same else open_dataset(study.parameters.model_copy(update={"image_size": size}))
    elsewhere = [_elsewhere(study, small)] if _others_can_teach(study, small) else []
    own = pd.concat([*_backgrounds(study, small), *elsewhere], ignore_index=True)
    study.run.write_predictions("source_audit", own)
    return pd.concat([saved[saved["stage"].isin(AUDITED)], own], ignore_index=True)


def _backgrounds(study: BrainMriStudy, small: MultiSourceDataset) -> Iterator[pd.DataFrame]:
    folds = [(study.rows(fold, "train"), study.rows(fold, "test")) for fold in study.folds]
    for arm in (BACKGROUND_NATIVE, BACKGROUND_PREPARED):
        found = background_features(small, arm)
        features = dict(zip(small.table["id"], found, strict=True))
        rows = histogram_predictions(folds, features, study.split.test_hash).assign(stage=arm)
        # Where all pictures look alike, a fold's score is its training prevalence: pooled over folds such
        # scores fall below chance by arithmetic alone, as in label_baselines.
        alike = not np.ptp(found, axis=0).any()
        yield rows.assign(tumor_prob=rows["tumor_prob"].mean()) if alike else rows


def _others_can_teach(study: BrainMriStudy, small: MultiSourceDataset) -> bool:
    """Whether both classes are left, to learn from and to select by, whichever source is left out."""
    selects = small.table["id"].isin(study.split.folds[0].validation)
    sources = small.table["source"]
    left = [small.table[(sources != name) & part] for name in set(sources) for part in (selects, ~selects)]
    return all(rows["cls"].nunique() > 1 for rows in left)


def _elsewhere(study: BrainMriStudy, small: MultiSourceDataset) -> pd.DataFrame:
    """Test cases of every source, scored by a network that learned from all the others."""
    names = sorted(set(small.table["source"]))
    tested = pd.concat([study.rows(fold, "test").assign(fold=fold) for fold in study.folds])
    tested = tested.drop_duplicates("id").reset_index(drop=True)
    scores = pd.Series(np.nan, index=tested["id"])
    for unseen in names:
        ids = list(tested["id"][tested["source"] == unseen])
        learned = [name for name in names if name != unseen]
        scores[ids] = _classifier(study, small, learned).probabilities(small.subset(ids))
    missing = dict.fromkeys(["dice", "iou", "hd95", "mask_pixels", "predicted_pixels"], np.nan)
    return tested[[*COLUMNS, "fold"]].assign(
        stage=ELSEWHERE, tumor_prob=scores.to_numpy(), threshold=0.5, **missing,
        test_hash=study.split.test_hash,
    )  # fmt: skip


def _classifier(study: BrainMriStudy, small: MultiSourceDataset, learned: Sequence[str]) -> SmallClassifier:
    """Learns from every slice of these sources but the first fold's validation part, which selects."""
    rows = small.table[small.table["source"].isin(list(learned))]
    selects = rows["id"].isin(study.split.folds[0].validation)

    def load() -> tuple[MultiSourceDataset, MultiSourceDataset]:
        return small.subset(list(rows["id"][~selects])), small.subset(list(rows["id"][selects]))

    state = "|".join([study.data_fingerprint, study.split.hash, *learned])
    folder = study.run.path / "checkpoints" / "shortcut" / f"learned-from-{'-'.join(learned)}"
    recipe = Recipe(seed=study.parameters.seed)
    return SmallClassifier(folder, study.parameters, study.fabric, TrainingData(state, load), recipe)
