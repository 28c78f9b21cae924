"""A small classification network, trained on given slices through the training core: resumed, then cached."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mtl.datasets.brain_mri import BrainNormalisation, MultiSourceDataset
from mtl.files import sha256_of
from mtl.models.gradient_reversal import SourceAdversarialModel
from mtl.studies.brain_mri.data import cells, in_order
from mtl.studies.brain_mri.objective import CLASSIFICATION
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.brain_mri.source_adversary import SOURCE, ClassificationObjective, collate_with_source
from mtl.studies.code_fingerprint import training_code_fingerprint
from mtl.training.checkpoints import load_model
from mtl.training.loop import StageTrainer
from mtl.training.sampling import BalancedSampler, EpochLoader, ShuffledSampler
from mtl.training.stage_result import is_finished
from mtl.training.stages import Stage

if TYPE_CHECKING:  # two seconds of imports, needed where something is trained
    from lightning_fabric import Fabric

DEPTH, DROPOUT, LEARNING_RATE, EVALUATION_BATCH = 3, 0.2, 1e-3, 64
_CARD = "# Small classifier of the shortcut laboratory\n\nFor an experiment only; not a medical device.\n"


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: every (source, class) cell drawn equally; the source's gradient reversed."""

    balanced: bool = False
    reversal: bool = False
    seed: int = 0


@dataclass(frozen=True)
class TrainingData:
    """Slices to learn from and to select by; ``state`` is a string that tells them from all others.

    ``load`` gives both; it is called only if there is something to train.
    """

    state: str
    load: Callable[[], tuple[MultiSourceDataset, MultiSourceDataset]]


class SmallClassifier:
    """Trains and applies one network.

    Args:
        folder: of its checkpoint and logs.
        parameters: of the study.
        fabric: from ``make_fabric``.
    """

    def __init__(
        self, folder: Path, parameters: BrainMriParameters, fabric: Fabric, data: TrainingData, recipe: Recipe
    ) -> None:
        self.folder, self.p, self.fabric = folder, parameters, fabric
        self.data, self.recipe = data, recipe
        tasks = (CLASSIFICATION, SOURCE) if recipe.reversal else (CLASSIFICATION,)
        parts = ["encoder", "cls_head"] + ["source_head"] * recipe.reversal
        self.stage = Stage(
            name="shortcut",
            learning_rates=dict.fromkeys(parts, LEARNING_RATE),
            epochs=parameters.shortcut_epochs,
            tasks=tasks,
            selection="log_score",
            seed=recipe.seed,
        )

    @property
    def _context(self) -> tuple[str, ...]:
        p = self.p
        settings = [p.shortcut_size, p.shortcut_filters, p.batch_size, p.augment, p.precision]
        settings += [self.recipe.balanced, p.reversal_weight if self.recipe.reversal else None]
        return training_code_fingerprint("brain_mri"), self.data.state, json.dumps(settings)

    @property
    def fingerprint(self) -> str:
        """Hash of all that the network depends on."""
        return self.stage.fingerprint(*self._context)

    def train(self) -> nn.Module:
        """The trained network, in eval mode; at once if it is finished. Raises ``TrainingError``."""
        if is_finished(self.folder, self.fingerprint):
            return load_model(SourceAdversarialModel, self.folder / "best").to(self.fabric.device).eval()
        training, validation = self.data.load()
        names = sorted(set(training.table["source"]))
        torch.manual_seed(int(sha256_of("initial weights", str(self.recipe.seed))[:12], 16))
        model = SourceAdversarialModel(
            max(2, len(names)), self.p.reversal_weight, self.p.shortcut_filters, DEPTH, DROPOUT,
            self.p.shortcut_size, BrainNormalisation().to_dict(),
        )  # fmt: skip
        trainer = StageTrainer(
            self.fabric, model, ClassificationObjective(self.stage.tasks), self.stage,
            self._loader(training, names), self._validate(validation), self.folder,
            context=self._context, card=_CARD, label=self.folder.name,
        )  # fmt: skip
        trainer.fit()
        return model.eval()

    def _loader(self, training: MultiSourceDataset, names: Sequence[str]) -> EpochLoader:
        augmented = training.subset(list(training.table["id"]), self.p.augment, self.recipe.seed)
        sampler = (
            BalancedSampler(cells(training.table), seed=self.recipe.seed)
            if self.recipe.balanced
            else ShuffledSampler(len(augmented), self.recipe.seed)
        )
        together = collate_with_source(names)
        # A last batch of one slice would have no variance for batch normalisation at the bottleneck.
        whole = len(augmented) >= self.p.batch_size
        return EpochLoader(augmented, sampler, self.p.batch_size, together, self.p.workers, drop_last=whole)

    def _validate(self, validation: MultiSourceDataset) -> Callable[[nn.Module], Mapping[str, float]]:
        """Minus the mean cross-entropy: defined also where one class only is left."""
        truth = torch.tensor(validation.table["cls"].to_numpy())

        def score(model: nn.Module) -> dict[str, float]:
            return {"log_score": -float(F.nll_loss(self._log_probabilities(model, validation), truth))}

        return score

    def probabilities(self, dataset: MultiSourceDataset) -> np.ndarray:
        """Tumour probability ``(n,)`` of every slice, in the dataset's order, in float32."""
        return self._log_probabilities(self.train(), dataset)[:, 1].exp().numpy()

    @torch.inference_mode()
    def _log_probabilities(self, model: nn.Module, dataset: MultiSourceDataset) -> torch.Tensor:
        found = []
        for batch in in_order(dataset, list(dataset.table["id"]), EVALUATION_BATCH):
            logits = model(batch["image"].to(self.fabric.device), do_seg=False)["cls"]
            found.append(logits.float().log_softmax(1).cpu())
        return torch.cat(found)


def of_sources(dataset: MultiSourceDataset, names: Sequence[str]) -> MultiSourceDataset:
    """The slices of these sources, not augmented."""
    return dataset.subset(list(dataset.table["id"][dataset.table["source"].isin(list(names))]))
