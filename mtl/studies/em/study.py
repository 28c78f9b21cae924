"""The em study put together: what its notebooks, the command line and the tests call."""

from __future__ import annotations

import json
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from mtl.datasets.em import CropDataset, EMVolume, ZSplit
from mtl.errors import MissingArtefactError, ParameterError
from mtl.files import sha256_of
from mtl.losses.em import EMLoss
from mtl.model_folder import load_model
from mtl.models.em import EMModel
from mtl.studies.code_fingerprint import training_code_fingerprint
from mtl.studies.em.data import open_run_volume, open_split, training_loader
from mtl.studies.em.log_keys import log_keys
from mtl.studies.em.model_card import model_card
from mtl.studies.em.objective import EMObjective, task_weights
from mtl.studies.em.parameters import EMParameters, VariantParameters
from mtl.studies.em.validation import validation_scores
from mtl.studies.em.variants import changes, changes_nothing, trained_by
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

#: Residual blocks of the backbone's levels, finest first (those of SegResNet, and more of its last).
BLOCKS_DOWN = (1, 2, 2, 4, 4, 4)
#: What losses and their terms are called after ``weight_`` in the parameters.
WEIGHTS = (
    "semantic",
    "instance",
    "geometry",
    "ce",
    "iou",
    "dice",
    "pull",
    "push",
    "norm",
    "dir",
    "cov",
    "raw",
)
#: Parameters that change where and how fast a variant trains, or what is made of it later, not its result.
WITHOUT_EFFECT = {
    "run", "output_root", "device", "workers", "data_root", "variants", "ablations", "n_bootstrap",
    "click_objects", "max_clicks", "click_jitter", "rand_margin", "click_planes", "click_side",
}  # fmt: skip


class EMStudy:
    """One run of the study: one volume, one split, several variants of the network.

    Args:
        parameters: validated; the run directory is created.

    Raises:
        DataError: the run directory cannot be written.
    """

    def __init__(self, parameters: EMParameters) -> None:
        self.parameters = parameters
        self.run = RunDirectory(parameters.run_directory).prepare()

    # ------------------------------------------------------------------ data
    @cached_property
    def volume(self) -> EMVolume:
        """The whole volume."""
        return open_run_volume(self.parameters)

    @cached_property
    def data_fingerprint(self) -> str:
        """Hash of every voxel and label."""
        return self.volume.fingerprint()

    @cached_property
    def split(self) -> ZSplit:
        """Which planes train, choose and test; frozen with the run."""
        split = open_split(self.parameters, self.volume, self.run, self.data_fingerprint)
        record_provenance(self.parameters, self.data_fingerprint)
        return split

    @cached_property
    def parts(self) -> dict[str, EMVolume]:
        """``train``, ``validation`` and ``test``: planes that no other part has."""
        return self.split.parts(self.volume)

    @property
    def test_hash(self) -> str:
        """Of the test part's planes and of the data: results may be compared only where it is the same."""
        return sha256_of(self.split.test_hash, self.data_fingerprint)

    @cached_property
    def test_labels(self) -> np.ndarray:
        """Labels of the test part, int64 ``(*sp)``; -100 unknown."""
        test = self.parts["test"]
        return test.read_labels(test.box)

    # ------------------------------------------------------------------ variants
    @cached_property
    def fabric(self) -> Fabric:
        """Device, precision and ranks. Raises ``ParameterError`` for ``deterministic`` on a GPU."""
        p = self.parameters
        fabric = make_fabric(p.device, p.precision, p.deterministic)
        if p.deterministic and fabric.device.type == "cuda":
            raise ParameterError(
                "deterministic: PyTorch has no deterministic gradient on a GPU for the upsampling of em's "
                "networks; false is expected, or device=cpu"
            )
        return fabric

    def training_order(self) -> list[str]:
        """All variants that the parameters ask for: click arms, then ablations of the first of them."""
        return [*self.parameters.arms, *self.parameters.ablated]

    @property
    def ablations(self) -> list[str]:
        """The ablations that take away something that this run has."""
        values = self.parameters.model_dump() | {"injection": self.parameters.arms[0]}
        return [name for name in self.parameters.ablated if not changes_nothing(name, values)]

    def variant_parameters(self, variant: str) -> VariantParameters:
        """The run's parameters with what the variant changes. Raises ``ParameterError``."""
        p = self.parameters
        if variant not in self.training_order():
            known = ", ".join(self.training_order())
            raise ParameterError(f"unknown variant {variant!r}: this run has {known}")
        return VariantParameters.from_values(
            p.model_dump() | changes(variant, p.arms[0]), f"variant {variant!r}"
        )

    def untrained_model(self, variant: str) -> EMModel:
        """The network of a variant, with random weights."""
        p = self.variant_parameters(variant)
        return EMModel(
            spatial_dims=p.dims,
            features=p.features,
            backbone=p.backbone,
            blocks_down=BLOCKS_DOWN[: p.levels],
            blocks_up=(1,) * (p.levels - 1),
            embedding_channels=p.embedding_channels,
            geometry=p.weight_geometry > 0,
            injection=p.injection,
            delta_d=p.delta_d,
            spacing=self.volume.spacing[-p.dims :],
            intensity={"range": p.grey_range} if p.grey_range else None,
        )

    # ------------------------------------------------------------------ training
    def train(self, variant: str) -> list[StageResult]:
        """Train a variant, or take it from its folder if it is finished; a list of one result.

        Raises:
            ParameterError: unknown variant, or a ``label_fraction`` that leaves no object labelled.
            TrainingError: see ``StageTrainer.fit``.
        """
        self._check_labels(variant)
        return [self._trainer(variant).fit()]

    def _check_labels(self, variant: str) -> None:
        """A small chance may come to no object at all: said here, not where the losses are missed."""
        fraction, part = self.variant_parameters(variant).label_fraction, self.parts["train"]
        if fraction < 1 and not (self.crops(variant).annotated(part) > 0).any():
            raise ParameterError(
                f"label_fraction={fraction:g} of {variant!r} leaves no object of the training part labelled: "
                "raise it, choose another seed, or leave this ablation out"
            )

    def settings(self, variant: str) -> Stage:
        """What trains in a variant, how fast and for how long."""
        p = self.variant_parameters(variant)
        weights = task_weights(self.loss(variant), p.modes, p.injection)
        return Stage(
            name=variant,
            learning_rates=dict.fromkeys(self.untrained_model(variant).parts, p.learning_rate),
            epochs=p.epochs,
            tasks=tuple(weights),
            task_weights=weights,
            balancer=p.balancer,
            weight_decay=p.weight_decay,
            min_learning_rate=p.min_lr,
            clip=p.clip,
            average=p.average,
            accumulate=p.accumulate,
            selection="objects",
            seed=self._seed(variant),
        )

    def loader(self, variant: str) -> EpochLoader:
        """The training crops of a variant: the same for every variant."""
        return self._loader(variant, self.variant_parameters(variant), self._seed("crops"))

    def crops(self, variant: str) -> CropDataset:
        """What ``loader`` draws from."""
        crops = self.loader(variant).dataset
        assert isinstance(crops, CropDataset)
        return crops

    def _loader(self, variant: str, parameters: EMParameters, seed: int) -> EpochLoader:
        tasks = self.settings(variant).tasks
        return training_loader(parameters, self.parts["train"], self.loss(variant), tasks, seed)

    def loss(self, variant: str) -> EMLoss:
        """All losses of one mode, with the weights of a variant."""
        p = self.variant_parameters(variant)
        weights = {f"weight_{name}": getattr(p, f"weight_{name}") for name in WEIGHTS}
        deltas = {"delta_v": p.delta_v, "delta_d": p.delta_d}
        return EMLoss(**weights, **deltas, geometry_kind=p.geometry_kind, raw_region=p.raw_region)

    def objective(self, variant: str) -> EMObjective:
        """The losses of both modes, unweighted."""
        return EMObjective(self.loss(variant).to(self.fabric.device), self.variant_parameters(variant).modes)

    def _trainer(self, variant: str) -> StageTrainer:
        torch.manual_seed(self._seed("initial weights"))
        objective, weights = self.objective(variant), self.loss(variant).weights
        return StageTrainer(
            self.fabric, self.untrained_model(variant), objective, self.settings(variant),
            self.loader(variant), partial(self.validate, variant=variant),
            self.run.stage(0, variant),
            context=self._context(variant),
            card=model_card(variant, self.variant_parameters(variant), self.volume),
            label=variant,
            log_dir=self.run.tensorboard(0, variant),
            name_losses=partial(log_keys, weights=weights),
            make_probe=partial(self._probe, variant, objective) if self.is_probed(variant) else None,
            probe_every=self.parameters.probe_every,
        )  # fmt: skip

    def validate(self, model: EMModel, variant: str) -> dict[str, float]:
        """Scores on the validation part; see ``validation_scores``."""
        p = self.variant_parameters(variant)
        return validation_scores(model, self.parts["validation"], p, self.fabric.device, self.fabric.autocast)

    def fingerprint(self, variant: str) -> str:
        """Hash of all that a training depends on: code, data, split, parameters, seed."""
        return self.settings(variant).fingerprint(*self._context(variant))

    def _context(self, variant: str) -> tuple[str, ...]:
        relevant = self.variant_parameters(variant).model_dump(exclude=WITHOUT_EFFECT)
        code = training_code_fingerprint("em")
        return code, self.data_fingerprint, self.split.hash, json.dumps(relevant)

    def is_probed(self, variant: str) -> bool:
        """Whether gradient diagnostics are made while a variant trains: of the first arm, which is shown."""
        return variant == self.parameters.arms[0]

    def _probe(self, variant: str, objective: EMObjective) -> GradientProbe:
        """Fixed crops, drawn as training draws them but without augmentation."""
        p = self.variant_parameters(variant).model_copy(update={"augment": False, "workers": 0})
        batches = self._loader(variant, p, self._seed("probe")).batches(0)
        chosen = [self.fabric.to_device(batch) for batch in islice(batches, p.probe_batches)]
        return GradientProbe(objective, chosen, self.settings(variant).task_weights)

    def _seed(self, purpose: str) -> int:
        return int(sha256_of(str(self.parameters.seed), purpose)[:12], 16)

    # ------------------------------------------------------------------ trained models
    def model(self, variant: str) -> EMModel:
        """Best checkpoint of a variant, if it was trained with this code, data and these parameters.

        Raises:
            MissingArtefactError: it was not; the message names the notebook to run.
        """
        folder, notebook = self.run.stage(0, variant), trained_by(variant)
        self.run.require(folder / "stage.json", notebook)
        if not is_finished(folder, self.fingerprint(variant)):
            raise MissingArtefactError(
                f"{folder} was trained with other parameters, data or code: run notebook {notebook} first"
            )
        return load_model(EMModel, folder / "best")
