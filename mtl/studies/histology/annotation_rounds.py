"""What turns of annotating and training share, whether a person or a simulation annotates."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mtl.datasets.histology import NucleiTile, PatchDataset, StainAugmentation
from mtl.errors import ParameterError
from mtl.files import sha256_of
from mtl.inference.histology import Decoding, NucleiMaps, predict_maps
from mtl.inference.histology.annotation_session import AnnotationSession, Entry
from mtl.models.histology import UNetMultiTask
from mtl.studies.histology.data import patch_loader
from mtl.studies.histology.loss_sets import ALL
from mtl.studies.histology.model_card import model_card
from mtl.studies.histology.scoring import methods_of, tune_decoding, tuning_tiles
from mtl.studies.histology.study import HistologyStudy
from mtl.targets.histology import HV_MAPS
from mtl.training.loop import StageTrainer
from mtl.training.stages import Stage


class AnnotationRounds:
    """Some tiles of the first fold's training part, what is outlined in them, and trainings on that.

    Args:
        study: its first fold, its losses and its network are used.
        name: of the trainings' folders.
        folder: of the annotations.
        context: what a training depends on beside the annotations.
    """

    def __init__(self, study: HistologyStudy, name: str, folder: Path, context: str) -> None:
        self.study, self.name, self.context = study, name, context
        p = study.parameters
        self.training = study.first
        train = [tile for tile in study.part(0, "train") if tile.instances.any()]  # others give no label
        chosen = np.random.default_rng([p.seed, 17]).permutation(len(train))[: p.loop_tiles]
        self.tiles: dict[str, NucleiTile] = {train[i].id: train[i] for i in sorted(chosen)}
        self.session = AnnotationSession(folder, {tile.id: tile.shape for tile in self.tiles.values()})

    def maps(self, tile: NucleiTile, model: UNetMultiTask) -> NucleiMaps:
        """What the network says of a tile."""
        return predict_maps(model, [tile.image], device=self.study.fabric.device)[0]

    def decoding(self, model: UNetMultiTask) -> Decoding:
        """The decoding that fits a network on the validation tiles."""
        tiles = tuning_tiles(self.study, 0)
        maps = predict_maps(model, [tile.image for tile in tiles], device=self.study.fabric.device)
        tuned = [tune_decoding(maps, tiles, method, self.study) for method in methods_of(self.study, ALL)]
        return Decoding(**max(tuned, key=lambda of: of.validation_pq).settings)

    def proposals(
        self, tile: NucleiTile, maps: NucleiMaps, found: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Nuclei outside what was outlined or rejected, and the mean confidence in each.

        Args:
            maps: what the network says of the tile. found: ids ``(H, W)`` decoded from them.

        Returns:
            int32 ids 1..N ``(H, W)``, 0 for nothing; ``(N,)``.
        """
        settled = (self.session.instances(tile.id) > 0) | self.session.rejected(tile.id)
        flat = found.ravel()
        sizes = np.bincount(flat)
        shares = np.bincount(flat, settled.ravel()) / np.maximum(sizes, 1)
        (free,) = np.nonzero((sizes > 0) & (shares < 0.5) & (np.arange(len(sizes)) > 0))
        table = np.zeros(len(sizes), np.int32)
        table[free] = np.arange(1, len(free) + 1)
        return table[found], (np.bincount(flat, maps.probability.ravel()) / np.maximum(sizes, 1))[free]

    def train(
        self, number: int, model: UNetMultiTask, on_step: Callable[[int, int], None] | None = None
    ) -> UNetMultiTask:
        """Round ``number``: ``loop_steps`` steps from the model's weights on what is outlined up to it.

        Actions of a later round (their note says which) do not count. A round that was done is read back.

        Raises:
            ParameterError: no nucleus is outlined yet.
        """
        study, tiles, settings = self.study, list(self.tiles.values()), self._stage()
        p = study.parameters
        known = [entry for entry in self.session.entries if entry.note["round"] <= number]
        outlined = [self.session.instances(t.id, lambda e: e.note["round"] <= number) for t in tiles]
        if not any(labels.any() for labels in outlined):
            raise ParameterError("no nucleus is outlined yet: accept or outline one before training")
        patches = PatchDataset(
            tiles, outlined, p.patch, p.loop_steps * p.batch_size, HV_MAPS[p.hv],
            study.label_seed(self.training) + number,
            augmentation=StainAugmentation() if p.augment else None,
            min_positive_pixels=p.min_positive_pixels,
        )  # fmt: skip
        loader = patch_loader(
            patches, p.model_copy(update={"warm_up_epochs": 0 if number else 1}), settings.tasks, 0
        )
        StageTrainer(
            study.fabric, model, study.objective(ALL), settings, loader,
            partial(study.validate, training=self.training),
            study.run.stage(0, f"{self.name}_round_{number}"),
            context=(self.context, _said(known), str(number)),
            card=model_card(self.training, p, tiles),
            label=f"{settings.name}, round {number}", on_step=on_step,
        ).fit()  # fmt: skip
        return model

    def _stage(self) -> Stage:
        """One pass over a round's patches, else as the study trains."""
        settings = self.study.settings(self.training)
        return replace(settings, name=f"annotation, {self.name}", epochs=1, accumulate=1)


def loop_settings(study: HistologyStudy) -> str:
    """The parameters that rounds of annotation have beyond those of the first training."""
    kept = {"loop_start", "loop_actions", "loop_steps", "loop_tiles", "min_nucleus_pixels", "tuning_tiles"}
    return json.dumps(study.parameters.model_dump(include=kept))


def _said(entries: list[Entry]) -> str:
    """Hash of what was outlined and rejected."""
    return sha256_of(*(f"{entry.action} {entry.tile} {entry.runs}" for entry in entries))
