"""The simulated user at work on the test part: a click curve for every object and arm.

Zero clicks and clicks are judged on the same footing: both masks end where the network's foreground ends.
Where the data label no background, cells touch: the network learnt a line of ``contact_membrane`` voxels
between them, and both masks get it back, up to where other automatic instances begin (for a clicked mask:
those that it has no voxel of, because the ones that it touches are what is being corrected).

The rule from clicks to a mask has one number besides those of the training, the threshold of foreground: it
is the one found on the validation part for automatic instances by embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from skimage.segmentation import expand_labels

from mtl.datasets.em import UNKNOWN
from mtl.evaluation.em.click_curves import best_overlapping, choose_objects, click_table
from mtl.evaluation.em.simulated_user import SimulatedUser
from mtl.evaluation.segmentation import dice
from mtl.inference.em.click_session import ClickSession
from mtl.models.em import EMModel
from mtl.studies.em.segmentation import EMBEDDING, Segmentation, read_segmentation
from mtl.studies.em.shown_parts import cut_square, square_around, worst_plane
from mtl.studies.em.study import EMStudy

Window = tuple[slice, ...]


def chosen_objects(study: EMStudy) -> list[int]:
    """Ids of the objects of the test part that are clicked, in every arm the same."""
    p = study.parameters
    return choose_objects(
        study.test_labels, min_size=p.min_object_voxels, max_objects=p.click_objects, seed=p.seed
    )


def click_voxels(model: EMModel) -> int:
    """Voxels whose outputs one click can change; 0 where it changes none, or all."""
    return (2 * model.click_reach + 1) ** model.spatial_dims if model.click_reach else 0


def window_sides(study: EMStudy) -> tuple[int, int, int]:
    """Voxels of a window along z, y and x, where the part is large enough."""
    p = study.parameters
    return (1 if p.dims == 2 else p.click_planes, p.click_side, p.click_side)


def window_around(mask: np.ndarray, study: EMStudy) -> Window:
    """Where an object ``(*sp)`` is judged: what of it lies outside counts neither way.

    ``click_planes`` x ``click_side`` x ``click_side`` voxels around its middle voxel (one plane where the
    volume is planar), less where the part is smaller.
    """
    sides = window_sides(study)
    inside = np.argwhere(mask)
    middle = inside[((inside - inside.mean(0)) ** 2).sum(1).argmin()]
    return tuple(
        slice(start := min(max(0, int(centre) - side // 2), max(0, length - side)), min(start + side, length))
        for centre, side, length in zip(middle, sides, mask.shape, strict=True)
    )


def click_runs(study: EMStudy, arm: str, automatic: Segmentation) -> pd.DataFrame:
    """Click curves of an arm's network; see ``click_table``, with columns ``arm`` and ``test_hash``.

    Args:
        automatic: what the arm's network finds by itself.
    """
    p, tables = study.parameters, []
    for scene in _scenes(study, arm, chosen_objects(study), automatic):
        tables.append(
            click_table(
                scene.labels,
                scene.answer,
                scene.user,
                automatic=scene.automatic,
                objects=[scene.number],
                volume=study.parts["test"].name,
                max_clicks=p.max_clicks,
                ignore_index=UNKNOWN,
            )
        )
    return pd.concat(tables, ignore_index=True).assign(arm=arm, test_hash=study.test_hash)


@dataclass
class _Scene:
    """One object in its window, with the arm's session on it.

    Attributes:
        alone: automatic instances as far as the network sees foreground; automatic: with the membranes.
    """

    number: int
    image: np.ndarray
    labels: np.ndarray
    alone: np.ndarray
    automatic: np.ndarray
    session: ClickSession
    user: SimulatedUser
    margin: int

    def answer(self, points: np.ndarray, signs: np.ndarray) -> np.ndarray:
        """All clicks so far to a mask."""
        mask = self.session.answer(points, signs)
        if not self.margin:
            return mask
        clicked = int(self.automatic.max(initial=0)) + 1
        corrected = np.isin(self.alone, np.unique(self.alone[mask]))
        others = np.where(corrected, 0, self.alone)
        grown = _grown(np.where(mask, clicked, others), self.margin) == clicked
        against = tuple(points[signs != 1].T)
        grown[against] = mask[against]
        return grown


def _scenes(study: EMStudy, arm: str, ids: Sequence[int], automatic: Segmentation) -> Iterator[_Scene]:
    p, test, labels = study.parameters, study.parts["test"], study.test_labels
    margin = 0 if labels_background(study) else p.contact_membrane
    found = np.where(automatic.foreground, automatic.labels, 0)
    model = study.model(arm).to(study.fabric.device)
    threshold = read_segmentation(study, arm, EMBEDDING).settings["threshold"]
    user = SimulatedUser(test.spacing[-p.dims :], p.click_jitter, p.seed)
    for number in ids:
        window = window_around(labels == number, study)
        image = test.read(window)[0]
        shape = image.shape[-p.dims :]
        seen, truth, alone = (field.reshape(shape) for field in (image, labels[window], found[window]))
        session = ClickSession(model, seen, threshold=threshold)
        yield _Scene(number, seen, truth, alone, _grown(alone, margin), session, user, margin)


def labels_background(study: EMStudy, least: float = 0.01) -> bool:
    """Whether the training part labels background: more than single voxels of what is known there."""
    train = study.parts["train"]
    labels = train.read_labels(train.box)
    known = labels != UNKNOWN
    return bool((labels[known] == 0).mean() > least)


def _grown(labels: np.ndarray, width: int) -> np.ndarray:
    """Objects wider by ``width`` voxels where that is free."""
    return expand_labels(labels.astype(np.int32), width) if width else labels


@dataclass
class Replay:
    """Squares ``(H, W)`` in [0, 1] (NaN outside), their labels (see ``right_and_wrong``), titles and clicks.

    The clicks so far: (y, x, whether positive, whether on this plane).
    """

    images: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    clicks: list[list[tuple[float, float, bool, bool]]] = field(default_factory=list)


def replayed(study: EMStudy, arm: str, ids: Sequence[int], automatic: Segmentation, n_clicks: int) -> Replay:
    """Objects clicked once more: the mask before any click and after each of ``n_clicks``.

    Of each object the plane with most wrong voxels over all these masks, cut to object, masks and clicks.
    """
    shown = Replay()
    for scene in _scenes(study, arm, ids, automatic):
        truth, known = scene.labels == scene.number, scene.labels != UNKNOWN
        masks, clicks = [best_overlapping(scene.automatic, truth, known)], []
        while len(clicks) < n_clicks and (click := scene.user.next_click(truth, masks[-1], clicks, known)):
            clicks.append(click)
            masks.append(
                scene.answer(np.array([c.point for c in clicks]), np.array([c.positive for c in clicks]))
            )
        masks += [masks[-1]] * (n_clicks + 1 - len(masks))
        _show(shown, scene, masks, [(*(0,) * (3 - truth.ndim), *c.point, bool(c.positive)) for c in clicks])
    return shown


def _show(
    shown: Replay, scene: _Scene, masks: Sequence[np.ndarray], clicks: Sequence[tuple[int, int, int, bool]]
) -> None:
    """Add an object's masks (``masks[k]`` after k clicks) to what is shown; clicks: z, y, x, positive."""
    known, truth = scene.labels != UNKNOWN, scene.labels == scene.number
    scores = [dice(mask[known], truth[known]) for mask in masks]
    image, truth, *masks = (
        field.reshape(-1, *field.shape[-2:]) for field in (scene.image, truth, *(m & known for m in masks))
    )
    plane = worst_plane(truth, masks)
    wanted = np.any([truth, *masks], axis=0)[plane]
    for _, y, x, _ in clicks:
        wanted[y, x] = True
    square = square_around(truth[plane], wanted, most=max(wanted.shape) + 12)
    made = [
        (float(y - square[0]), float(x - square[1]), positive, z == plane) for z, y, x, positive in clicks
    ]
    for k, mask in enumerate(masks):
        often = f"{k or 'no'} click" + "s" * (k > 1)
        shown.images.append(cut_square(image[plane], square, np.nan))
        shown.labels.append(cut_square(right_and_wrong(mask[plane], truth[plane]), square, 0))
        shown.clicks.append(made[:k])
        shown.titles.append(f"object {scene.number}, {often}: {scores[k]:.2f}")


def right_and_wrong(mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """1 found, 2 missed, 3 falsely included, 0 neither; ``(*sp)`` bool each."""
    return np.select([mask & truth, truth, mask], [1, 2, 3], 0)
