"""Pictures of targets: every one of them, and nothing drawn where there is no target."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mtl.reporting.figures import PALETTE
from mtl.reporting.figures_em import UNKNOWN
from mtl.reporting.figures_em_targets import NOTHING, target_pictures, trace_and_coherence


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("n_axes", [2, 3])
def test_every_target_is_drawn(n_axes):
    rng = np.random.default_rng(0)
    image, labels = rng.random((24, 24)), np.tile([1, 2], (24, 12))
    labels[:3], labels[-3:] = 0, -100
    vectors = rng.normal(size=(n_axes, n_axes, 24, 24))
    targets = {
        "weight": rng.uniform(1, 100, (24, 24)),
        "direction": rng.normal(size=(n_axes, 24, 24)),
        "tensor": np.einsum("ikyx,jkyx->ijyx", vectors, vectors).reshape(n_axes**2, 24, 24),
    }
    figure = target_pictures(image, labels, targets, (8.0, 8.0), "skeleton")
    axes = {title: axis for axis in figure.axes if (title := axis.get_title(loc="center"))}
    assert len(axes) == 5 + n_axes and ("direction, z component" in axes) == (n_axes == 3)
    assert any("skeleton" in title for title in axes) and "geometry, raw: the image" in axes
    for name in ("instance: weight $w$", "tensor: trace", "tensor: coherence in the plane"):
        grounds, drawn = (picture.get_array() for picture in axes[name].images)
        assert drawn.mask[:3].all() and drawn.mask[-3:].all() and not drawn.mask[3:-3].any()
        assert np.allclose(grounds[0, 0], NOTHING) and np.allclose(grounds[-1, -1], UNKNOWN)
    foreground = axes["semantic and raw: foreground"].images[0].get_array()
    assert np.allclose(foreground[5], to_rgb(PALETTE[0])) and np.allclose(foreground[0], NOTHING)
    (arrows,) = axes[next(title for title in axes if "skeleton" in title)].collections
    assert len(arrows.U) == 4 * 6  # one in four pixels each way, in objects only


def test_coherence_is_one_for_a_wall_and_zero_for_a_ball():
    wall, ball = np.diag([1.0, 0.0]), np.eye(2) / 2
    trace, coherence = trace_and_coherence(np.stack([wall.ravel(), ball.ravel()], axis=1)[:, None])
    assert np.allclose(trace, 1) and np.allclose(coherence, [[1, 0]])


def test_without_a_geometry_head_only_its_targets_are_missing():
    image, labels = np.zeros((24, 24)), np.ones((24, 24), int)
    figure = target_pictures(image, labels, {"weight": np.ones((24, 24))}, (8.0, 8.0))
    titles = {axis.get_title(loc="center") for axis in figure.axes} - {""}
    assert len(titles) == 4 and not any("geometry" in title for title in titles)
