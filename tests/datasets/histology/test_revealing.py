"""Sparse labels: the same nuclei each time, more with a larger fraction, never none."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.datasets.histology import reveal_all, revealed, revealed_ids
from mtl.datasets.phantoms.histology import histology_phantom
from mtl.errors import ParameterError


@pytest.fixture(scope="module")
def tiles():
    return histology_phantom(30, 96, seed=1)


def test_a_larger_fraction_reveals_what_a_smaller_one_does(tiles) -> None:
    for tile in tiles:
        shares = [set(revealed_ids(tile, fraction)) for fraction in (0.05, 0.3, 0.8, 1.0)]
        assert shares[0] <= shares[1] <= shares[2] <= shares[3] == set(tile.nucleus_ids)


def test_the_share_is_the_fraction_and_depends_on_the_seed_alone(tiles) -> None:
    n = sum(len(tile.nucleus_ids) for tile in tiles)
    found = [np.concatenate([revealed_ids(tile, 0.3, seed) for tile in tiles]) for seed in (0, 0, 1)]
    assert abs(len(found[0]) / n - 0.3) < 4 * (0.3 * 0.7 / n) ** 0.5
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_whole_nuclei_are_revealed(tiles) -> None:
    for tile in tiles:
        kept = revealed(tile, 0.5)
        assert set(np.unique(kept)) <= {0, *tile.nucleus_ids}
        for nucleus in set(np.unique(kept)) - {0}:
            assert np.array_equal(kept == nucleus, tile.instances == nucleus)


def test_a_fraction_that_leaves_nothing_and_one_out_of_range_are_refused(tiles) -> None:
    with pytest.raises(ParameterError, match="label_fraction = 1e-09 leaves none of the"):
        reveal_all(tiles, 1e-9)
    for fraction in (0.0, 1.5, -0.1):
        with pytest.raises(ParameterError, match="above 0 and at most 1"):
            reveal_all(tiles, fraction)
