"""Figures: refused without words, shown at their size, and saying what they are given."""

from __future__ import annotations

import base64

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mtl.reporting import figures
from mtl.reporting.figures import image_grid, mask_contour_overlay, show_figure, use_report_style
from mtl.reporting.figures_results import (
    agreement_plot,
    cosine_heatmap,
    forest_plot,
    lines_against,
    lines_over_steps,
    reliability_plot,
    training_curves,
)


@pytest.fixture(autouse=True)
def quiet_style():
    before = matplotlib.rcParams.copy()
    matplotlib.use("agg")
    use_report_style()
    yield
    plt.close("all")
    dict.update(matplotlib.rcParams, before)


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list:
    calls: list = []
    monkeypatch.setattr(figures, "display", lambda *data, **said: calls.append((data[0], said)))
    return calls


def test_a_figure_is_shown_with_words_and_closed(displayed: list) -> None:
    figure, _ = plt.subplots(figsize=(4, 3))
    show_figure(figure, "A  line\nthat rises.", source="metrics.json", caption="Of <one> fold")
    (data, said), (caption, marked) = displayed
    metadata = said["metadata"]["image/png"]
    assert metadata["alt"] == "A line that rises." and metadata["source"] == "metrics.json"
    png = base64.b64decode(data["image/png"])
    width = int.from_bytes(png[16:20], "big")
    assert metadata["width"] == pytest.approx(width * 96 / figures.DPI, abs=1)
    assert 0.8 * 4 * 96 < metadata["width"] < 1.1 * 4 * 96
    assert "&lt;one&gt;" in caption.data and marked["metadata"]["mtl_caption"] is True
    assert not plt.fignum_exists(figure.number)


@pytest.mark.parametrize("alt", ["", "   "])
def test_a_figure_without_words_is_refused(alt: str, displayed: list) -> None:
    with pytest.raises(ValueError, match="alt text"):
        show_figure(plt.figure(), alt)
    assert displayed == []


def test_grid_shows_every_image_at_the_same_grey_values() -> None:
    images = [np.full((8, 8), value, dtype=np.float32) for value in (0.0, 0.5, 1.0)]
    figure = image_grid(images, ["a", "b", "c"], ncols=2, limits=(0, 1))
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in shown] == ["a", "b", "c"]
    assert {axis.images[0].get_clim() for axis in shown} == {(0.0, 1.0)}
    with pytest.raises(ValueError, match="at least one"):
        image_grid([])


def test_outlines_skip_empty_masks_and_keep_the_frame() -> None:
    mask = np.zeros((10, 12), dtype=bool)
    mask[2:5, 0:4] = True
    figure = image_grid([np.zeros((10, 12))], overlays=[[mask, np.zeros_like(mask), None]])
    axis = figure.axes[0]
    assert len(axis.collections) == 1
    assert axis.get_xlim() == (-0.5, 11.5) and axis.get_ylim() == (9.5, -0.5)
    outline = np.concatenate([path.vertices for path in axis.collections[0].get_paths()])
    assert outline[:, 0].max() == pytest.approx(3.5) and outline[:, 0].min() == pytest.approx(-0.5)


def test_two_outlines_differ_in_colour_and_line() -> None:
    mask = np.zeros((10, 10), dtype=np.uint8)
    mask[2:6, 2:6] = 1
    _, axis = plt.subplots()
    mask_contour_overlay(axis, [mask, np.roll(mask, 2)], labels=["reference", "prediction"])
    first, second = axis.collections
    assert not np.allclose(first.get_edgecolor(), second.get_edgecolor())
    assert first.get_linestyle() != second.get_linestyle()
    assert [line.get_label() for line in axis.lines] == ["reference", "prediction"]


def test_forest_plot_places_values_intervals_and_words() -> None:
    rows = [
        {"label": "one", "group": "AUC", "estimate": {"value": 0.9, "low": 0.8, "high": 0.95}},
        {"label": "none", "group": "AUC", "estimate": {"value": None, "reason": "one class"}},
        {"label": "two", "group": "Dice", "estimate": 0.5},
    ]
    axis = forest_plot(rows, "Score", reference=0.5).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["AUC", "one", "none", "Dice", "two"]
    assert [0.8, 0.95] in [list(line.get_xdata()) for line in axis.lines]
    texts = [text.get_text() for text in axis.texts]
    assert "not defined (one class)" in texts and any(text.startswith("0.90 (0.80–0.95") for text in texts)
    markers = {line.get_marker() for line in axis.lines if line.get_marker() not in ("None", None)}
    assert markers == {"o", "s"}


def test_reliability_plot_draws_every_bin_with_its_interval() -> None:
    bins = pd.DataFrame(
        {"predicted": [0.2, 0.8], "observed": [0.25, 0.7], "low": [0.1, 0.5], "high": [0.4, 0.9]}
    )
    axis = reliability_plot({"joint": bins, "head": bins.assign(count=[1, 9])}).axes[0]
    points = [c for c in axis.collections if isinstance(c, matplotlib.collections.PathCollection)]
    assert [len(p.get_offsets()) for p in points] == [2, 2]
    assert points[1].get_sizes()[1] > points[1].get_sizes()[0]


def test_training_curves_show_folds_and_their_mean() -> None:
    table = pd.DataFrame({"epoch": [0, 1, 0, 1], "fold": [0, 0, 1, 1], "loss": [1.0, 0.5, 3.0, 1.5]})
    axis = training_curves(table, {"Loss": ["loss"]}).axes[0]
    assert axis.get_title(loc="left") == "Loss" and len(axis.lines) == 3
    assert list(axis.lines[-1].get_ydata()) == [2.0, 1.0]
    assert len(training_curves(table, ["loss"]).axes) == 1


def test_a_legend_may_call_columns_otherwise() -> None:
    table = pd.DataFrame({"epoch": [0, 1], "train/a/loss": [1.0, 0.5], "train/b/loss": [2.0, 1.0]})
    panels = {"Loss": {"train/a/loss": "one", "train/b/loss": "two"}}
    legend = training_curves(table, panels).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]


def test_heatmap_writes_cosines_and_frames_conflicts() -> None:
    cosine = pd.DataFrame([[1.0, -0.4], [-0.4, 1.0]], index=["a", "b"], columns=["a", "b"])
    framed = cosine_heatmap(cosine, cosine + 0.1).axes[0]
    assert [text.get_text() for text in framed.texts] == ["1.00", "-0.40", "-0.40", "1.00"]
    assert len(framed.patches) == 2
    assert len(cosine_heatmap(cosine, cosine + 0.5).axes[0].patches) == 0
    assert cosine_heatmap(cosine * np.nan).axes[0].texts[0].get_text() == "–"
    assert cosine_heatmap(cosine * 0 - 0.001).axes[0].texts[0].get_text() == "0.00"


def test_lines_over_steps_are_sorted_and_banded() -> None:
    table = pd.DataFrame(
        {"step": [2, 1, 1], "task": ["a", "a", "b"], "y": [4.0, 3.0, 1.0], "l": 0.0, "h": 5.0}
    )
    axis = lines_over_steps(table, "y", "task", low="l", high="h").axes[0]
    assert list(axis.lines[0].get_ydata()) == [3.0, 4.0] and len(axis.collections) == 2


def test_panels_share_axes_and_a_group_keeps_its_colour_in_all_of_them() -> None:
    table = pd.DataFrame(
        {"step": [1, 1, 1], "mode": ["one", "one", "two"], "head": ["a", "b", "b"], "y": [1.0, 2.0, 3.0]}
    )
    first, second = lines_over_steps(table, "y", "head", panel="mode").axes
    assert [axis.get_title(loc="left") for axis in (first, second)] == ["one", "two"]
    assert second.lines[0].get_color() == first.lines[1].get_color() != first.lines[0].get_color()
    assert [text.get_text() for text in second.get_legend().get_texts()] == ["a", "b"]
    assert first.get_ylim() == second.get_ylim()


def test_every_line_has_a_panel_with_the_reference_in_grey_behind_it() -> None:
    table = pd.DataFrame(
        [(name, epoch, epoch * size) for size, name in enumerate("abcdefghijk") for epoch in (2, 1)],
        columns=["network", "epoch", "score"],
    )
    figure = lines_against(table, "score", "network", "a", x="epoch", ylabel="Score")
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in shown] == list("bcdefghijk")
    assert all(list(axis.lines[0].get_ydata()) == [0, 0] for axis in shown)
    assert [list(axis.lines[1].get_ydata()) for axis in shown[:2]] == [[1, 2], [2, 4]]
    assert len({axis.get_ylim() for axis in shown}) == 1
    alone = lines_against(table[table["network"] == "a"], "score", "network", "a", x="epoch")
    assert len(alone.axes) == 1 and len(alone.axes[0].lines) == 1 and not alone.legends


def test_the_palette_keeps_its_contrasts_without_red_or_green_cones() -> None:
    """Simulated after Vienot et al. (1999): every pair of colours stays apart for a dichromat."""
    to_lms = np.array(
        [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
    )
    protan = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
    deutan = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    colours = np.array([matplotlib.colors.to_rgb(colour) for colour in figures.PALETTE])
    for seen in (np.eye(3), protan, deutan):
        rgb = colours @ to_lms.T @ seen.T @ np.linalg.inv(to_lms).T
        apart = np.linalg.norm(rgb[:, None] - rgb[None], axis=-1) + 9 * np.eye(len(rgb))
        assert apart.min() > 0.15


def test_agreement_plot_puts_every_case_where_it_is_and_draws_the_constant() -> None:
    (axis,) = agreement_plot([0.0, 1.0, 2.0], [0.5, 0.8, 3.0], "size", constant=1.2).axes
    assert axis.collections[0].get_offsets().tolist() == [[0.0, 0.5], [1.0, 0.8], [2.0, 3.0]]
    agreement, constant = axis.lines
    assert list(agreement.get_xdata()) == list(agreement.get_ydata()) == [0.0, 3.0]
    assert set(constant.get_ydata()) == {1.2}
    assert axis.get_xlabel() == "True size" and axis.get_ylabel() == "Predicted size"
