"""Small folders in the real layouts, written by the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def head(shape: tuple[int, int] = (90, 80), seed: int = 0, level: float = 110.0) -> np.ndarray:
    """A bright, textured disc on black, uint8: enough of a head for the loaders."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    inside = (
        np.hypot((rows - shape[0] / 2) / (0.42 * shape[0]), (columns - shape[1] / 2) / (0.4 * shape[1])) < 1
    )
    coarse = np.kron(rng.uniform(-60, 60, (shape[0] // 10 + 1, shape[1] // 10 + 1)), np.ones((10, 10)))
    return np.where(inside, level + coarse[: shape[0], : shape[1]], 0).clip(0, 255).astype(np.uint8)


def spot(shape: tuple[int, int] = (90, 80), size: int = 12) -> np.ndarray:
    """A square tumour mask in the middle, uint8 of 0/255."""
    mask = np.zeros(shape, np.uint8)
    top, left = (side // 2 - size // 2 for side in shape)
    mask[top : top + size, left : left + size] = 255
    return mask


@pytest.fixture
def make_head() -> Callable[..., np.ndarray]:
    return head


@pytest.fixture
def make_spot() -> Callable[..., np.ndarray]:
    return spot


@pytest.fixture
def kaggle_folder(tmp_path: Path) -> Path:
    """Three ``yes`` (two with masks, one of them a .png beside a .jpg of the same stem) and two ``no``."""
    root = tmp_path / "kaggle"
    for folder in ("brain_tumor_dataset/yes", "brain_tumor_dataset/no", "masks"):
        (root / folder).mkdir(parents=True)
    pictures = root / "brain_tumor_dataset"
    for seed, name in enumerate(["yes/Y1.jpg", "yes/Y92.jpg", "yes/Y92.png", "no/1 no.JPG", "no/No2.jpeg"]):
        Image.fromarray(head(seed=seed)).save(pictures / name)
    Image.fromarray(spot()).save(root / "masks" / "y1.JPG")
    Image.fromarray(spot(size=20)).save(root / "masks" / "Y92.png")
    return root


@pytest.fixture
def lgg_folder(tmp_path: Path) -> Path:
    """Two cases; slices 2 and 10 of the first have a tumour, slice 9 of the second has 9 pixels."""
    root = tmp_path / "lgg" / "kaggle_3m"
    plan = {"TCGA_CS_0001_20000101": {1: 0, 2: 6, 10: 8}, "TCGA_HT_0002_20000101": {3: 0, 9: 3}}
    for number, (case, slices) in enumerate(plan.items()):
        (root / case).mkdir(parents=True)
        for position, size in slices.items():
            channels = [head(seed=100 * channel + 10 * number + position) for channel in range(3)]
            Image.fromarray(np.stack(channels, axis=-1)).save(root / case / f"{case}_{position}.tif")
            Image.fromarray(spot(size=size)).save(root / case / f"{case}_{position}_mask.tif")
    return root.parent
