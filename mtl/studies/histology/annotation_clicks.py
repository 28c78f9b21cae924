"""A simulated annotator who points at a desk as a person does, and what the network is worth by then."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
import pandas as pd
from skimage.measure import find_contours

from mtl.evaluation.histology import image_scores
from mtl.evaluation.histology.simulated_annotator import Decision, review
from mtl.inference.histology import decode
from mtl.studies.histology.annotation_by_hand import AnnotationByHand
from mtl.studies.histology.study import HistologyStudy


class Desk(Protocol):
    """What is pointed at; see `mtl.interactive.histology_annotation`."""

    annotation: AnnotationByHand
    tile: str
    canvas: Any


def act_as_annotator(desk: Desk, n_actions: int) -> pd.DataFrame:
    """Review what is proposed on the tile that is shown; see ``simulated_annotator.review``.

    Returns:
        A row per kind of action that was taken: ``action``, ``actions``, ``ms`` (median, until it was saved
        and the picture drawn).
    """
    tile = desk.annotation.tiles[desk.tile]
    taken: list[tuple[str, float]] = []
    proposals, confidence = desk.annotation.proposals(tile.id)
    for decision in review(proposals, confidence, tile.instances, annotated=()):
        if len(taken) == n_actions:
            break
        start = time.perf_counter()
        _point(desk, decision)
        if desk.canvas.last_error is None:
            taken.append((decision.kind, 1000 * (time.perf_counter() - start)))
    found = pd.DataFrame(taken, columns=["action", "ms"])
    return found.groupby("action", sort=False)["ms"].agg(actions="size", ms="median").reset_index()


def _point(desk: Desk, decision: Decision) -> None:
    if decision.kind == "add":
        ring = max(find_contours(np.pad(decision.mask, 1).astype(float), 0.5), key=len)
        desk.canvas.draw_outline((ring - 1).clip(0, np.array(decision.mask.shape) - 1).tolist())
        return
    y, x = np.argwhere(decision.mask)[int(decision.mask.sum()) // 2]
    desk.canvas.points = [(0, int(y), int(x), int(decision.kind == "accept"))]


def mean_pq(study: HistologyStudy, annotation: AnnotationByHand) -> float:
    """Mean PQ of the present network over the first fold's test tiles."""
    scores = []
    for tile in study.part(0, "test"):
        maps = annotation.rounds.maps(tile, annotation.model)
        found = decode(maps.probability, maps.hv_map, annotation.decoding)
        scores.append(image_scores(found, tile.instances, radius=study.parameters.detection_radius)["pq"])
    return float(np.nanmean(scores))
