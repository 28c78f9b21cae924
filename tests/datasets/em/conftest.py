"""Small EM volumes in memory, made per test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mtl.datasets.em import EMVolume


@pytest.fixture
def make_arrays() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """``make_arrays(shape)``: a noisy image uint8 and labels with box-shaped instances 5, 9, 12, 3 and 0."""

    def make(
        shape: tuple[int, int, int] = (12, 20, 24), dtype: str = "uint16"
    ) -> tuple[np.ndarray, np.ndarray]:
        image = np.random.default_rng(0).integers(1, 255, shape).astype(np.uint8)
        labels = np.zeros(shape, dtype)
        middle_y, middle_x = shape[1] // 2, shape[2] // 2
        labels[:, : middle_y - 1, : middle_x - 1] = 5
        labels[:, : middle_y - 1, middle_x:] = 9
        labels[:, middle_y:, : middle_x - 1] = 12
        labels[:, middle_y:, middle_x:] = 3
        return image, labels

    return make


@pytest.fixture
def volume(make_arrays: Callable[..., tuple[np.ndarray, np.ndarray]]) -> EMVolume:
    """A small isotropic volume in memory."""
    return EMVolume("small", *make_arrays(), (10.0, 10.0, 10.0))
