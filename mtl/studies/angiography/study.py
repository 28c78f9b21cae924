"""The angiography study put together: what its notebooks, the command line and the tests call."""

from __future__ import annotations

import json
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from mtl.datasets.angiography import Clip
from mtl.datasets.angiography.tokenizer import encode_reports
from mtl.errors import MissingArtefactError, ParameterError
from mtl.files import sha256_of
from mtl.losses.angiography import MultitaskLoss
from mtl.model_folder import load_model
from mtl.models.angiography import VideoTextModel
from mtl.studies.angiography.data import (
    ClipParts,
    freeze_parts,
    open_parts,
    open_tokenizer,
    pixel_statistics,
    training_loader,
    with_known_reports,
)
from mtl.studies.angiography.model_card import model_card
from mtl.studies.angiography.network import given_teacher, random_network, teacher_hash
from mtl.studies.angiography.objective import AngiographyObjective, log_keys
from mtl.studies.angiography.parameters import AngiographyParameters, VariantParameters
from mtl.studies.angiography.training_settings import loss_of, stage_of
from mtl.studies.angiography.validation import validation_scores
from mtl.studies.angiography.variants import (
    ALL,
    WEIGHTS,
    Training,
    changes,
    changes_nothing,
    learnt,
    shown_variant,
    trained_by,
)
from mtl.studies.code_fingerprint import training_code_fingerprint
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
    "run", "output_root", "device", "workers", "data_root", "variants", "settings", "seeds", "seed",
    "generation", "beams", "codebook", "n_bootstrap", "recall_margin", "f1_margin",
}  # fmt: skip


class AngiographyStudy:
    """One run of the study: some clips, their split, several networks.

    Args:
        parameters: validated; the run directory is created.

    Raises:
        DataError: the run directory cannot be written.
    """

    def __init__(self, parameters: AngiographyParameters) -> None:
        self.parameters = parameters
        self.run = RunDirectory(parameters.run_directory).prepare()
        self._copied: dict[float, list[Clip]] = {}  # duplicate rate to training clips

    # ------------------------------------------------------------------ data
    @cached_property
    def parts(self) -> ClipParts:
        """The clips of the run; the split is frozen, and provenance recorded, with them."""
        parts = open_parts(self.parameters, self.run)
        freeze_parts(parts, self.run)
        record_provenance(self.parameters, parts.data_hash)
        return parts

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The run's tokeniser, the same for every network; every training report fits the context.

        Raises `DataError` naming the clip whose report does not: it would be learnt with its end cut off.
        """
        tokenizer, clips = open_tokenizer(self.parameters, self.parts, self.run), self.parts.train
        names = [clip.id for clip in clips]
        encode_reports(tokenizer, [clip.report for clip in clips], self.parameters.context, names=names)
        return tokenizer

    @cached_property
    def pixels(self) -> tuple[float, float]:
        """Mean and standard deviation of the training part's; see ``pixel_statistics``."""
        return pixel_statistics(self.parts.train, self.parameters)

    def training_clips(self, variant: str) -> list[Clip]:
        """What a variant learns from: the run's training part, but where reports are copied."""
        p = self.variant_parameters(variant)
        if p.duplicate_rate == self.parameters.duplicate_rate:
            return self.parts.train
        if p.duplicate_rate not in self._copied:
            self._copied[p.duplicate_rate] = open_parts(p, self.run).train
        return self._copied[p.duplicate_rate]

    # ------------------------------------------------------------------ trainings
    @cached_property
    def fabric(self) -> Fabric:
        """Device, precision and ranks. Raises ``ParameterError`` for settings that several ranks lack."""
        p = self.parameters
        fabric = make_fabric(p.device, p.precision, p.deterministic)
        if fabric.world_size > 1 and p.report_fraction < 1:
            raise ParameterError(
                f"report_fraction={p.report_fraction:g} with {fabric.world_size} processes: the contrastive "
                "loss needs as many reports in each; 1 is expected, or one process"
            )
        for variant in self.training_order():
            if size := self.variant_parameters(variant).batch_size % fabric.world_size:
                raise ParameterError(
                    f"batch_size: {variant!r} leaves {size} clips over with {fabric.world_size} processes; "
                    "a multiple of their number is expected"
                )
        return fabric

    def training_order(self) -> list[str]:
        """Variants that the parameters ask for, those that change nothing left out."""
        p, values = self.parameters, self.parameters.model_dump()
        asked = [*p.objective_variants, *p.setting_variants]
        return [variant for variant in asked if not changes_nothing(variant, values)]

    def trainings(self, variant: str) -> list[Training]:
        """All networks of a variant: every seed."""
        return [Training(variant, seed) for seed in range(self.parameters.seeds)]

    @property
    def first(self) -> Training:
        """The network that is shown in depth: all objectives, first seed."""
        return Training(ALL)

    def variant_parameters(self, variant: str) -> VariantParameters:
        """The run's parameters with what the variant changes. Raises ``ParameterError``."""
        if variant not in self.training_order():
            raise ParameterError(
                f"unknown variant {variant!r}: this run has {', '.join(self.training_order())}"
            )
        values = self.parameters.model_dump()
        return VariantParameters.from_values(values | changes(variant, values), f"variant {variant!r}")

    def tasks(self, variant: str) -> tuple[str, ...]:
        """The objectives of a variant that have a weight."""
        weights = self.variant_parameters(variant).weights
        return tuple(task for task in WEIGHTS if weights[task] > 0)

    def learnt(self, variant: str) -> tuple[str, ...]:
        """What a variant's networks learn, from reports, films and a teacher; see ``variants.learnt``."""
        return learnt(self.tasks(variant), self.parameters.distilled)

    def untrained_model(self, training: Training) -> VideoTextModel:
        """The network with random weights: the same ones for all variants of a seed that share its sizes."""
        p, seed = self.variant_parameters(training.variant), self._seed("initial weights", training)
        return random_network(p, self.tokenizer, self.pixels, seed)

    def loss(self, variant: str, gather: bool = True) -> MultitaskLoss:
        """All objectives, with the settings of a variant; ``gather``: reports of all ranks are contrasted."""
        return loss_of(self.variant_parameters(variant), gather)

    def objective(self, variant: str, probing: bool = False) -> AngiographyObjective:
        """Unweighted; ``probing``: by one rank, teacher held still. Raises ``CheckpointError`` (teacher)."""
        tasks, from_features = self.tasks(variant), self.parameters.mask_target == "features"
        teacher = self.given_teacher if "distillation" in tasks else None
        loss = self.loss(variant, gather=not probing).to(self.fabric.device)
        return AngiographyObjective(loss, tasks, teacher, from_features, follows=not probing)

    @cached_property
    def given_teacher(self) -> VideoTextModel | None:
        """The network that the parameters name as teacher; None: the network's own average."""
        teacher = given_teacher(self.parameters)
        return None if teacher is None else teacher.to(self.fabric.device)

    def settings(self, training: Training) -> Stage:
        """What trains in a network, how fast, how long."""
        p, tasks = self.variant_parameters(training.variant), self.tasks(training.variant)
        return stage_of(training.variant, p, tasks, self._seed("training", training))

    def loader(self, training: Training) -> EpochLoader:
        """Clips: of one seed the same ones for every variant, but where reports are copied."""
        variant = self.variant_parameters(training.variant)
        return self._loader(training, variant, self._seed("clips", training))

    def _loader(self, training: Training, parameters: VariantParameters, seed: int) -> EpochLoader:
        clips, tasks = self.training_clips(training.variant), self.tasks(training.variant)
        known = with_known_reports(clips, parameters.report_fraction, self.parameters.seed)
        return training_loader(parameters, clips, self.tokenizer, known, tasks, seed)

    def train(self, variant: str) -> list[StageResult]:
        """Train all networks of a variant; finished ones are taken from their folders.

        Raises:
            ParameterError: unknown variant, or no report to learn from.
            TrainingError: see ``StageTrainer.fit``.
        """
        return [self.train_one(training) for training in self.trainings(variant)]

    def train_one(self, training: Training) -> StageResult:
        """Train one network, or take it from its folder. Raises as ``train`` does."""
        return self._trainer(training).fit()

    def folder(self, training: Training) -> str:
        """Of a training, its name."""
        return f"{training.variant}_seed_{training.seed}"

    def _trainer(self, training: Training) -> StageTrainer:
        p, name = self.variant_parameters(training.variant), self.folder(training)
        return StageTrainer(
            self.fabric, self.untrained_model(training), self.objective(training.variant),
            self.settings(training), self.loader(training), partial(self.validate, training=training),
            self.run.stage(0, name),
            context=self._context(training),
            card=model_card(training.variant, p, self.parts.train),
            label=f"{shown_variant(training.variant)}, seed {training.seed}",
            log_dir=self.run.tensorboard(0, name),
            name_losses=partial(log_keys, weights=p.weights),
            make_probe=partial(self._probe, training) if training == self.first else None,
            probe_every=p.probe_every,
        )  # fmt: skip

    def validate(self, model: VideoTextModel, training: Training) -> dict[str, float]:
        """Scores on the validation part; see ``validation_scores``."""
        p = self.variant_parameters(training.variant)
        return validation_scores(
            model, self.parts.validation, self.tokenizer, p, self.learnt(training.variant),
            self.fabric.device, self.fabric.autocast,
        )  # fmt: skip

    def fingerprint(self, training: Training) -> str:
        """Hash of all that a training depends on: code, data, split, parameters, seeds."""
        return self.settings(training).fingerprint(*self._context(training))

    def _context(self, training: Training) -> tuple[str, ...]:
        p, parts = self.variant_parameters(training.variant), self.parts
        return (
            training_code_fingerprint("angiography"), parts.data_hash, parts.hash,
            sha256_of(self.tokenizer.to_str()), teacher_hash(p),
            json.dumps(p.model_dump(exclude=WITHOUT_EFFECT)), f"{self.parameters.seed} {training.seed}",
        )  # fmt: skip

    def _probe(self, training: Training) -> GradientProbe:
        """Fixed clips, drawn as in training but without augmentation."""
        quiet = {"augment": False, "workers": 0}
        p = self.variant_parameters(training.variant).model_copy(update=quiet)
        batches = self._loader(training, p, self._seed("probe", training)).batches(1)
        chosen = [self.fabric.to_device(batch) for batch in islice(batches, p.probe_batches)]
        weights = self.settings(training).task_weights
        return GradientProbe(self.objective(training.variant, probing=True), chosen, weights)

    def _seed(self, purpose: str, training: Training) -> int:
        """Independent of the variant: variants differ in nothing else."""
        return int(sha256_of(f"{self.parameters.seed} {training.seed}", purpose)[:12], 16)

    # ------------------------------------------------------------------ trained models
    def model(self, training: Training) -> VideoTextModel:
        """Best checkpoint of a training, if it was made with this code, data and these parameters.

        Raises:
            MissingArtefactError: it was not; the message names the notebook to run.
        """
        folder, notebook = self.run.stage(0, self.folder(training)), trained_by(training)
        self.run.require(folder / "stage.json", notebook)
        if not is_finished(folder, self.fingerprint(training)):
            raise MissingArtefactError(
                f"{folder} was trained with other parameters, data or code: run notebook {notebook} first"
            )
        return load_model(VideoTextModel, folder / "best")
