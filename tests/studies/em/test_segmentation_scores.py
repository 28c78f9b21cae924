"""How settings and decodings read."""

from __future__ import annotations

import pytest

from mtl.inference.em.watershed import watershed_grid
from mtl.studies.em.segmentation_scores import (
    decoding_name,
    described,
)

GRID = {"threshold": [0.8, 0.9, 0.95], "merge_distance": [0.0, 1.5, 3.0], "bandwidth": [1.0, 1.5]}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"threshold": 0.95, "merge_distance": 1.5}, "threshold 0.95 (edge), merge distance 1.5"),
        ({"threshold": 0.8, "merge_distance": 3.0}, "threshold 0.8 (edge), merge distance 3 (edge)"),
        ({"merge_distance": 0.0, "bandwidth": 1.0}, "merge distance 0, bandwidth 1"),
    ],
)  # fmt: skip
def test_values_at_the_edge_of_their_grid_are_marked(settings, said):
    assert described(settings, GRID) == said


def test_lengths_have_their_unit_over_all_grids_of_a_method():
    grid = watershed_grid((40, 8, 8))
    chosen = {"sigma": 16, "seed_distance": 40, "wall_share": 0.4}
    assert described(chosen, grid) == "sigma 16 nm, seed distance 40 nm (edge), wall share 0.4 (edge)"
    assert described({"sigma": 8, "membrane_share": None}, grid) == "sigma 8 nm (edge), membrane share none"


def test_decodings_are_not_called_what_an_arm_is_called():
    names = ["embedding", "direction", "boundary watershed"]
    assert [decoding_name(name) for name in names] == ["by embedding", "by direction", "boundary watershed"]
