"""How settings and decodings read."""

from __future__ import annotations

import numpy as np
import pytest

from mtl.inference.em.watershed import watershed_grid
from mtl.studies.em.data import object_sizes
from mtl.studies.em.segmentation_scores import (
    block_kind,
    block_table,
    counted_objects,
    decoding_name,
    described,
    scores_of,
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


def test_blocks_stand_alone_in_a_table_and_say_how_large_they_are(trained_study):
    truth = trained_study.test_labels
    table = block_table(
        trained_study, {("late", "embedding"): truth, ("none", "nothing"): np.ones_like(truth)}
    )
    scores = scores_of(trained_study, truth)
    assert set(table["network"]) == {"late", "none"} and len(table) == 2 * table["block"].nunique()
    right = table[table["network"] == "late"]
    assert (right["voxels"] > 0).sum() >= scores["adapted_rand"].n
    assert (right["adapted_rand"].dropna() == 0).all() and right["voxels"].sum() == (truth > 0).sum()
    assert table[table["network"] == "none"]["voi_merge"].max() > 0
    assert block_kind(trained_study).endswith(" nm)")


def test_objects_that_count_are_those_of_the_test_part(trained_study):
    sizes = object_sizes(trained_study.test_labels)
    assert sizes.sum() == (trained_study.test_labels > 0).sum()
    assert counted_objects(trained_study) == (sizes >= trained_study.parameters.min_object_voxels).sum()
