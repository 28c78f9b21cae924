"""The laboratory's figures: every line is labelled, labels keep apart, cells say their number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from mtl.reporting.figures_shortcut import STYLES, dial_plot, spread, transfer_plot, views_plot


@pytest.mark.parametrize("rising", [[0.5, 0.5, 0.5], [0.1, 0.5, 0.52, 0.9], [0.98, 0.99, 1.0], [0.3]])
def test_labels_are_apart_in_order_and_not_moved_without_need(rising):
    places = spread(rising, 0.05)
    assert all(b - a >= 0.05 - 1e-9 for a, b in zip(places, places[1:], strict=False))
    assert np.mean(places) == pytest.approx(np.mean(rising))
    assert spread([0.1, 0.4, 0.9], 0.05) == pytest.approx([0.1, 0.4, 0.9])


def test_dial_plot_labels_every_line():
    rows = pd.DataFrame({"rho": [0.0, 1.0], "value": [0.6, 0.9], "low": [0.5, 0.8], "high": [0.7, 1.0]})
    lines = [(style, f"line {style}", rows) for style in STYLES]
    figure = dial_plot({"both": lines, "one": lines[:1]}, xlabels=["x", "y"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(texts) == sorted(label for _, label, _ in lines)
    assert [axis.get_xlabel() for axis in figure.axes] == ["x", "y"]
    plt.close(figure)


def test_transfer_plot_writes_every_figure():
    mixed = pd.DataFrame([[0.5, 0.7], [0.6, 1.0]], index=[0.0, 1.0], columns=[0.0, 1.0])
    figure = transfer_plot(mixed, pd.Series({0.0: 0.8, 1.0: 0.55}))
    written = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert written == [["0.50", "0.70", "0.60", "1.00"], ["0.80", "0.55"]]
    plt.close(figure)


def test_views_plot_has_a_row_per_source():
    views = [("one", np.zeros((8, 8)), (0.0, 1.0)), ("two", np.ones((9, 8)), (0.0, 2.0))]
    figure = views_plot({"a": views, "b": views})
    assert [axis.get_title() for axis in figure.axes] == ["a\none", "a\ntwo", "b\none", "b\ntwo"]
    assert figure.axes[1].images[0].get_array().max() == 0.5
    plt.close(figure)
