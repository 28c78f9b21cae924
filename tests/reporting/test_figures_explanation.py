"""Maps over slices: on their own scale, outlined where the mask is known, bare where they are zero."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch

from mtl.reporting.figures_explanation import from_cells_to_pixels, map_gallery


def sample(with_mask: bool) -> dict:
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:9, 4:9] = 1
    return {"image": torch.randn(1, 16, 16), "mask": mask if with_mask else None}


def test_a_gallery_shows_all_maps_on_one_scale():
    cam = np.zeros((16, 16))
    cam[5, 6] = 8.0
    samples = [sample(True), sample(False), sample(True)]
    figure = map_gallery(samples, [cam, cam / 4, cam * 0], ["first", "second", "third"], ncols=2)
    panels = [axis for axis in figure.axes if len(axis.images) == 2]
    assert [axis.get_title() for axis in panels] == ["first", "second", "third"]
    overlays = [axis.images[1].get_array() for axis in panels]
    assert [float(overlay.max()) for overlay in overlays] == [1.0, 0.25, 0.0]
    assert float(np.max(panels[2].images[1].get_alpha())) == 0
    assert [len(axis.collections) for axis in panels] == [1, 0, 1]
    plt.close(figure)


def test_every_kind_begins_a_row_with_its_name():
    samples, kinds = [sample(False)] * 4, ["missed", "missed", "missed", "found"]
    figure = map_gallery(samples, [np.zeros((16, 16))] * 4, list("abcd"), kinds, ncols=2)
    grid = [axis.get_title() for axis in figure.axes[:6]]
    assert grid == ["a", "b", "c", "", "d", ""]
    assert [figure.axes[i].texts[0].get_text() for i in (0, 2, 4)] == ["missed", "missed", "found"]
    plt.close(figure)


def test_cells_are_shown_as_blocks_before_they_are_made_smooth():
    cells = np.arange(16.0).reshape(4, 4)
    figure = from_cells_to_pixels(sample(True), cells, np.ones((16, 16)))
    blocks = figure.axes[1].images[1].get_array()
    np.testing.assert_allclose(blocks[2::4, 2::4], cells / 15)
    assert len(np.unique(blocks)) == 16
    plt.close(figure)
