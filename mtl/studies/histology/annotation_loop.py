"""Annotate, train, correct: a simulated annotator and a network take turns, with and without proposals.

Both ways start from the same outlined nuclei and the same untrained network, spend as many actions and make
as many training steps. After every round the network is scored on the test tiles of the first fold, by a
decoding that the validation tiles chose. Actions lie in an ``AnnotationSession`` of their own, rounds in
checkpoints: a run that is killed goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from mtl.datasets.histology import NucleiTile, PatchDataset, StainAugmentation
from mtl.errors import ParameterError
from mtl.evaluation.histology import image_scores
from mtl.evaluation.histology.simulated_annotator import Decision, draw_at_random, review
from mtl.files import sha256_of
from mtl.inference.histology import Decoding, decode, predict_maps
from mtl.inference.histology.annotation_session import AnnotationSession
from mtl.models.histology import UNetMultiTask
from mtl.studies.histology.data import patch_loader
from mtl.studies.histology.loss_sets import ALL, Training
from mtl.studies.histology.model_card import model_card
from mtl.studies.histology.scoring import tune_decoding, tuning_tiles
from mtl.studies.histology.study import HistologyStudy
from mtl.targets.histology import HV_MAPS
from mtl.training.loop import StageTrainer
from mtl.training.stages import Stage

PROPOSALS, RANDOM = "proposals", "random order"
STRATEGIES = (PROPOSALS, RANDOM)
PROPOSED = "watershed"


class AnnotationLoop:
    """One way to spend an annotator's time.

    Args:
        study: its first fold, its losses and its network are used.
        strategy: ``proposals`` or ``random order``.
    """

    def __init__(self, study: HistologyStudy, strategy: str) -> None:
        if strategy not in STRATEGIES:
            raise ParameterError(f"strategy: {strategy!r} is not one of {', '.join(STRATEGIES)}")
        self.study, self.strategy, p = study, strategy, study.parameters
        self.training = Training(ALL, p.label_fractions[0], 0, 0)
        train = study.part(0, "train")
        chosen = np.random.default_rng([p.seed, 17]).permutation(len(train))[: p.loop_tiles]
        self.tiles = {train[i].id: train[i] for i in sorted(chosen)}
        kept = {"loop_start", "loop_actions", "loop_steps", "loop_tiles"}
        settings = json.dumps(p.model_dump(include=kept))
        self.context = sha256_of(study.fingerprint(self.training), settings, strategy)
        folder = study.run.path / "annotations" / f"{self.name}_{self.context[:12]}"
        self.session = AnnotationSession(folder, {tile.id: tile.shape for tile in self.tiles.values()})

    @property
    def name(self) -> str:
        """Of folders."""
        return self.strategy.replace(" ", "_")

    def run(self) -> pd.DataFrame:
        """All rounds; what a killed run has finished is taken from its folders.

        Returns:
            A row per round and test image: ``strategy, round, image``, the scores, and up to then
            ``actions``, ``outlined``, ``accept``, ``reject``, ``add``.
        """
        self._outline_first()
        model = self._train(0, None)
        decoding = self._decoding(model)
        rows = self._score(model, decoding, 0)
        for number in range(1, self.study.parameters.loop_rounds + 1):
            self._annotate(number, model, decoding)
            model = self._train(number, model)
            decoding = self._decoding(model)
            rows += self._score(model, decoding, number)
        return pd.DataFrame(rows)

    # ------------------------------------------------------------------ the annotator
    def _outline_first(self) -> None:
        """So many nuclei in random order, the same ones for both ways; they are no actions."""
        p = self.study.parameters
        wanted = [(tile, nucleus) for tile in self.tiles.values() for nucleus in tile.nucleus_ids]
        order = np.random.default_rng([p.seed, 23]).permutation(len(wanted))[: p.loop_start]
        for place in order[len(self.session.entries) :]:
            tile, nucleus = wanted[place]
            self.session.add(tile.id, tile.instances == nucleus, nucleus=int(nucleus), round=0)

    def _annotate(self, number: int, model: UNetMultiTask, decoding: Decoding) -> None:
        """Spend the round's actions; those of a run that was killed in the middle of it count."""
        p = self.study.parameters
        spent = sum(entry.note["round"] == number for entry in self.session.entries)
        if any(entry.note["round"] > number for entry in self.session.entries):
            return
        for tile, decision in self._decisions(number, model, decoding):
            if spent >= p.loop_actions:
                return
            act = getattr(self.session, decision.kind)
            try:
                act(tile.id, decision.mask, nucleus=decision.nucleus, round=number)
            except ParameterError:  # all of its pixels are a neighbour's already
                continue
            spent += 1

    def _decisions(
        self, number: int, model: UNetMultiTask, decoding: Decoding
    ) -> Iterator[tuple[NucleiTile, Decision]]:
        """Tile after tile, beginning with another one in every round."""
        p, tiles = self.study.parameters, list(self.tiles.values())
        rng = np.random.default_rng([p.seed, 29, number])
        for tile in tiles[number % len(tiles) :] + tiles[: number % len(tiles)]:
            done = {
                e.note["nucleus"] for e in self.session.entries if e.tile == tile.id and e.action != "reject"
            }
            if self.strategy == RANDOM:
                decisions = draw_at_random(tile.instances, done, rng)
            else:
                decisions = review(*self._proposals(tile, model, decoding), tile.instances, done)
            yield from ((tile, decision) for decision in decisions)

    def _proposals(
        self, tile: NucleiTile, model: UNetMultiTask, decoding: Decoding
    ) -> tuple[np.ndarray, np.ndarray]:
        """Nuclei proposed outside what was outlined or rejected, and the mean confidence in each."""
        (maps,) = predict_maps(model, [tile.image], device=self.study.fabric.device)
        found = decode(maps.probability, maps.hv_map, decoding)
        ids = np.unique(found[found > 0])
        settled = (self.session.instances(tile.id) > 0) | self.session.rejected(tile.id)
        free = [i for i in ids if settled[found == i].mean() < 0.5]
        table = np.zeros(int(found.max()) + 1, np.int32)
        table[free] = np.arange(1, len(free) + 1)
        proposals = table[found]
        return proposals, np.array([maps.probability[proposals == k].mean() for k in range(1, len(free) + 1)])

    def _decoding(self, model: UNetMultiTask) -> Decoding:
        """The decoding that fits a network on the validation tiles."""
        study = self.study
        tiles = tuning_tiles(study, 0)
        maps = predict_maps(model, [tile.image for tile in tiles], device=study.fabric.device)
        return Decoding(**tune_decoding(maps, tiles, PROPOSED, study).settings)

    # ------------------------------------------------------------------ the network
    def _settings(self) -> Stage:
        p, settings = self.study.parameters, self.study.settings(self.training)
        return Stage(
            name=f"loop {self.strategy}",
            learning_rates=settings.learning_rates,
            epochs=1,
            tasks=settings.tasks,
            task_weights=settings.task_weights,
            balancer=p.balancer,
            weight_decay=p.weight_decay,
            min_learning_rate=p.min_lr,
            clip=p.clip,
            average=p.average,
            selection="dice",
            seed=settings.seed,
        )

    def _train(self, number: int, model: UNetMultiTask | None) -> UNetMultiTask:
        """``loop_steps`` steps on what is outlined now, from the weights of the round before."""
        study, p = self.study, self.study.parameters
        model = study.untrained_model(self.training) if model is None else model
        tiles, settings = list(self.tiles.values()), self._settings()
        known = [entry for entry in self.session.entries if entry.note["round"] <= number]
        outlined = [self.session.instances(t.id, lambda e: e.note["round"] <= number) for t in tiles]
        patches = PatchDataset(
            tiles, outlined, p.patch, p.loop_steps * p.batch_size, HV_MAPS[p.hv],
            study.label_seed(self.training) + number,
            augmentation=StainAugmentation() if p.augment else None,
            min_positive_pixels=p.min_positive_pixels,
        )  # fmt: skip
        loader = patch_loader(
            patches, p.model_copy(update={"warm_up_epochs": 0 if number else 1}), settings.tasks, 0
        )
        said = sha256_of(*(entry.tile + str(entry.runs) for entry in known))
        StageTrainer(
            study.fabric, model, study.objective(ALL), settings, loader,
            partial(study.validate, training=self.training),
            study.run.stage(0, f"loop_{self.name}_round_{number}"),
            context=(self.context, said, str(number)),
            card=model_card(self.training, p, tiles),
            label=f"annotation loop, {self.strategy}, round {number}",
        ).fit()  # fmt: skip
        return model

    def _score(self, model: UNetMultiTask, decoding: Decoding, number: int) -> list[dict]:
        """Scores on the test tiles."""
        study, tiles = self.study, self.study.part(0, "test")
        counts = self._counts(number)
        rows = []
        for tile in tiles:
            (maps,) = predict_maps(model, [tile.image], device=study.fabric.device)
            found = decode(maps.probability, maps.hv_map, decoding)
            scores = image_scores(found, tile.instances, radius=study.parameters.detection_radius)
            rows.append({"strategy": self.strategy, "round": number, "image": tile.id} | scores | counts)
        return rows

    def _counts(self, number: int) -> dict[str, int]:
        """Actions up to a round; the nuclei outlined beforehand are no actions."""
        upto = [e for e in self.session.entries if e.note["round"] <= number]
        acted = [e for e in upto if e.note["round"] > 0]
        by_kind = {kind: sum(e.action == kind for e in acted) for kind in ("accept", "reject", "add")}
        return {"actions": len(acted), "outlined": sum(e.action != "reject" for e in upto)} | by_kind


def effort_at(table: pd.DataFrame, pq: float, by: str) -> float | None:
    """How many actions, or outlined nuclei (``by``), a way needs for a mean PQ: between rounds by a straight
    line.

    table: rows of one strategy. None where it is never reached.
    """
    rounds = table.groupby("round").agg(pq=("pq", "mean"), effort=(by, "first")).sort_index()
    reached = np.flatnonzero(rounds["pq"].to_numpy() >= pq)
    if not len(reached):
        return None
    last = int(reached[0])
    if last == 0:
        return float(rounds["effort"].iloc[0])
    (low, high), (before, after) = (
        rounds["pq"].iloc[[last - 1, last]],
        rounds["effort"].iloc[[last - 1, last]],
    )
    return float(before + (after - before) * (pq - low) / (high - low))
