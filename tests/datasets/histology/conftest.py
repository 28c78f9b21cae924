"""Small tiles, in memory and as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtl.datasets.histology import NucleiTile


def squares(shape: tuple[int, int] = (24, 32)) -> np.ndarray:
    """Three nuclei 1, 2, 3, of which 1 and 2 touch: 36, 30 and 48 pixels."""
    instances = np.zeros(shape, np.int32)
    instances[2:8, 2:8] = 1
    instances[2:8, 8:13] = 2
    instances[12:18, 20:28] = 3
    return instances


def picture(shape: tuple[int, int] = (24, 32), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*shape, 3)).astype(np.uint8)


@pytest.fixture
def tile() -> NucleiTile:
    """24 x 32 pixels with three nuclei."""
    return NucleiTile("made/one", picture(), squares(), "made", "g0")


@pytest.fixture
def dsb_folder(tmp_path: Path) -> Path:
    """Two images as the Data Science Bowl lays them out, with the table of appearances."""
    for name in ("aa", "bb"):
        folder = tmp_path / "stage1_train" / name
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        rgba = np.dstack([picture(), np.full((24, 32), 255, np.uint8)])
        Image.fromarray(rgba).save(folder / "images" / f"{name}.png")
        for number in (1, 2, 3):
            mask = (squares() == number).astype(np.uint8) * 255
            Image.fromarray(mask).save(folder / "masks" / f"m{number}.png")
    (tmp_path / "images.csv").write_text(
        "id,appearance,height,width,n_nuclei,colour_group\naa,stain_white,24,32,3,s00\nbb,fluo,24,32,3,\n"
    )
    return tmp_path
