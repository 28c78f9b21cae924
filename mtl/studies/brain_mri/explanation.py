"""Maps of evidence for every test case of a finished run, and of those who know less, scored case by case.

``trained``         Grad-CAM of the joint network (each fold's network on its own test part)
``random_head``     the trained encoder under a head with random weights, several draws
``random_network``  every weight random, batch-norm statistics re-estimated on training slices; several draws
``centre``          only knows where the head is (``evaluation.brain_mri.explanation.centre_prior``)
``coarse_mask``     the true mask at the resolution of the bottleneck: a map that is right in every cell
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from mtl.evaluation.brain_mri.explanation import centre_prior, hit_by_chance, map_figures, rank_similarity
from mtl.files import sha256_of
from mtl.inference.brain_mri.grad_cam import bottleneck_grad_cam, upsampled
from mtl.models.brain_mri import ClassificationHead, MultiTaskModel
from mtl.models.unet import receptive_field
from mtl.studies.brain_mri import stages
from mtl.studies.brain_mri.data import in_order
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.brain_mri.randomised import randomised_copy, reestimate_statistics
from mtl.studies.brain_mri.study import EVALUATION_BATCH, BrainMriStudy
from mtl.training.objective import Batch

NAME = "explanation"
TRAINED, RANDOM_HEAD, RANDOM_NETWORK, CENTRE, COARSE_MASK = MAPS = (
    "trained", "random_head", "random_network", "centre", "coarse_mask",
)  # fmt: skip
#: Random networks per fold: the map of a single one may be empty by bad luck.
DRAWS = 5
#: Training slices that the batch norms of a random network see.
STATISTICS_SLICES = 128


@dataclass(frozen=True)
class Explained:
    """What makes a map: an encoder and a head in eval mode."""

    name: str
    draw: int
    encoder: nn.Module
    head: ClassificationHead


def resolution(parameters: BrainMriParameters) -> dict[str, int]:
    """Sides, in cells or pixels: of the bottleneck, of a cell, of what a cell can depend on, of the image."""
    side = 2**parameters.depth
    return {
        "cells": parameters.image_size // side,
        "cell_pixels": side,
        "receptive_field": receptive_field(parameters.depth),
        "image_pixels": parameters.image_size,
    }


def write_explanations(study: BrainMriStudy, draws: int = DRAWS) -> pd.DataFrame:
    """Score the maps of every fold's test part; save (``predictions/explanation.parquet``) and return.

    One row per case, fold, ``map`` and ``draw``: id, source, patient, group, slice, cls, has_mask,
    mask_pixels, the figures of ``map_figures`` (tolerance: half a cell), ``chance`` (of a pointing hit) and
    ``spearman`` (with the trained map, over the bottleneck's cells).

    Raises:
        MissingArtefactError: the joint stage has not been trained as it is now.
    """
    parts = [_explain_fold(study, fold, draws) for fold in study.folds]
    table = pd.concat(parts, ignore_index=True)
    study.run.write_predictions(NAME, table)
    return table


def tumour_maps(study: BrainMriStudy, fold: int, ids: Sequence[str]) -> tuple[NDArray, NDArray]:
    """Trained maps of cases, in the order of ``ids``: cells ``(n, h, w)`` and pixels ``(n, H, W)``."""
    model = _joint(study, fold)
    batches = in_order(study.dataset, ids, EVALUATION_BATCH)
    cells = torch.cat([_cells(model.encoder, model.cls_head, _images(study, batch)) for batch in batches])
    size = (study.parameters.image_size,) * 2
    return cells.cpu().numpy(), upsampled(cells, size).cpu().numpy()


def head_of(image: NDArray, background: float) -> NDArray[np.bool_]:
    """The head in a prepared image ``(H, W)``: all but the constant that surrounds it, holes filled."""
    return ndimage.binary_fill_holes(np.abs(image - background) > 1e-6)


def _explain_fold(study: BrainMriStudy, fold: int, draws: int) -> pd.DataFrame:
    explained = list(_networks(study, fold, draws))
    rows = [
        row
        for batch in in_order(study.dataset, study.split.folds[fold].test, EVALUATION_BATCH)
        for row in _batch_rows(study, batch, explained)
    ]
    groups = study.dataset.table.set_index("id")["group"]
    table = pd.DataFrame(rows)
    return table.assign(
        group=groups.loc[table["id"]].to_numpy(),
        fold=fold,
        test_hash=study.split.test_hash,
        made_by=study.fingerprint(stages.JOINT, fold),
    )


def _networks(study: BrainMriStudy, fold: int, draws: int) -> Iterator[Explained]:
    model = _joint(study, fold)
    yield Explained(TRAINED, 0, model.encoder, model.cls_head)
    train = study.split.folds[fold].train
    for draw in range(draws):
        seed = int(sha256_of(str(study.parameters.seed), "randomised", str(fold), str(draw))[:12], 16)
        head = randomised_copy(model.cls_head, seed)
        yield Explained(RANDOM_HEAD, draw, model.encoder, head)
        encoder = randomised_copy(model.encoder, seed)
        seen = np.random.default_rng(seed).permutation(len(train))[:STATISTICS_SLICES]
        batches = in_order(study.dataset, [train[i] for i in seen], EVALUATION_BATCH)
        reestimate_statistics(encoder, (batch["image"] for batch in batches))
        yield Explained(RANDOM_NETWORK, draw, encoder, head)


def _batch_rows(
    study: BrainMriStudy, batch: Batch, explained: Sequence[Explained]
) -> Iterator[dict[str, Any]]:
    background = study.dataset.normalisation.background
    heads = np.stack([head_of(image, background) for image in batch["image"][:, 0].numpy()])
    cases = [_case(batch, i, head) for i, head in enumerate(heads)]
    tolerance = resolution(study.parameters)["cell_pixels"] / 2
    trained: NDArray | None = None
    for name, draw, cells, maps in _opinions(_images(study, batch), batch, heads, explained):
        trained = cells if trained is None else trained
        similarity = rank_similarity(trained, cells)
        for i, (case, mask) in enumerate(cases):
            if name == COARSE_MASK and not case["mask_pixels"] > 0:
                continue
            figures = map_figures(maps[i], mask, heads[i], tolerance)
            yield case | {"map": name, "draw": draw, "spearman": similarity[i]} | figures


def _opinions(
    images: Tensor, batch: Batch, heads: NDArray[np.bool_], explained: Sequence[Explained]
) -> Iterator[tuple[str, int, NDArray, NDArray]]:
    """Name, draw, cells ``(B, h, w)`` and map over pixels ``(B, H, W)`` of all who explain a batch."""
    bottleneck: dict[int, Tensor] = {}
    for one in explained:
        if id(one.encoder) not in bottleneck:  # the random heads share the trained encoder's pass
            with torch.no_grad():
                bottleneck[id(one.encoder)] = one.encoder(images)[-1]
        cells = bottleneck_grad_cam(one.head, bottleneck[id(one.encoder)])
        yield one.name, one.draw, cells.cpu().numpy(), upsampled(cells, images.shape[-2:]).cpu().numpy()
    grid = cells.shape[-2:]
    centre = torch.from_numpy(np.stack([centre_prior(head) for head in heads]))
    yield CENTRE, 0, F.adaptive_avg_pool2d(centre, grid).numpy(), centre.numpy()
    truth = F.adaptive_avg_pool2d(batch["mask"][:, 0], grid)
    yield COARSE_MASK, 0, truth.numpy(), upsampled(truth, images.shape[-2:]).numpy()


def _case(batch: Batch, i: int, head: NDArray[np.bool_]) -> tuple[dict[str, Any], NDArray | None]:
    known = bool(batch["has_mask"][i])
    mask = batch["mask"][i, 0].numpy() > 0.5 if known else None
    case = {name: batch[name][i] for name in ("id", "source", "patient", "slice")}
    case |= {"cls": int(batch["cls"][i]), "has_mask": known}
    case["mask_pixels"] = float("nan") if mask is None else float(mask.sum())
    return case | {"chance": float("nan") if mask is None else hit_by_chance(mask, head)}, mask


def _joint(study: BrainMriStudy, fold: int) -> MultiTaskModel:
    return study.model(stages.JOINT, fold).to(study.fabric.device).eval()


def _images(study: BrainMriStudy, batch: Batch) -> Tensor:
    return batch["image"].to(study.fabric.device)


def _cells(encoder: nn.Module, head: ClassificationHead, images: Tensor) -> Tensor:
    with torch.no_grad():
        return bottleneck_grad_cam(head, encoder(images)[-1])
