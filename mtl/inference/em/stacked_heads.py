"""An em network's heads as one tensor, which is what a sliding window blends."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.errors import ParameterError
from mtl.models.em import EMModel


class StackedHeads:
    """Patches ``(B, in_channels, *sp)`` to the outputs of chosen heads, channel after channel.

    ``channels`` tells where each head's are: its name to a slice.

    Args:
        model: put into eval mode; automatic: no clicks.
        heads: names of heads, in the order wanted; others do not run.

    Raises:
        ParameterError: the model has no head of that name.
    """

    def __init__(self, model: EMModel, heads: Sequence[str] = ("semantic", "instance")) -> None:
        if unknown := [name for name in heads if name not in model.heads]:
            raise ParameterError(f"no head {unknown[0]!r}: this model has {', '.join(model.heads)}")
        self.model = model.eval()
        self.channels: dict[str, slice] = {}
        start = 0
        for name in heads:
            stop = start + model.heads[name].project.out_features
            self.channels[name] = slice(start, stop)
            start = stop

    def __call__(self, patches: Tensor) -> Tensor:
        """``(B, C, *sp)`` with C the channels of all chosen heads."""
        features = self.model.encode(patches)
        return torch.cat([self.model.heads[name](features) for name in self.channels], dim=1)
