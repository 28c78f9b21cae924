"""Figures of the em notebooks: colours, borders, what is drawn."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mtl.reporting.figures_em import (
    UNKNOWN,
    click_curves,
    label_colours,
    object_borders,
    planes,
    target_pictures,
    three_views,
)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def test_objects_have_colours_of_their_own_background_none_unknown_grey():
    colours = label_colours(np.array([[0, -100, 1, 2], [3, 4, 5, 1]]))
    assert colours[0, 0, 3] == 0
    assert np.allclose(colours[0, 1], (*UNKNOWN, 1))
    assert np.array_equal(colours[0, 2], colours[1, 3])
    seen = {tuple(colours[place].round(6)) for place in [(0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]}
    assert len(seen) == 5


def test_borders_lie_where_ids_change():
    labels = np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]])
    assert object_borders(labels).tolist() == [[False, True, False], [True, True, True], [False] * 3]


def test_three_views_keep_the_proportions_of_the_voxels():
    volume = np.random.default_rng(0).random((4, 10, 20))
    figure = three_views(volume, None, (30.0, 6.0, 3.0))
    aspects = [axis.get_aspect() for axis in figure.axes]
    assert aspects == pytest.approx([2.0, 10.0, 5.0])
    shapes = [axis.images[0].get_array().shape for axis in figure.axes]
    assert shapes == [(10, 20), (4, 20), (4, 10)]


def test_planes_leave_no_empty_frame():
    image = np.zeros((5, 5))
    figure = planes([image] * 5, [None] * 5, list("abcde"), ncols=4)
    assert [axis.get_title(loc="center") for axis in figure.axes if axis.images] == list("abcde")
    assert all(not axis.axison for axis in figure.axes)


@pytest.mark.parametrize("n_axes", [2, 3])
def test_every_target_is_drawn(n_axes):
    rng = np.random.default_rng(0)
    image, labels = rng.random((24, 24)), np.tile([1, 2], (24, 12))
    vectors = rng.normal(size=(n_axes, n_axes, 24, 24))
    targets = {
        "weight": rng.uniform(1, 100, (24, 24)),
        "direction": rng.normal(size=(n_axes, 24, 24)),
        "tensor": np.einsum("ikyx,jkyx->ijyx", vectors, vectors).reshape(n_axes**2, 24, 24),
    }
    figure = target_pictures(image, labels, targets, (8.0, 8.0), "skeleton")
    titles = {axis.get_title(loc="center") for axis in figure.axes} - {""}
    assert len(titles) == 6 and any("skeleton" in title for title in titles)
    coherence = figure.axes[5].images[0].get_array()
    assert coherence.min() >= 0 and coherence.max() <= 1


def test_click_curves_show_every_arm_with_its_band():
    table = pd.DataFrame(
        {"arm": arm, "clicks": k, "dice": 0.5, "low": 0.4, "high": 0.6} for arm in "ab" for k in range(3)
    )
    axis = click_curves(table, ["a", "b"]).axes[0]
    assert [line.get_label() for line in axis.lines] == ["a", "b"]
    assert len(axis.collections) == 2


def test_without_a_geometry_head_only_its_targets_are_missing():
    image, labels = np.zeros((24, 24)), np.ones((24, 24), int)
    figure = target_pictures(image, labels, {"weight": np.ones((24, 24))}, (8.0, 8.0))
    titles = {axis.get_title(loc="center") for axis in figure.axes} - {""}
    assert len(titles) == 3 and not any("geometry" in title for title in titles)
