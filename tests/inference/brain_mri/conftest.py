"""A small checkpoint that has learnt a little: heads with and without a bright spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mtl.datasets.brain_mri.normalisation import BrainNormalisation
from mtl.inference.brain_mri import MultiTaskPredictor
from mtl.losses.brain_mri import MultiTaskLoss
from mtl.model_folder import save_model
from mtl.models.brain_mri import MultiTaskModel

SIZE, STEPS = 32, 20


def head(seed: int, shape: tuple[int, int] = (60, 50)) -> np.ndarray:
    """A textured disc on black, uint8; odd seeds have a bright spot."""
    return head_and_spot(seed, shape)[0]


def head_and_spot(seed: int, shape: tuple[int, int] = (60, 50)) -> tuple[np.ndarray, np.ndarray]:
    """A head and the mask of its spot."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    radius = min(shape) * rng.uniform(0.3, 0.42)
    inside = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2) < radius
    centre = shape[0] / 2 + rng.uniform(-8, 8), shape[1] / 2 + rng.uniform(-5, 5)
    spot = (np.hypot(rows - centre[0], columns - centre[1]) < rng.uniform(3, 6)) & bool(seed % 2)
    grey = rng.integers(60, 140, shape) + rng.integers(30, 110) * spot
    return np.where(inside, grey, 0).astype(np.uint8), spot.astype(np.uint8)


def trained_model() -> MultiTaskModel:
    """Twenty steps on 32 heads: batch statistics and answers of a network that is half sure."""
    torch.manual_seed(0)
    rule = BrainNormalisation()
    model = MultiTaskModel(base_filters=6, depth=2, image_size=SIZE, normalisation=rule.to_dict())
    images, masks = [], []
    for seed in range(100, 132):
        grey, spot = head_and_spot(seed)
        square, geometry = rule.prepare(grey.astype(np.float32), SIZE)
        images.append(square)
        masks.append(rule.prepare_mask(spot, geometry).astype(np.float32))
    x, y = (torch.from_numpy(np.stack(arrays))[:, None] for arrays in (images, masks))
    labels, known = torch.arange(len(x)) % 2, torch.ones(len(x), dtype=torch.bool)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.4  # statistics of few steps
    optimiser, loss = torch.optim.Adam(model.parameters(), lr=3e-3), MultiTaskLoss()
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss(model(x), y, labels, known)["total"].backward()
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "best"
    save_model(trained_model(), folder, "# card")
    return folder


@pytest.fixture
def predictor(checkpoint) -> MultiTaskPredictor:
    return MultiTaskPredictor(checkpoint)


@pytest.fixture
def make_head() -> Callable[..., np.ndarray]:
    return head


@pytest.fixture
def images() -> list[np.ndarray]:
    """Twenty heads of several sizes."""
    return [head(seed, (48 + 3 * (seed % 5), 60 - 4 * (seed % 3))) for seed in range(20)]


class Passes:
    """How often a module ran, and on how many images each time."""

    def __init__(self, module: torch.nn.Module, count: Callable = len) -> None:
        self.batches: list[int] = []
        module.register_forward_hook(lambda _, inputs, __: self.batches.append(count(inputs[0])))


@pytest.fixture
def passes(predictor) -> dict[str, Passes]:
    """Of the predictor's three parts."""
    model = predictor.model
    return {
        "encoder": Passes(model.encoder),
        "decoder": Passes(model.decoder, lambda features: len(features[-1])),
        "cls_head": Passes(model.cls_head),
    }
