"""Annotate, train, correct: a simulated annotator and a network take turns, with and without proposals.

Both ways start from the same outlined nuclei and the same untrained network, spend as many actions and make
as many training steps. After every round the network is scored on the test tiles of the first fold, by a
decoding that the validation tiles chose. Actions lie in an ``AnnotationSession`` of their own, rounds in
checkpoints: a run that is killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mtl.datasets.histology import NucleiTile
from mtl.errors import ParameterError
from mtl.evaluation.histology import image_scores
from mtl.evaluation.histology.simulated_annotator import Decision, draw_at_random, review
from mtl.files import sha256_of
from mtl.inference.histology import Decoding, decode
from mtl.inference.journal import runs_of
from mtl.models.histology import UNetMultiTask
from mtl.studies.code_fingerprint import annotation_loop_fingerprint
from mtl.studies.histology.annotation_rounds import AnnotationRounds, loop_settings
from mtl.studies.histology.study import HistologyStudy

PROPOSALS, RANDOM = "proposals", "random order"
STRATEGIES = (PROPOSALS, RANDOM)


class AnnotationLoop:
    """One way to spend an annotator's time.

    Args:
        study: its first fold, its losses and its network are used.
        strategy: ``proposals`` or ``random order``.
    """

    def __init__(self, study: HistologyStudy, strategy: str) -> None:
        if strategy not in STRATEGIES:
            raise ParameterError(f"strategy: {strategy!r} is not one of {', '.join(STRATEGIES)}")
        self.study, self.strategy = study, strategy
        name = strategy.replace(" ", "_")
        settings = loop_settings(study)
        context = sha256_of(study.fingerprint(study.first), annotation_loop_fingerprint(), settings, strategy)
        folder = study.run.path / "annotations" / f"{name}_{context[:12]}"
        self.rounds = AnnotationRounds(study, f"loop_{name}", folder, context)
        self.tiles, self.session = self.rounds.tiles, self.rounds.session

    def run(self) -> pd.DataFrame:
        """All rounds; what a killed run has finished is taken from its folders.

        Returns:
            A row per round and test image: ``strategy, round, image``, the scores, and up to then
            ``actions``, ``outlined``, ``accept``, ``reject``, ``add``.
        """
        self._outline_first()
        model = self.rounds.train(0, self.study.untrained_model(self.study.first))
        decoding = self.rounds.decoding(model)
        rows = self._score(model, decoding, 0)
        for number in range(1, self.study.parameters.loop_rounds + 1):
            self._annotate(number, model, decoding)
            model = self.rounds.train(number, model)
            decoding = self.rounds.decoding(model)
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
        rejected = {
            (entry.tile, tuple(map(tuple, entry.runs)))
            for entry in self.session.entries
            if entry.action == "reject" and entry.note["round"] == number
        }
        for tile, decision in self._decisions(number, model, decoding):
            if spent >= p.loop_actions:
                return
            if decision.kind == "reject" and (tile.id, runs_of(decision.mask)) in rejected:
                continue
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
                maps = self.rounds.maps(tile, model)
                found = decode(maps.probability, maps.hv_map, decoding)
                decisions = review(*self.rounds.proposals(tile, maps, found), tile.instances, done)
            yield from ((tile, decision) for decision in decisions)

    def _score(self, model: UNetMultiTask, decoding: Decoding, number: int) -> list[dict]:
        """Scores on the test tiles."""
        study, tiles = self.study, self.study.part(0, "test")
        counts = self._counts(number)
        rows = []
        for tile in tiles:
            maps = self.rounds.maps(tile, model)
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
