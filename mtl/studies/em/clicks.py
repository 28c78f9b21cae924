"""The simulated user at work on the test part: a click curve for every object and arm."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mtl.datasets.em import UNKNOWN
from mtl.evaluation.em.click_curves import choose_objects, click_table
from mtl.evaluation.em.simulated_user import SimulatedUser
from mtl.inference.em.click_session import ClickSession
from mtl.studies.em.study import EMStudy

Window = tuple[slice, ...]


def chosen_objects(study: EMStudy) -> list[tuple[int, Window]]:
    """Objects of the test part and the window in which each is judged: the same for every arm.

    The window lies around the object's middle voxel and has ``click_planes`` x ``click_side`` x ``click_side``
    voxels (one plane where the volume is planar), less where the part is smaller; what of an object lies outside
    of it counts neither way.
    """
    p = study.parameters
    labels = study.test_labels
    ids = choose_objects(labels, min_size=p.min_object_voxels, max_objects=p.click_objects, seed=p.seed)
    return [(number, _window_around(labels == number, study)) for number in ids]


def click_runs(study: EMStudy, arm: str, automatic: np.ndarray) -> pd.DataFrame:
    """Click curves of an arm's network; see ``click_table``, with a column ``arm``.

    Args:
        automatic: instances of the arm's automatic mode, ``(*sp)`` of the test part.
    """
    p, model = study.parameters, study.model(arm).to(study.fabric.device)
    volume, labels = study.parts["test"], study.test_labels
    user = SimulatedUser(volume.spacing[-p.dims :], p.click_jitter, p.seed)
    tables = []
    for number, window in chosen_objects(study):
        image = volume.read(window)[0]
        shape = image.shape[-p.dims :]
        session = ClickSession(model, image.reshape(shape))
        tables.append(
            click_table(
                labels[window].reshape(shape),
                _Clicker(session),
                user,
                automatic=automatic[window].reshape(shape),
                objects=[number],
                volume=volume.name,
                max_clicks=p.max_clicks,
                ignore_index=UNKNOWN,
            )
        )
    return pd.concat(tables, ignore_index=True).assign(arm=arm, test_hash=study.split.test_hash)


class _Clicker:
    """A session as the simulated user wants it: all clicks so far to a mask."""

    def __init__(self, session: ClickSession) -> None:
        self.session = session

    def __call__(self, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if len(points) == 1:
            self.session.clear()
        return np.array(self.session.add(points[-1].tolist(), bool(labels[-1])))


def _window_around(mask: np.ndarray, study: EMStudy) -> Window:
    p = study.parameters
    sides = (1 if p.dims == 2 else p.click_planes, p.click_side, p.click_side)
    inside = np.argwhere(mask)
    middle = inside[((inside - inside.mean(0)) ** 2).sum(1).argmin()]
    starts = (
        min(max(0, int(centre) - side // 2), max(0, length - side))
        for centre, side, length in zip(middle, sides, mask.shape, strict=True)
    )
    return tuple(
        slice(start, min(start + side, length))
        for start, side, length in zip(starts, sides, mask.shape, strict=True)
    )
