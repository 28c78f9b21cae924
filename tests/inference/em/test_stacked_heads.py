"""Channels lie where they are said to lie, through a sliding window too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtl.errors import ParameterError
from mtl.inference.em.sliding_window import sliding_window
from mtl.inference.em.stacked_heads import StackedHeads
from mtl.models.em import EMModel


def test_channels_through_a_window_of_one_patch_are_the_models() -> None:
    torch.manual_seed(0)
    model = EMModel(features=4, embedding_channels=5, blocks_down=(1, 1), blocks_up=(1,))
    image = np.random.default_rng(0).random((6, 10, 12), dtype=np.float32)
    heads = StackedHeads(model, ("instance", "geometry", "semantic"))
    blended = sliding_window(heads, image, (6, 10, 12))
    with torch.no_grad():
        expected = model(torch.from_numpy(image)[None, None])
    assert len(blended) == sum(part.stop - part.start for part in heads.channels.values())
    for name, channels in heads.channels.items():
        assert np.allclose(blended[channels], expected[name][0].numpy(), atol=1e-5)


def test_a_head_that_is_not_there_is_refused_by_name() -> None:
    model = EMModel(features=4, geometry=False, blocks_down=(1, 1), blocks_up=(1,))
    with pytest.raises(ParameterError, match="no head 'geometry': this model has semantic, instance"):
        StackedHeads(model, ("semantic", "geometry"))
