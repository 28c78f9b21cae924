"""The histology study put together: what its notebooks, the command line and the tests call."""

from __future__ import annotations

import json
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING

import torch

from mtl.datasets.histology import NucleiTile
from mtl.errors import MissingArtefactError, ParameterError
from mtl.files import sha256_of
from mtl.losses.histology import LossConfig, MultiTaskLoss
from mtl.model_folder import load_model
from mtl.models.histology import UNetMultiTask
from mtl.studies.code_fingerprint import training_code_fingerprint
from mtl.studies.histology.data import (
    GroupSplit,
    colour_statistics,
    open_outside_tiles,
    open_run_tiles,
    open_split,
    tiles_fingerprint,
    training_loader,
)
from mtl.studies.histology.loss_sets import ALL, ALPHAS, LOSS_SETS, Training, arm_name, shown_arm
from mtl.studies.histology.model_card import model_card
from mtl.studies.histology.objective import HistologyObjective, log_keys, parts_of
from mtl.studies.histology.parameters import HistologyParameters
from mtl.studies.histology.validation import validation_scores
from mtl.studies.provenance import record_provenance
from mtl.studies.run_directory import RunDirectory
from mtl.training.devices import make_fabric
from mtl.training.diagnostics import GradientProbe
from mtl.training.loop import StageTrainer
from mtl.training.sampling import EpochLoader
from mtl.training.stage_result import StageResult, is_finished
from mtl.training.stages import Stage

if TYPE_CHECKING:  # two seconds of imports, needed where something is trained
    from lightning_fabric import Fabric

#: Parameters that change which networks are trained, where and how fast, or what is made of them later.
WITHOUT_EFFECT = {
    "run", "output_root", "device", "workers", "data_root", "outside", "phantom_outside_shift", "fractions",
    "sets", "sparse_sets", "sparse_fraction", "seeds", "seed", "folds", "min_nucleus_pixels",
    "detection_radius", "tuning_tiles", "n_bootstrap", "pq_margin",
    "loop_rounds", "loop_actions", "loop_steps", "loop_start", "loop_tiles",
}  # fmt: skip
TRAINED_BY = {True: "03_training", False: "04_label_fractions"}


class HistologyStudy:
    """One run of the study: some tiles, their folds, several networks.

    Args:
        parameters: validated; the run directory is created.

    Raises:
        DataError: the run directory cannot be written.
    """

    def __init__(self, parameters: HistologyParameters) -> None:
        self.parameters = parameters
        self.run = RunDirectory(parameters.run_directory).prepare()

    # ------------------------------------------------------------------ data
    @cached_property
    def tiles(self) -> dict[str, NucleiTile]:
        """The tiles that are learnt from and tested by fold, by id."""
        return {tile.id: tile for tile in open_run_tiles(self.parameters)}

    @cached_property
    def outside_tiles(self) -> list[NucleiTile]:
        """The outside test set; empty where there is none."""
        return open_outside_tiles(self.parameters)

    @cached_property
    def data_fingerprint(self) -> str:
        """Hash of every pixel and label, the outside set's apart."""
        return tiles_fingerprint(list(self.tiles.values()))

    @cached_property
    def outside_fingerprint(self) -> str:
        """Hash of every pixel and label of the outside set."""
        return tiles_fingerprint(self.outside_tiles)

    @cached_property
    def split(self) -> GroupSplit:
        """The frozen split of the run; provenance is recorded with it."""
        split = open_split(self.parameters, list(self.tiles.values()), self.run, self.data_fingerprint)
        record_provenance(self.parameters, self.data_fingerprint)
        return split

    @cached_property
    def _colours(self) -> list[dict[str, list[float]]]:
        """What images are normalised by, of each fold's training tiles."""
        way = self.parameters.normalisation
        return [colour_statistics(self.part(fold, "train"), way) for fold in self.folds]

    @property
    def folds(self) -> range:
        """Numbers of the folds, from 0."""
        return range(len(self.split.folds))

    def part(self, fold: int, name: str) -> list[NucleiTile]:
        """Tiles of ``train``, ``validation`` or ``test`` of a fold."""
        return [self.tiles[identity] for identity in getattr(self.split.folds[fold], name)]

    # ------------------------------------------------------------------ trainings
    @cached_property
    def fabric(self) -> Fabric:
        """Device, precision and ranks."""
        p = self.parameters
        return make_fabric(p.device, p.precision, p.deterministic)

    @property
    def first(self) -> Training:
        """The training that is shown in depth: all losses, the fewest labels, first fold and seed."""
        return Training(ALL, self.parameters.label_fractions[0], 0, 0)

    @property
    def arms(self) -> list[tuple[str, float]]:
        """Sets of losses with the share of labels that they are trained on."""
        p = self.parameters
        wide = [(losses, fraction) for fraction in p.label_fractions for losses in p.full_sets]
        return wide + [(losses, p.extra_fraction) for losses in p.extra_sets if self._takes_away(losses)]

    def _takes_away(self, losses: str) -> bool:
        """Whether a set leaves out something that this run has."""
        return any(self.parameters.alphas[loss] for loss in LOSS_SETS[losses])

    def trainings(self, losses: str, fraction: float) -> list[Training]:
        """All networks of an arm: every fold, every seed."""
        return [
            Training(losses, fraction, fold, seed)
            for fold in self.folds
            for seed in range(self.parameters.seeds)
        ]

    def training_order(self) -> list[str]:
        """Names of all arms."""
        return [arm_name(*arm) for arm in self.arms]

    def all_trainings(self) -> list[Training]:
        """Every network that the parameters ask for, arm by arm."""
        return [training for arm in self.arms for training in self.trainings(*arm)]

    def tasks(self, losses: str) -> tuple[str, ...]:
        """The losses of a set that have a weight."""
        alphas, out = self.parameters.alphas, LOSS_SETS[losses]
        return tuple(loss for loss in ALPHAS if alphas[loss] > 0 and loss not in out)

    def untrained_model(self, training: Training) -> UNetMultiTask:
        """The network with random weights: the same ones for all trainings of a fold and seed."""
        p = self.parameters
        torch.manual_seed(self._seed("initial weights", training))
        return UNetMultiTask(
            base_filters=p.base_filters, depth=p.depth, backbone=p.backbone,
            embedding_channels=p.embedding_channels, hv=p.hv, prior=p.prior,
            normalisation=p.normalisation, **self._colours[training.fold],
        )  # fmt: skip

    def loss(self) -> MultiTaskLoss:
        """All eight losses, with the weights of the run."""
        p = self.parameters
        weights = {name: getattr(p, name) for name in ALPHAS.values()}
        return MultiTaskLoss(LossConfig(**weights, clean_up=p.clean_up, closing=p.closing))

    def objective(self, losses: str) -> HistologyObjective:
        """The losses of a set, unweighted."""
        return HistologyObjective(self.loss().to(self.fabric.device), self.tasks(losses))

    def settings(self, training: Training) -> Stage:
        """What trains in a network, how fast and for how long."""
        p, tasks = self.parameters, self.tasks(training.losses)
        return Stage(
            name=arm_name(training.losses, training.fraction),
            learning_rates=dict.fromkeys(parts_of(tasks), p.learning_rate),
            epochs=p.epochs,
            tasks=tasks,
            task_weights={task: p.alphas[task] for task in tasks},
            balancer=p.balancer,
            weight_decay=p.weight_decay,
            min_learning_rate=p.min_lr,
            clip=p.clip,
            average=p.average,
            accumulate=p.accumulate,
            selection="dice",
            seed=self._seed("training", training),
        )

    def loader(self, training: Training) -> EpochLoader:
        """Patches: of one fold and seed the same nuclei are outlined for every set of losses."""
        return self._loader(training, self.parameters, self._seed("patches", training))

    def _loader(self, training: Training, parameters: HistologyParameters, seed: int) -> EpochLoader:
        tiles, tasks = self.part(training.fold, "train"), self.tasks(training.losses)
        return training_loader(parameters, tiles, training.fraction, self.label_seed(training), tasks, seed)

    def label_seed(self, training: Training) -> int:
        """Decides which nuclei are outlined."""
        return self._seed("labels", training)

    def train(self, arm: str) -> list[StageResult]:
        """Train all networks of an arm, by its name; finished ones are taken from their folders.

        Raises:
            ParameterError: nothing is outlined, or the run has no such arm.
            TrainingError: see ``StageTrainer.fit``.
        """
        named = {arm_name(*one): one for one in self.arms}
        if arm not in named:
            raise ParameterError(f"unknown arm {arm!r}: this run has {', '.join(named)}")
        return [self.train_one(training) for training in self.trainings(*named[arm])]

    def train_one(self, training: Training) -> StageResult:
        """Train one network, or take it from its folder. Raises as ``train`` does."""
        folder = self.run.stage(training.fold, self.folder(training))
        if is_finished(folder, self.fingerprint(training)):
            return StageResult.load(folder)
        return self._trainer(training).fit()

    def folder(self, training: Training) -> str:
        """Name of a training's folder within its fold."""
        return f"{arm_name(training.losses, training.fraction)}_seed_{training.seed}"

    def _trainer(self, training: Training) -> StageTrainer:
        settings, name = self.settings(training), self.folder(training)
        shown = (
            f"{shown_arm(training.losses, training.fraction)}, fold {training.fold + 1}, seed {training.seed}"
        )
        probed = training == self.first
        return StageTrainer(
            self.fabric, self.untrained_model(training), self.objective(training.losses), settings,
            self.loader(training), partial(self.validate, training=training),
            self.run.stage(training.fold, name),
            context=self._context(training),
            card=model_card(training, self.parameters, self.part(training.fold, "train")),
            label=shown,
            log_dir=self.run.tensorboard(training.fold, name),
            name_losses=partial(log_keys, weights=self.parameters.alphas),
            make_probe=partial(self._probe, training) if probed else None,
            probe_every=self.parameters.probe_every,
        )  # fmt: skip

    def validate(self, model: UNetMultiTask, training: Training) -> dict[str, float]:
        """Scores on the validation tiles; see ``validation_scores``."""
        tiles = self.part(training.fold, "validation")
        return validation_scores(model, tiles, self.fabric.device, self.fabric.autocast)

    def fingerprint(self, training: Training) -> str:
        """Hash of all that a training depends on: code, data, split, parameters, seeds."""
        return self.settings(training).fingerprint(*self._context(training))

    def _context(self, training: Training) -> tuple[str, ...]:
        fold = self.split.folds[training.fold]
        parts = json.dumps([fold.train, fold.validation])
        relevant = self.parameters.model_dump(exclude=WITHOUT_EFFECT)
        seeds = f"{self.label_seed(training)} {self._seed('patches', training)} {training.fraction}"
        seeds += " probed" * (training == self.first)
        code = training_code_fingerprint("histology")
        return code, self.data_fingerprint, parts, json.dumps(relevant), seeds

    def _probe(self, training: Training) -> GradientProbe:
        """Fixed patches, drawn as in training but without augmentation, and with pseudo-labels in full."""
        p = self.parameters.model_copy(update={"augment": False, "workers": 0})
        batches = self._loader(training, p, self._seed("probe", training)).batches(p.warm_up_epochs + 1)
        chosen = [self.fabric.to_device(batch) for batch in islice(batches, p.probe_batches)]
        return GradientProbe(self.objective(training.losses), chosen, self.settings(training).task_weights)

    def _seed(self, purpose: str, training: Training) -> int:
        """Independent of the set of losses and of the share of labels: sets differ in nothing else."""
        text = f"{self.parameters.seed} {training.fold} {training.seed}"
        return int(sha256_of(text, purpose)[:12], 16)

    # ------------------------------------------------------------------ trained models
    def model(self, training: Training) -> UNetMultiTask:
        """Best checkpoint of a training, if it was made with this code, data and these parameters.

        Raises:
            MissingArtefactError: it was not; the message names the notebook to run.
        """
        folder, notebook = (
            self.run.stage(training.fold, self.folder(training)),
            TRAINED_BY[training == self.first],
        )
        self.run.require(folder / "stage.json", notebook)
        if not is_finished(folder, self.fingerprint(training)):
            raise MissingArtefactError(
                f"{folder} was trained with other parameters, data or code: run notebook {notebook} first"
            )
        return load_model(UNetMultiTask, folder / "best")
