"""Figures of the em notebooks: colours, borders, what is drawn."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from mtl.reporting.figures_em import (
    MARK_COLOURS,
    UNKNOWN,
    click_curves,
    label_colours,
    marked_planes,
    object_borders,
    planes,
    three_planes,
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


def test_three_planes_are_whole_and_apart():
    volume = np.random.default_rng(0).random((10, 6, 8))
    figure = three_planes(volume, np.ones(volume.shape, int))
    assert [axis.get_title(loc="center") for axis in figure.axes] == [f"plane z = {z}" for z in (2, 4, 7)]
    assert np.array_equal(figure.axes[1].images[0].get_array(), volume[4])


def test_marks_have_the_colours_of_the_legend_and_outside_is_blank():
    image, marks = np.full((6, 6), 0.5), np.zeros((6, 6), int)
    image[0], marks[2:4, 2:4], marks[4, 4], marks[5, 5] = np.nan, 1, 2, 3
    figure = marked_planes([image], [marks], ["object"])
    grey, coloured = (drawn.get_array() for drawn in figure.axes[0].images)
    assert grey.mask[0].all() and not grey.mask[1:].any()  # drawn as nothing
    for place, colour in zip([(2, 2), (4, 4), (5, 5)], MARK_COLOURS.values(), strict=True):
        assert np.allclose(coloured[place], to_rgba(colour, 0.5))
    assert coloured[1, 1, 3] == 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(MARK_COLOURS)


def test_click_curves_show_every_arm_with_its_band():
    table = pd.DataFrame(
        {"arm": arm, "clicks": k, "dice": 0.5, "low": 0.4, "high": 0.6} for arm in "ab" for k in range(3)
    )
    axis = click_curves(table, ["a", "b"]).axes[0]
    assert [line.get_label() for line in axis.lines] == ["a", "b"]
    assert len(axis.collections) == 2


def test_bands_where_they_are_asked_for_and_no_empty_space_below():
    table = pd.DataFrame(
        {"arm": arm, "clicks": k, "dice": 0.72 + 0.05 * k, "low": 0.65 if arm == "b" else 0.1, "high": 0.9}
        for arm in "abc"
        for k in range(3)
    )
    axis = click_curves(table, list("abc"), banded=["b"]).axes[0]
    assert [line.get_label() for line in axis.lines] == list("abc")
    assert len(axis.collections) == 1 and axis.get_ylim()[0] == pytest.approx(0.6)
