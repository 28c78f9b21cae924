"""Any network that makes tokens or a feature map of a video, in the shape of a `VideoEncoder`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mtl.errors import DataError, ParameterError
from mtl.models.angiography.pooling import make_pool


class ExternalVideoBackbone(nn.Module):
    """Wrap ``module`` so that it gives tokens ``(B, N, width)`` and a pooled vector ``(B, width)``.

    It has no ``encode_visible``: masked video needs the `VideoEncoder` of this study.

    Args:
        module: takes ``(B, C, T, H, W)``; gives tokens ``(B, N, channels)`` or a feature map
            ``(B, channels, t, h, w)`` (or ``(B, channels, h, w)``), alone, as the last item of a sequence, or
            under ``output`` of a mapping or object.
        channels: of what it gives; width: D that is wanted.
        output: key or attribute to take; None: the output itself, or the last of a sequence.
        skip: tokens at the front that stand for no place (class tokens).
        heads, pool: as in `VideoEncoder`; ``places`` wants ``grid``.
        grid: ``(t, h, w)`` of tokens for pictures; of a feature map it is noted at each call.
    """

    def __init__(
        self,
        module: nn.Module,
        channels: int,
        width: int = 512,
        output: str | None = None,
        skip: int = 0,
        heads: int = 8,
        pool: str = "attention",
        grid: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if channels < 1 or skip < 0:
            raise ParameterError(f"channels={channels}, skip={skip}: from 1 on and from 0 on are expected")
        self.module, self.channels, self.output, self.skip = module, channels, output, skip
        self.width, self.grid = width, None if grid is None else tuple(grid)
        self.project = nn.Linear(channels, width)
        self.norm = nn.LayerNorm(width)
        self.pool = make_pool(pool, width, heads, None if grid is None else math.prod(grid))

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, T, H, W)`` to tokens ``(B, N, width)`` and pooled ``(B, width)``.

        Raises:
            DataError: the module's output is neither tokens nor a feature map of ``channels`` channels.
        """
        tokens = self.norm(self.project(self._tokens(self._taken(self.module(video)))))
        return tokens, self.pool(tokens)

    def _taken(self, found: Any) -> Tensor:
        if self.output is not None:
            missing = DataError(f"the backbone {type(self.module).__name__} gives no output {self.output!r}")
            if isinstance(found, Mapping):
                if self.output not in found:
                    raise missing
                return found[self.output]
            if not hasattr(found, self.output):
                raise missing
            return getattr(found, self.output)
        return found[-1] if isinstance(found, (list, tuple)) else found

    def _tokens(self, found: Tensor) -> Tensor:
        if found.ndim in (4, 5) and found.shape[1] == self.channels:
            sides = tuple(found.shape[2:])
            self.grid = (1,) * (3 - len(sides)) + sides
            return found.flatten(2).transpose(1, 2)
        if found.ndim == 3 and found.shape[2] == self.channels and found.shape[1] > self.skip:
            return found[:, self.skip :]
        raise DataError(
            f"the backbone {type(self.module).__name__} gives shape {tuple(found.shape)}; tokens (B, N, "
            f"{self.channels}) with N above skip={self.skip}, or a feature map (B, {self.channels}, ...), "
            "are expected"
        )
