"""Figures of the angiography notebooks: what is drawn, where, and that nothing is lost."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from mtl.reporting.figures_angiography import (
    HEAT,
    MOST_OPAQUE,
    attention_over_clip,
    clip_sheet,
    frame_numbers,
    grey,
    masked_clip,
)
from mtl.reporting.figures_angiography_curves import (
    controls_plot,
    learning_curves,
    over_batch_sizes,
    percent_scatter,
    retrieval_curves,
)

CLIP = np.random.default_rng(0).random((8, 10, 20))
BOX = (0.1, 0.25, 0.5, 0.75)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def texts(figure: plt.Figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def boxes_of(axis: plt.Axes) -> list[Rectangle]:
    return [patch for patch in axis.patches if isinstance(patch, Rectangle)]


def legend_of(axis: plt.Axes) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_frames_are_spread_over_the_clip() -> None:
    assert (
        frame_numbers(16, 4) == [0, 5, 10, 15]
        and frame_numbers(1, 4) == [0]
        and frame_numbers(3, 5) == [0, 1, 2]
    )
    assert np.array_equal(grey(np.stack([CLIP] * 3)), CLIP) and np.array_equal(grey(CLIP), CLIP)


def test_a_box_is_on_its_own_frame_in_pixels_with_its_name() -> None:
    reports = [{"true": "pLAD 70%.", "generated": "No significant stenosis."}, {"true": "x"}]
    still = CLIP[:1]
    figure = clip_sheet([CLIP, still], ["first", "second"], reports, [[("pLAD", 5, BOX)], []])
    row = figure.axes[:5]
    assert [len(boxes_of(axis)) for axis in row] == [0, 0, 1, 0, 0], "frames 0, 2, 5, 7 are shown"
    assert np.array_equal(row[2].images[0].get_array(), CLIP[5])
    box = boxes_of(row[2])[0]
    # pixel k covers k - 0.5 to k + 0.5
    assert box.get_bbox().extents == pytest.approx([0.25 * 20 - 0.5, 0.5, 0.75 * 20 - 0.5, 4.5])
    said = texts(figure)
    assert "pLAD" in said and {"first", "second"} <= set(said)
    assert any("true: pLAD 70%." in text and "generated: No significant" in text for text in said)
    assert [len(axis.images) for axis in figure.axes[5:]] == [1, 0, 0, 0, 0], "a still has one frame"


def test_long_reports_are_wrapped() -> None:
    figure = clip_sheet([CLIP], ["t"], [{"true": "word " * 60}], width=30)
    lines = next(text for text in texts(figure) if text.startswith("true:")).splitlines()
    assert len(lines) > 8 and max(map(len, lines)) <= 30


def test_attention_is_drawn_by_step_on_one_scale() -> None:
    cells = np.full((4, 2, 5), 0.01)
    cells[2, 1, 3] = 1 - 39 * 0.01
    figure = attention_over_clip(CLIP, cells, [("pLAD", 5, BOX)], "pLAD")
    *pictures, bars = figure.axes
    assert [axis.get_title(loc="center") for axis in pictures] == [f"frame {i}" for i in (1, 3, 5, 7)]
    colours = np.stack([np.asarray(axis.images[1].get_array()) for axis in pictures])
    assert np.allclose(colours[..., :3], to_rgb(HEAT))
    assert np.allclose(colours[..., 3], MOST_OPAQUE * cells / cells.max())
    assert pictures[0].images[1].get_extent() == [-0.5, 19.5, 9.5, -0.5], "cells cover the frame"
    styles = [boxes_of(axis)[0].get_linestyle() for axis in pictures]
    assert styles == ["dotted", "dotted", "solid", "dotted"], "frame 5 of 8 is in the third of 4 steps"
    assert [axis.texts[0].get_text() if axis.texts else "" for axis in pictures] == ["", "", "pLAD", ""]
    assert [bar.get_height() for bar in bars.patches] == pytest.approx([0.1, 0.1, 0.7, 0.1])
    planted = [line.get_xdata()[0] for line in bars.lines if line.get_color() == "#E69F00"]
    assert planted == pytest.approx([2.25]), "the middle of frame 5, in steps of two frames"


def test_hidden_pixels_are_blue_and_rows_are_named() -> None:
    masked = CLIP.copy()
    masked[:, :5] = np.nan
    figure = masked_clip(CLIP, masked, CLIP / 2, n_frames=3)
    assert [figure.axes[i].get_ylabel() for i in (0, 3, 6)] == ["the clip", "seen", "predicted"]
    seen = figure.axes[3].images[0]
    assert (
        np.ma.getmaskarray(seen.get_array())[:5].all() and not np.ma.getmaskarray(seen.get_array())[5:].any()
    )
    assert not np.ma.getmaskarray(figure.axes[0].images[0].get_array()).any()
    red, green, blue, _ = seen.get_cmap().get_bad()
    assert blue > green > red, "no grey value of a vessel looks like this"


def test_recall_has_a_band_and_chance_for_both_ways() -> None:
    rows = [
        {"direction": way, "k": k, "value": 0.1 * k, "low": 0.05 * k, "high": 0.12 * k, "chance": 0.01 * k}
        for way in ("video to report", "report to video")
        for k in (1, 5, 8)
    ]
    axis = retrieval_curves(pd.DataFrame(rows)).axes[0]
    assert legend_of(axis) == [
        "video to report", "video to report, chance", "report to video", "report to video, chance",
    ]  # fmt: skip
    assert len(axis.collections) == 2 and [tick.get_text() for tick in axis.get_xticklabels()] == [
        "1",
        "5",
        "8",
    ]
    assert axis.lines[1].get_ydata().tolist() == pytest.approx([0.01, 0.05, 0.08])
    bare = pd.DataFrame(rows).assign(low=None, high=None)
    assert len(retrieval_curves(bare).axes[0].collections) == 0, "no interval, no band"


def arms(values: list[float]) -> pd.DataFrame:
    low, high = [v - 0.1 for v in values], [v + 0.1 for v in values]
    return pd.DataFrame(
        {"arm": ["captions", "most frequent", "blank"], "value": values, "low": low, "high": high}
    )


def test_controls_are_beside_the_captions_and_undefined_ones_say_so() -> None:
    undefined = arms([12.0, 30.0, np.nan]).astype(object)
    undefined = undefined.where(undefined.notna(), None)  # as an estimate without a value has it
    figure = controls_plot({"F1": arms([0.6, 0.2, 0.1]), "MAE": undefined}, columns=2)
    first, second = figure.axes
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["captions", "most frequent", "blank"]
    assert [text.get_text() for text in first.texts] == ["0.60", "0.20", "0.10"]
    assert [text.get_text() for text in second.texts] == ["12.0", "30.0", "not defined"]
    colours = [line.get_color() for line in first.lines]
    assert len(set(colours)) == 2 and colours[0] == colours[1] != colours[2], (
        "interval and point of the captions"
    )
    low, high = first.get_ylim()
    assert low > high, "the first arm stands on top"


def test_every_finding_is_in_the_scatter() -> None:
    rows = {"true": [70.0, 40.0, np.nan, 20.0], "generated": [60.0, np.nan, 50.0, 90.0]}
    axis = percent_scatter(pd.DataFrame(rows)).axes[0]
    assert legend_of(axis) == ["within 10 points", "in both reports (2)", "missed (1)", "invented (1)"]
    _, both, missed, invented = axis.collections
    np.testing.assert_allclose(both.get_offsets(), [[70, 60], [20, 90]], atol=1)
    assert missed.get_offsets()[0, 1] < -10 < 39 <= missed.get_offsets()[0, 0] <= 41
    assert invented.get_offsets()[0, 0] < -10 < 49 <= invented.get_offsets()[0, 1] <= 51
    assert axis.get_xlim()[0] < missed.get_offsets()[0, 1] - 1, "the margin is inside the axes"


def test_a_panel_for_each_loss_and_a_line_for_each_part() -> None:
    rows = [
        {"loss": loss, "part": part, "epoch": epoch, "value": epoch + 1}
        for loss in ("contrastive", "captioning", "masked", "total")
        for part in ("training", "validation")
        for epoch in (2, 0, 1)
    ]
    figure = learning_curves(pd.DataFrame(rows))
    drawn = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title(loc="left") or axis.get_title() for axis in drawn] == [
        "contrastive", "captioning", "masked", "total",
    ]  # fmt: skip
    assert all([line.get_label() for line in axis.lines] == ["training", "validation"] for axis in drawn)
    assert drawn[0].lines[0].get_xdata().tolist() == [0, 1, 2] and drawn[0].get_xlabel() == "Epoch"


def test_batch_sizes_are_ticks_and_chance_a_level() -> None:
    rows = [
        {"name": name, "batch": batch, "value": 0.3, "low": 0.2, "high": 0.4}
        for name in ("SigLIP", "CLIP")
        for batch in (64, 8, 16)
    ]
    axis = over_batch_sizes(pd.DataFrame(rows), chance=0.01).axes[0]
    assert legend_of(axis) == ["SigLIP", "CLIP", "chance"] and len(axis.collections) == 2
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["8", "16", "64"]
    assert axis.lines[0].get_xdata().tolist() == [8, 16, 64]
