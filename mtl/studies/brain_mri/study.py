"""The brain_mri study put together: what its notebooks, the command line and the tests call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import nn

from mtl.datasets.brain_mri import MultiSourceDataset
from mtl.datasets.splits import FrozenSplit
from mtl.errors import ProtocolError
from mtl.evaluation.brain_mri.baselines import (
    histogram_features,
    histogram_predictions,
    label_baselines,
    mean_mask_predictions,
)
from mtl.evaluation.classification import choose_threshold
from mtl.files import sha256_of
from mtl.losses.brain_mri import MultiTaskLoss
from mtl.models.brain_mri import MultiTaskModel
from mtl.models.reference import SegmentationReference
from mtl.studies.brain_mri import stages
from mtl.studies.brain_mri.data import in_order, open_dataset, open_split, training_loader
from mtl.studies.brain_mri.model_card import model_card
from mtl.studies.brain_mri.objective import BrainMriObjective
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.brain_mri.predict import predict_cases, validation_scores
from mtl.studies.provenance import record_provenance
from mtl.studies.run_directory import RunDirectory, write_table
from mtl.training.checkpoints import load_model
from mtl.training.devices import make_fabric
from mtl.training.diagnostics import GradientProbe
from mtl.training.loop import StageTrainer
from mtl.training.sampling import EpochLoader
from mtl.training.stage_result import StageResult

_EVALUATION_BATCH = 32


class BrainMriStudy:
    """One run of the study.

    Args:
        parameters: validated; the run directory is created.

    Raises:
        DataError: the run directory cannot be written.
    """

    def __init__(self, parameters: BrainMriParameters) -> None:
        self.parameters = parameters
        self.run = RunDirectory(parameters.run_directory).prepare()

    # ------------------------------------------------------------------ data
    @cached_property
    def dataset(self) -> MultiSourceDataset:
        """All sources, prepared; writes the provenance record."""
        dataset = open_dataset(self.parameters)
        write_table(self.run.slices, dataset.table)
        record_provenance(self.parameters, dataset.fingerprint())
        return dataset

    @cached_property
    def split(self) -> FrozenSplit:
        """The frozen split of the run."""
        return open_split(self.parameters, self.dataset, self.run)

    @property
    def folds(self) -> range:
        """Numbers of the folds, from 0."""
        return range(len(self.split.folds))

    def rows(self, fold: int, part: str) -> pd.DataFrame:
        """Table rows of ``train``, ``validation`` or ``test`` of a fold."""
        return self.dataset.table.set_index("id", drop=False).loc[list(getattr(self.split.folds[fold], part))]

    def samples(self, ids: Sequence[str]) -> list[dict]:
        """Prepared samples, in the order of ``ids``, without augmentation."""
        subset = self.dataset.subset(list(ids))
        return [subset[i] for i in range(len(subset))]

    # ------------------------------------------------------------------ training
    @cached_property
    def fabric(self):
        """Device, precision and ranks."""
        return make_fabric(self.parameters.device, self.parameters.precision)

    def training_order(self) -> list[str]:
        """All stages that the parameters ask for, each after the one that it starts from."""
        names = [stages.WARM_UP, stages.HEAD, stages.JOINT]
        return names + [stages.REFERENCE] * self.parameters.reference_network

    def untrained_model(self) -> MultiTaskModel:
        """The network as the parameters describe it, with random weights."""
        return self._start(stages.WARM_UP, 0)[0]

    def drawn_in_epoch(self, stage: str, fold: int, epoch: int) -> pd.DataFrame:
        """Table rows of the slices that a stage's sampler draws in an epoch, repetitions included."""
        loader = self._loader(stage, fold)
        return loader.dataset.table.iloc[loader.sampler.indices(epoch)]

    def train(self, stage: str) -> list[StageResult]:
        """Train a stage in every fold; folds that are finished are taken from their folders.

        Raises:
            MissingArtefactError: the stage that this one starts from has not been trained.
            TrainingError: see ``StageTrainer.fit``.
        """
        return [self._trainer(stage, fold).fit() for fold in self.folds]

    def _trainer(self, stage: str, fold: int) -> StageTrainer:
        p = self.parameters
        torch.manual_seed(self._seed("initial weights", fold))
        model, start = self._start(stage, fold)
        loader = self._loader(stage, fold)
        settings = stages.make_stage(stage, p, self._epochs(stage, fold, loader.steps_per_epoch()))
        relevant = json.dumps(stages.relevant_parameters(stage, p))
        context = (self.dataset.fingerprint(), self.split.hash, str(fold), relevant, start)
        validation = self.split.folds[fold].validation

        def validate(model: nn.Module) -> Mapping[str, float]:
            return validation_scores(
                model,
                in_order(self.dataset, validation, _EVALUATION_BATCH),
                classifies=stage in stages.CLASSIFIES,
                device=self.fabric.device,
                autocast=self.fabric.autocast,
            )

        objective = self._objective(settings.tasks)
        return StageTrainer(
            self.fabric, model, objective, settings, loader, validate, self.run.stage(fold, stage),
            context=context,
            card=model_card(stage, fold, p, self.dataset.table, self.split),
            label=f"{stage}, fold {fold + 1} of {len(self.folds)}",
            log_dir=self.run.tensorboard(fold, stage),
            probe=self._probe(objective, fold) if stage == stages.JOINT else None,
            probe_every=p.probe_every,
        )  # fmt: skip

    def _loader(self, stage: str, fold: int) -> EpochLoader:
        train = self.split.folds[fold].train
        return training_loader(self.parameters, self.dataset, train, stage, self._seed(stage, fold))

    def _start(self, stage: str, fold: int) -> tuple[nn.Module, str]:
        """The model that a stage begins with, and a hash of where its weights come from."""
        before = stages.STARTS_FROM[stage]
        if before is not None:
            return self.model(before, fold), sha256_of(self._weights(before, fold).read_bytes())
        arguments = {
            "image_size": self.parameters.image_size,
            "normalisation": self.dataset.normalisation.to_dict(),
        }
        if stage == stages.REFERENCE:
            model = SegmentationReference(base_filters=self.parameters.base_filters, **arguments)
        else:
            p = self.parameters
            model = MultiTaskModel(base_filters=p.base_filters, depth=p.depth, dropout=p.dropout, **arguments)
        return self._laid_out(model), "random weights"

    def _objective(self, tasks: Sequence[str]) -> BrainMriObjective:
        p = self.parameters
        loss = MultiTaskLoss(p.w_dice, p.w_bce, lambda_cls=p.lambda_cls, label_smoothing=p.label_smoothing)
        return BrainMriObjective(loss, tasks)

    def _probe(self, objective: BrainMriObjective, fold: int) -> GradientProbe:
        """Fixed batches, drawn as the joint stage draws them but without augmentation."""
        p = self.parameters.model_copy(update={"augment": False, "workers": 0})
        loader = training_loader(
            p, self.dataset, self.split.folds[fold].train, stages.JOINT, self._seed("probe", fold)
        )
        batches = [self.fabric.to_device(batch) for batch in loader.batches(0)][: p.probe_batches]
        return GradientProbe(objective, batches, {"classification": p.lambda_cls}, block_of=_encoder_level)

    def _epochs(self, stage: str, fold: int, steps_per_epoch: int) -> int | None:
        """The reference gets as many steps as warm-up and joint stage together."""
        if stage != stages.REFERENCE:
            return None
        p, train = self.parameters, self.split.folds[fold].train
        steps = sum(
            training_loader(p, self.dataset, train, name, 0).steps_per_epoch() * epochs
            for name, epochs in ((stages.WARM_UP, p.warm_up_epochs), (stages.JOINT, p.joint_epochs))
        )
        return max(1, round(steps / steps_per_epoch))

    def _seed(self, purpose: str, fold: int) -> int:
        return int(sha256_of(str(self.parameters.seed), purpose, str(fold))[:12], 16)

    # ------------------------------------------------------------------ predictions
    def model(self, stage: str, fold: int) -> nn.Module:
        """Best checkpoint of a stage. Raises ``MissingArtefactError`` naming the notebook to run."""
        self.run.require(self._weights(stage, fold), stages.NOTEBOOK[stage])
        kind = SegmentationReference if stage == stages.REFERENCE else MultiTaskModel
        return self._laid_out(load_model(kind, self._weights(stage, fold).parent))

    def _weights(self, stage: str, fold: int):
        return self.run.stage(fold, stage) / "best" / "model.safetensors"

    def _laid_out(self, model: nn.Module) -> nn.Module:
        layout = torch.channels_last if self.parameters.channels_last else torch.contiguous_format
        return model.to(memory_format=layout)

    def predict(self, stage: str, ids: Sequence[str], fold: int, keep_masks: bool = False) -> pd.DataFrame:
        """Predictions of a fold's best checkpoint for ``ids``, in float32; see ``predict_cases``."""
        table = predict_cases(
            self.model(stage, fold).to(self.fabric.device).eval(),
            in_order(self.dataset, ids, _EVALUATION_BATCH),
            classifies=stage in stages.CLASSIFIES,
            min_tumor_pixels=self.parameters.min_tumor_pixels,
            device=self.fabric.device,
            keep_masks=keep_masks,
        )
        groups = self.dataset.table.set_index("id")["group"]
        return table.assign(
            group=groups.loc[table["id"]].to_numpy(), fold=fold, stage=stage, test_hash=self.split.test_hash
        )

    def write_test_predictions(self, stage: str) -> pd.DataFrame:
        """Predict every fold's test part, with the threshold chosen on its validation part; save and return.

        A case of a cross-validated source has one row (out of fold), one of the fixed test part a row per
        fold. Where validation has one class only, no threshold can be chosen and 0.5 is used.
        """
        parts = []
        for fold in self.folds:
            validation = self.predict(stage, self.split.folds[fold].validation, fold)
            test = self.predict(stage, self.split.folds[fold].test, fold)
            parts.append(test.assign(threshold=_threshold(validation)))
        table = pd.concat(parts, ignore_index=True)
        self.run.write_predictions(stage, table)
        return table

    def write_baseline_predictions(self) -> pd.DataFrame:
        """Trivial baselines on the same test parts (majority, source only, histogram, mean mask); saved."""
        folds = [(self.rows(fold, "train"), self.rows(fold, "test")) for fold in self.folds]
        ids = sorted({name for rows in folds for part in rows for name in part["id"]})
        samples = {
            name: self.dataset[i] for i, name in enumerate(self.dataset.table["id"]) if name in set(ids)
        }
        features = dict(
            zip(ids, histogram_features(np.stack([samples[i]["image"].numpy() for i in ids])), strict=True)
        )
        masks = {
            name: sample["mask"][0].numpy() for name, sample in samples.items() if sample["mask"] is not None
        }
        hash_ = self.split.test_hash
        tables = [
            label_baselines(folds, hash_),
            histogram_predictions(folds, features, hash_),
            mean_mask_predictions(folds, masks, hash_),
        ]
        table = pd.concat(tables, ignore_index=True)
        self.run.write_predictions("baselines", table)
        return table

    def read_predictions(self, names: Sequence[str]) -> pd.DataFrame:
        """Saved predictions of several stages, one below the other.

        Raises:
            MissingArtefactError: one is missing; the notebook that writes it is named.
            ProtocolError: they were made on another test set than the run's frozen one.
        """
        tables = [
            self.run.read_predictions(name, stages.NOTEBOOK.get(name, "05_evaluation")) for name in names
        ]
        for name, table in zip(names, tables, strict=True):
            if set(table["test_hash"]) != {self.split.test_hash}:
                raise ProtocolError(
                    f"predictions of {name!r} were made on another test set: run its notebook again"
                )
        return pd.concat(tables, ignore_index=True)


def _encoder_level(parameter: str) -> str:
    """``encoder.levels.2.0.weight`` to ``level 2``: the blocks of the gradient diagnostics."""
    return f"level {parameter.split('.')[2]}"


def _threshold(validation: pd.DataFrame) -> float:
    if validation["cls"].nunique() < 2:
        return 0.5
    return choose_threshold(validation["cls"], validation["tumor_prob"])
