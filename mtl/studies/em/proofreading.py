"""A piece of the test part, ready to be proofread: image, automatic instances and a session for clicks.

And a simulated proofreader, who knows the truth and puts the worst objects right, one after the other.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from mtl.datasets.em import UNKNOWN
from mtl.errors import MissingArtefactError
from mtl.evaluation.em.click_curves import best_overlapping
from mtl.evaluation.em.simulated_user import SimulatedUser
from mtl.evaluation.segmentation import dice
from mtl.inference.em.click_session import ClickSession
from mtl.inference.em.proofreading import Proofreading
from mtl.studies.em.segmentation import EMBEDDING, automatic_instances, read_segmentation
from mtl.studies.em.study import EMStudy

GOOD_ENOUGH = 0.9  # Dice at which the simulated proofreader stops clicking


@dataclass(frozen=True)
class ProofreadingScene:
    """``image`` float, ``truth`` int64 (-100 unknown) and ``automatic`` int32, each ``(*sp)``.

    ``spacing``: nm along each axis; ``corner``: the first voxel's number in the volume. ``folder``: where
    work on this very piece lies, a folder for each proofreader.
    """

    image: np.ndarray
    truth: np.ndarray
    automatic: np.ndarray
    session: ClickSession
    spacing: tuple[float, ...]
    corner: tuple[int, ...]
    folder: Path
    label: str

    def work(self, proofreader: str, anew: bool = False) -> Proofreading:
        """What somebody did so far, to be gone on with; ``anew``: thrown away, for a simulation."""
        if anew:
            shutil.rmtree(self.folder / proofreader, ignore_errors=True)
        return Proofreading(self.folder / proofreader, self.automatic, self.spacing)


def proofreading_scene(study: EMStudy, arm: str, planes: int, side: int) -> ProofreadingScene:
    """The middle of the test part, at most ``planes`` x ``side`` x ``side`` voxels (one plane in 2-D).

    What is missing is made first: the arm is trained and its test part segmented.
    """
    try:
        model = study.model(arm)
    except MissingArtefactError:
        study.train(arm)
        model = study.model(arm)
    _, found = automatic_instances(study, arm, make=True)
    threshold = read_segmentation(study, arm, EMBEDDING).settings["threshold"]
    test, dims = study.parts["test"], study.parameters.dims
    wanted = (1 if dims == 2 else planes, side, side)
    window = tuple(
        slice(start := max(0, (length - most) // 2), start + min(most, length))
        for length, most in zip(test.shape, wanted, strict=True)
    )
    piece = "_".join(f"{side.start}-{side.stop}" for side in window)
    corner = (study.split.test[0] + window[0].start, window[1].start, window[2].start)
    image = test.read(window)[0]
    shape = image.shape[-dims:]
    automatic = np.where(found.foreground[window], found.labels[window], 0).reshape(shape)
    return ProofreadingScene(
        image=image.reshape(shape),
        truth=study.test_labels[window].reshape(shape),
        automatic=automatic.astype(np.int32),
        session=ClickSession(model.to(study.fabric.device), image.reshape(shape), threshold=threshold),
        spacing=tuple(test.spacing[-dims:]),
        corner=corner[-dims:],
        folder=study.run.path / "proofreading" / arm / piece,
        label=f"{test.name}, {' x '.join(map(str, shape))} voxels",
    )


def worst_objects(scene: ProofreadingScene, least_voxels: int, n: int) -> list[int]:
    """True objects that the automatic instances get least right, worst first."""
    known = scene.truth != UNKNOWN
    ids, sizes = np.unique(scene.truth[scene.truth > 0], return_counts=True)
    scores = {
        int(number): dice(best_overlapping(scene.automatic, truth, known)[known], truth[known])
        for number in ids[sizes >= least_voxels]
        if (truth := scene.truth == number).any()
    }
    return sorted(scores, key=lambda number: (scores[number], number))[:n]


class Desk(Protocol):
    """What the simulated proofreader points at; see `mtl.interactive.em_proofreading`."""

    canvas: Any

    def press(self, button: str) -> None: ...


def proofread_by_simulation(
    desk: Desk, scene: ProofreadingScene, objects: Sequence[int], max_clicks: int
) -> pd.DataFrame:
    """Click each object until it is good enough; accept it if it became better than it was.

    Args:
        objects: true ids, in this order. max_clicks: per object.

    Returns:
        A row per object: ``object``, ``voxels``, ``clicks``, ``automatic`` (Dice of the best overlapping
        instance before), ``clicked`` (Dice of the mask) and ``seconds`` (from click to mask, the slowest).
    """
    user, known, rows = SimulatedUser(scene.spacing), scene.truth != UNKNOWN, []
    for number in objects:
        truth = scene.truth == number
        before = best_overlapping(scene.automatic, truth, known)
        mask, clicks, seconds = np.zeros_like(truth), [], [0.0]
        while len(clicks) < max_clicks and (click := user.next_click(truth, mask, clicks, known)):
            clicks.append(click)
            start = time.perf_counter()
            desk.canvas.points = [(*(0,) * (3 - truth.ndim), *c.point, int(c.positive)) for c in clicks]
            seconds.append(time.perf_counter() - start)
            mask = np.asarray(desk.canvas.mask)
            if dice(mask[known], truth[known]) >= GOOD_ENOUGH:
                break
        row = {"automatic": dice(before[known], truth[known]), "clicked": dice(mask[known], truth[known])}
        if row["clicked"] > row["automatic"]:
            desk.press("Accept")
        counted = {"object": number, "voxels": int(truth.sum()), "clicks": len(clicks)}
        rows.append(counted | row | {"seconds": max(seconds)})
        desk.canvas.points = []
    return pd.DataFrame(rows)
