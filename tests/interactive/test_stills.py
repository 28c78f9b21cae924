"""A still picture in place of a widget: what it shows and says, and that reports choose it."""

from __future__ import annotations

import base64
import io

import nbformat
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from mtl.interactive.canvas import CanvasWidget
from mtl.interactive.pictures import MASK_COLOUR, NEGATIVE_COLOUR, POSITIVE_COLOUR
from mtl.interactive.stills import still

VOLUME = np.zeros((3, 30, 40), np.uint8)


@pytest.fixture
def widget() -> CanvasWidget:
    made = CanvasWidget(VOLUME, "dark room", on_outline=lambda vertices: None)
    made.slice_index = 1
    made.points = [(1, 5, 10, 1), (1, 20, 30, 0), (2, 1, 1, 1)]
    mask = np.zeros(VOLUME.shape, bool)
    mask[1, 10:20, 10:20] = True
    made.mask = mask
    return made


def test_the_points_of_the_slice_are_drawn_where_they_are(widget):
    [axis] = still(widget).figure.axes
    discs = {to_hex(c.get_facecolor()[0]).upper(): c.get_offsets() for c in axis.collections}
    assert discs[POSITIVE_COLOUR].tolist() == [[10, 5]]
    assert discs[NEGATIVE_COLOUR].tolist() == [[30, 20]]
    assert axis.get_title(loc="left") == "dark room, slice z 1"


def test_the_overlay_is_drawn_over_the_image(widget):
    [axis] = still(widget).figure.axes
    image, mask = axis.get_images()
    shown = np.asarray(mask.get_array())
    np.testing.assert_array_equal(shown[..., 3] > 0, widget.mask[1])
    assert to_hex(shown[15, 15, :3] / 255).upper() == MASK_COLOUR
    assert mask.get_alpha() == widget.mask_opacity and image.get_array().shape == (30, 40)


def test_the_alt_text_says_what_there_is(widget):
    widget.instances = np.broadcast_to(np.arange(40) // 10, VOLUME.shape)
    widget.draw_outline([(1, 1), (1, 5), (5, 5)])
    assert still(widget).alt == (
        "dark room, slice z 1 of 3 slices, 30 x 40 pixels; 1 positive and 1 negative points on it; "
        "Mask: 100 pixels, 8.3% of the slice; 3 instances; an outline with 3 vertices."
    )
    widget.slice_index = 0
    assert "0 positive and 0 negative" in still(widget).alt and "outline" not in still(widget).alt


def test_a_displayed_widget_carries_its_still(widget):
    data, metadata = widget._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert metadata["image/png"]["alt"] == still(widget).alt
    with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as opened:
        said = metadata["image/png"]
        assert opened.size[0] == pytest.approx(said["width"] * 160 / 96, abs=1)
        assert len(opened.convert("RGB").getcolors(1 << 20)) > 10


def test_a_report_shows_the_still_and_its_alt_text(widget):
    from mtl.reporting.html import alt_text, best_type

    data, metadata = widget._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    assert best_type(output) == "image/png" and alt_text(output) == still(widget).alt


def test_stills_leave_no_figure_open(widget):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    still(widget)
    assert plt.get_fignums() == before


def test_a_label_may_have_dollar_signs() -> None:
    widget = CanvasWidget(np.zeros((4, 4), np.uint8), "$a_$ for 5$")
    assert widget._repr_mimebundle_()[0]["image/png"]
