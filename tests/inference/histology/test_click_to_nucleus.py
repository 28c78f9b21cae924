"""A missed nucleus from one click: what the network half believes there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.errors import ParameterError
from mtl.inference.histology.click_to_nucleus import nucleus_around


def discs(*centres: tuple[int, int], radius: int = 8, value: float = 0.4) -> np.ndarray:
    y, x = np.mgrid[:60, :80]
    inside = np.any([(y - a) ** 2 + (x - b) ** 2 <= radius**2 for a, b in centres], axis=0)
    return np.where(inside, value, 0.05)


FREE = np.zeros((60, 80), bool)


def test_a_click_finds_the_disc_under_it() -> None:
    found = nucleus_around(discs((30, 20), (30, 60)), (31, 22), FREE, radius=20)
    assert np.array_equal(found, discs((30, 20)) > 0.2)


def test_a_thin_bridge_to_a_neighbour_is_cut_and_a_hole_filled() -> None:
    probability = discs((30, 20), (30, 40))
    probability[29:31, 20:40] = 0.4
    probability[34, 17] = 0.0
    found = nucleus_around(probability, (30, 18), FREE, radius=40)
    disc = discs((30, 20)) > 0.2
    assert not found[:, 31:].any() and found[34, 17] and (found & disc).sum() / (found | disc).sum() > 0.9


def test_pixels_of_other_nuclei_and_far_ones_stay_out() -> None:
    taken = np.zeros_like(FREE)
    taken[:, 24:] = True
    assert not nucleus_around(discs((30, 20)), (30, 15), taken, radius=20)[:, 24:].any()
    far = nucleus_around(np.full((60, 80), 0.3), (30, 40), FREE, radius=6)
    assert far.sum() == pytest.approx(np.pi * 36, rel=0.1)


def test_what_cannot_be_meant_is_refused() -> None:
    speck = np.zeros((60, 80))
    speck[30, 20] = 0.9
    for probability, place, taken, message in (
        (speck, (30, 20), FREE, "draw its outline"),
        (speck, (70, 20), FREE, "outside of the tile"),
        (discs((30, 20)), (5, 70), FREE, r"the network sees no nucleus \(probability 0.05\)"),
        (discs((30, 20)), (30, 20), ~FREE, "outlined already"),
    ):
        with pytest.raises(ParameterError, match=message):
            nucleus_around(probability, place, taken)
