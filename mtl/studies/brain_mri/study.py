"""The brain_mri study put together: what its notebooks, the command line and the tests call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn

from mtl.datasets.brain_mri import MultiSourceDataset, collate
from mtl.datasets.splits import FrozenSplit
from mtl.errors import MissingArtefactError, ParameterError
from mtl.files import sha256_of
from mtl.losses.brain_mri import MultiTaskLoss
from mtl.models.brain_mri import MultiTaskModel
from mtl.models.reference import SegmentationReference
from mtl.studies.brain_mri import stages
from mtl.studies.brain_mri.data import in_order, open_dataset, open_split, training_loader
from mtl.studies.brain_mri.model_card import model_card
from mtl.studies.brain_mri.objective import BrainMriObjective
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.brain_mri.predict import validation_scores
from mtl.studies.code_fingerprint import training_code_fingerprint
from mtl.studies.provenance import record_provenance
from mtl.studies.run_directory import RunDirectory, write_table
from mtl.training.checkpoints import load_model
from mtl.training.devices import make_fabric
from mtl.training.diagnostics import GradientProbe
from mtl.training.loop import StageTrainer
from mtl.training.objective import Batch
from mtl.training.sampling import EpochLoader
from mtl.training.stage_result import StageResult, is_finished
from mtl.training.stages import Stage

if TYPE_CHECKING:  # two seconds of imports, needed where something is trained
    from lightning_fabric import Fabric

EVALUATION_BATCH = 32


class BrainMriStudy:
    """One run of the study.

    What a variant of it (``OwnTaskStudy``) exchanges: ``network``, the class of the network, ``collate``,
    which joins samples to a batch, and the methods ``settings``, ``objective``, ``validate`` and ``card``.

    Args:
        parameters: validated; the run directory is created.

    Raises:
        DataError: the run directory cannot be written.
    """

    network: type[MultiTaskModel] = MultiTaskModel
    collate = staticmethod(collate)

    def __init__(self, parameters: BrainMriParameters) -> None:
        self.parameters = parameters
        self.run = RunDirectory(parameters.run_directory).prepare()

    # ------------------------------------------------------------------ data
    @cached_property
    def dataset(self) -> MultiSourceDataset:
        """All sources, prepared."""
        return open_dataset(self.parameters)

    @cached_property
    def data_fingerprint(self) -> str:
        """Hash of every prepared pixel and label."""
        return self.dataset.fingerprint()

    @cached_property
    def split(self) -> FrozenSplit:
        """The frozen split of the run; the run's slices and provenance are recorded with it."""
        split = open_split(self.parameters, self.dataset, self.run)
        write_table(self.run.slices, self.dataset.table)
        record_provenance(self.parameters, self.data_fingerprint)
        return split

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
    def fabric(self) -> Fabric:
        """Device, precision and ranks."""
        p = self.parameters
        return make_fabric(p.device, p.precision, p.deterministic)

    def training_order(self) -> list[str]:
        """All stages that the parameters ask for, each after the one that it starts from."""
        names = [n for n in (stages.WARM_UP, stages.HEAD, stages.JOINT) if n not in self.parameters.skipped]
        return names + [stages.REFERENCE] * bool(self.parameters.reference_folds)

    def untrained_model(self, stage: str = stages.WARM_UP) -> nn.Module:
        """The network of a stage as the parameters describe it, with random weights."""
        arguments = self.network_arguments
        if stage == stages.REFERENCE:
            known = {name: arguments[name] for name in ("base_filters", "image_size", "normalisation")}
            return self._laid_out(SegmentationReference(**known))
        return self._laid_out(self.network(**arguments))

    @property
    def network_arguments(self) -> dict[str, Any]:
        """What ``MultiTaskModel`` is made with."""
        p = self.parameters
        sizes = {"base_filters": p.base_filters, "depth": p.depth, "dropout": p.dropout}
        return sizes | {"image_size": p.image_size, "normalisation": self.dataset.normalisation.to_dict()}

    def drawn_in_epoch(self, stage: str, fold: int, epoch: int) -> pd.DataFrame:
        """Table rows of the slices that a stage's sampler draws in an epoch, repetitions included."""
        loader = self.loader(stage, fold)
        return loader.dataset.table.iloc[loader.sampler.indices(epoch)]

    def train(self, stage: str) -> list[StageResult]:
        """Train a stage in every fold; folds that are finished are taken from their folders.

        Raises:
            MissingArtefactError: the stage that this one starts from has not been trained as it is now.
            ParameterError: ``skip_stages`` leaves the stage out.
            TrainingError: see ``StageTrainer.fit``.
        """
        if stage in self.parameters.skipped:
            raise ParameterError(f"parameter 'skip_stages' leaves {stage!r} out: such runs are for mtl sweep")
        return [self._trainer(stage, fold).fit() for fold in self.folds_of(stage)]

    def folds_of(self, stage: str) -> range:
        """The folds in which a stage is trained: all, but for the reference."""
        return range(self.parameters.reference_folds) if stage == stages.REFERENCE else self.folds

    def fingerprint(self, stage: str, fold: int) -> str:
        """Hash of all that a stage's result depends on: code, data, split, parameters, earlier stages."""
        return self.settings(stage, fold).fingerprint(*self._context(stage, fold))

    def _context(self, stage: str, fold: int) -> tuple[str, ...]:
        before = stages.starts_from(stage, self.parameters)
        start = "random weights" if before is None else self.fingerprint(before, fold)
        return (*self.inputs(stage, fold), start)

    def inputs(self, stage: str, fold: int) -> tuple[str, ...]:
        """What a stage's result depends on beside the weights that it starts from, each as a text."""
        relevant = json.dumps(stages.relevant_parameters(stage, self.parameters))
        code = training_code_fingerprint("brain_mri")
        return (code, self.data_fingerprint, self.split.hash, str(fold), relevant)

    def settings(self, stage: str, fold: int) -> Stage:
        """What trains in a stage, how fast and for how long."""
        epochs = self._reference_epochs(fold) if stage == stages.REFERENCE else None
        return stages.make_stage(stage, self.parameters, epochs, self._seed(stage, fold))

    def _trainer(self, stage: str, fold: int) -> StageTrainer:
        torch.manual_seed(self._seed("initial weights", fold))
        before = stages.starts_from(stage, self.parameters)
        model = self.untrained_model(stage) if before is None else self.model(before, fold)
        settings = self.settings(stage, fold)
        validate = partial(self.validate, stage=stage, fold=fold)
        objective = self.objective(settings.tasks)
        return StageTrainer(
            self.fabric, model, objective, settings, self.loader(stage, fold), validate,
            self.run.stage(fold, stage),
            context=self._context(stage, fold),
            card=self.card(stage, fold),
            label=f"{stage}, fold {fold + 1} of {len(self.folds)}",
            log_dir=self.run.tensorboard(fold, stage),
            make_probe=(lambda: self._probe(objective, fold)) if stage == stages.JOINT else None,
            probe_every=self.parameters.probe_every,
        )  # fmt: skip

    def loader(self, stage: str, fold: int) -> EpochLoader:
        """The stage's training batches."""
        return self._loader(self.parameters, stage, fold, self._seed(stage, fold))

    def _loader(self, parameters: BrainMriParameters, stage: str, fold: int, seed: int) -> EpochLoader:
        train = self.split.folds[fold].train
        return training_loader(parameters, self.dataset, train, stage, seed, self.collate)

    def batches(self, fold: int, part: str) -> Iterator[Batch]:
        """Batches of ``train``, ``validation`` or ``test`` of a fold, in order, without augmentation."""
        ids = getattr(self.split.folds[fold], part)
        return in_order(self.dataset, ids, EVALUATION_BATCH, self.collate)

    def validate(self, model: nn.Module, stage: str, fold: int) -> dict[str, float]:
        """Scores of a model on the validation part; see ``validation_scores``."""
        return validation_scores(
            model,
            self.batches(fold, "validation"),
            classifies=stage in stages.CLASSIFIES,
            device=self.fabric.device,
            autocast=self.fabric.autocast,
        )

    def card(self, stage: str, fold: int) -> str:
        """The model card of a checkpoint."""
        return model_card(stage, fold, self.parameters, self.dataset.table, self.split)

    def objective(self, tasks: Sequence[str]) -> BrainMriObjective:
        """The losses of some tasks, unweighted."""
        p = self.parameters
        loss = MultiTaskLoss(p.w_dice, p.w_bce, lambda_cls=p.lambda_cls, label_smoothing=p.label_smoothing)
        return BrainMriObjective(loss.to(self.fabric.device), tasks)

    def _probe(self, objective: BrainMriObjective, fold: int) -> GradientProbe:
        """Fixed batches, drawn as the joint stage draws them but without augmentation."""
        p = self.parameters.model_copy(update={"augment": False, "workers": 0})
        batches = self._loader(p, stages.JOINT, fold, self._seed("probe", fold)).batches(0)
        chosen = [self.fabric.to_device(batch) for batch in islice(batches, p.probe_batches)]
        weights = self.settings(stages.JOINT, fold).task_weights
        return GradientProbe(objective, chosen, weights, block_of=_encoder_level)

    def _reference_epochs(self, fold: int) -> int:
        """So many that the reference makes as many steps as warm-up and joint stage together."""
        p = self.parameters
        per_epoch = {name: self.loader(name, fold).steps_per_epoch() for name in stages.STARTS_FROM}
        steps = per_epoch[stages.WARM_UP] * p.warm_up_epochs + per_epoch[stages.JOINT] * p.joint_epochs
        return max(1, round(steps / per_epoch[stages.REFERENCE]))

    def _seed(self, purpose: str, fold: int) -> int:
        return int(sha256_of(str(self.parameters.seed), purpose, str(fold))[:12], 16)

    # ------------------------------------------------------------------ trained models
    def model(self, stage: str, fold: int) -> nn.Module:
        """Best checkpoint of a stage, if it was trained with this code, data and these parameters.

        Raises:
            MissingArtefactError: it was not; the message names the notebook to run.
        """
        folder = self.run.stage(fold, stage)
        notebook = stages.NOTEBOOK[stage]
        self.run.require(folder / "stage.json", notebook)
        if not is_finished(folder, self.fingerprint(stage, fold)):
            raise MissingArtefactError(
                f"{folder} was trained with other parameters, data or code: run notebook {notebook} first"
            )
        kind = SegmentationReference if stage == stages.REFERENCE else self.network
        return self._laid_out(load_model(kind, folder / "best"))

    def _laid_out(self, model: nn.Module) -> nn.Module:
        layout = torch.channels_last if self.parameters.channels_last else torch.contiguous_format
        return model.to(memory_format=layout)


def _encoder_level(parameter: str) -> str:
    """``encoder.levels.2.0.weight`` to ``level 2``: the blocks of the gradient diagnostics."""
    return f"level {parameter.split('.')[2]}"
