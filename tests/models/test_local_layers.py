"""Convolving a volume in two halves: the same as at once, whatever its size."""

from __future__ import annotations

import pytest
import torch

from mtl.models.local_layers import convolve_halves, local_convolution


@pytest.mark.parametrize("shape", [(1, 4, 5), (2, 1, 3), (5, 4, 6), (8, 7, 1), (1, 1), (3, 6), (6, 5)])
@pytest.mark.parametrize("bias", [False, True])
def test_halves_are_convolved_as_the_whole(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = local_convolution(len(shape), 3, 4, bias)
    x = torch.randn(1, 3, *shape)
    torch.testing.assert_close(convolve_halves(layer, x), layer(x))
