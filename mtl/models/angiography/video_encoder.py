r"""A vision transformer over tubelets.

.. math:: x_n = W\,\mathrm{vec}(\text{tubelet}_n) + b + p_n, \qquad
          (y_n) = \mathrm{LN}\bigl(\mathrm{blocks}((x_n))\bigr), \qquad z = \mathrm{pool}((y_n))

Tong et al., *VideoMAE*, NeurIPS 2022 (tubelets, visible ones only); Arnab et al., *ViViT*, ICCV 2021.
Tubelets are cut out before they are embedded, so that masked ones cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from mtl.errors import DataError, ParameterError
from mtl.models.angiography.pooling import make_pool
from mtl.models.angiography.positions import SpaceTimePositions
from mtl.models.angiography.transformer import TransformerBlock
from mtl.models.angiography.tubelets import Grid, grid_of, picked, tubelets_at, tubelets_of


class VideoEncoder(nn.Module):
    """Clips to one token per tubelet and one vector.

    Clips may be shorter than ``frames`` by whole tubelets. A single frame counts as a clip that stands still:
    it is repeated until it fills a tubelet.

    Args:
        frames, image_size: of the longest clip; ``image_size`` is one side or (height, width).
        tubelet: (frames, height, width) of a token.
        in_channels: of the video; width: D; depth, heads, mlp_ratio, dropout: of the transformer.
        positions: ``learned`` or ``sinusoidal``; pool: ``attention``, ``mean`` or ``places``.
        mean, std: of pixels in [0, 1], taken off inside the network.

    Raises:
        ParameterError: names the argument that is out of range.
    """

    def __init__(
        self,
        frames: int = 16,
        image_size: int | Sequence[int] = 224,
        tubelet: Sequence[int] = (2, 16, 16),
        in_channels: int = 3,
        width: int = 512,
        depth: int = 6,
        heads: int = 8,
        mlp_ratio: float = 4.0,
        positions: str = "learned",
        pool: str = "attention",
        dropout: float = 0.0,
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        super().__init__()
        height, wide = (image_size, image_size) if isinstance(image_size, int) else image_size
        sides = (frames, height, wide)
        if len(tubelet) != 3 or any(
            step < 1 or side < 1 or side % step for side, step in zip(sides, tubelet, strict=True)
        ):
            raise ParameterError(
                f"tubelet={tuple(tubelet)} must divide (frames, height, width) = {sides} along each axis"
            )
        if depth < 1 or in_channels < 1 or not std > 0:
            raise ParameterError(f"depth={depth}, in_channels={in_channels}, std={std}: above 0 is expected")
        self.tubelet: Grid = (tubelet[0], tubelet[1], tubelet[2])
        self.grid: Grid = (sides[0] // tubelet[0], sides[1] // tubelet[1], sides[2] // tubelet[2])
        self.in_channels, self.width, self.mean, self.std = in_channels, width, mean, std
        self.patch_size = in_channels * tubelet[0] * tubelet[1] * tubelet[2]
        self.embed = nn.Linear(self.patch_size, width)
        self.positions = SpaceTimePositions(self.grid, width, positions)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, mlp_ratio, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.pool = make_pool(pool, width, heads, math.prod(self.grid))

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch.

        Args:
            video: ``(B, C, T, H, W)`` float in [0, 1].

        Returns:
            Tokens ``(B, N, D)``, time slowest, then rows, then columns, and the pooled ``(B, D)``.

        Raises:
            DataError: sizes that the tubelet does not divide or the grid does not hold, wrong channels, or an
                empty clip.
        """
        patches = self.patches(video)
        tokens = self._transform(self._embedded(patches) + self._positions_of(patches))
        return tokens, self.pool(tokens)

    def encode_visible(self, video: Tensor, keep: Tensor, all_tokens: bool = False) -> Tensor:
        """Tokens ``(B, K, D)`` of a network that sees the tubelets ``keep`` only.

        Args:
            video: ``(B, C, T, H, W)``; keep: ``(B, K)`` int64, places in the order of ``forward``'s tokens.
            all_tokens: send all tubelets through the blocks and forbid to look at the hidden ones: the same
                result at full cost, to compare with.
        """
        if all_tokens:
            patches = self.patches(video)
            seen = keep.new_zeros(patches.shape[:2]).scatter_(1, keep, 1).bool()
            return picked(self._transform(self._embedded(patches) + self._positions_of(patches), seen), keep)
        visible = tubelets_at(self._checked(video), self.tubelet, keep)
        places = self.positions(self.grid[0]).expand(len(keep), -1, -1)
        return self._transform(self._embedded(visible) + picked(places, keep))

    def patches(self, video: Tensor) -> Tensor:
        """Pixels of each tubelet, ``(B, N, C * pt * ph * pw)``, as they are in ``video``."""
        video = self._checked(video)
        return tubelets_of(video, self.tubelet)

    def _checked(self, video: Tensor) -> Tensor:
        if video.ndim == 5 and video.shape[2] == 1:
            video = video.expand(-1, -1, self.tubelet[0], -1, -1).contiguous()
        grid = grid_of(video, self.tubelet, self.in_channels)
        if grid[1:] != self.grid[1:] or grid[0] > self.grid[0]:
            most = tuple(cells * step for cells, step in zip(self.grid, self.tubelet, strict=True))
            raise DataError(
                f"video of (frames, height, width) = {tuple(video.shape[2:])}: this encoder takes "
                f"{most[1]} x {most[2]} pixels and up to {most[0]} frames"
            )
        return video

    def _embedded(self, patches: Tensor) -> Tensor:
        return self.embed((patches - self.mean) / self.std)

    def _positions_of(self, patches: Tensor) -> Tensor:
        return self.positions(patches.shape[1] // (self.grid[1] * self.grid[2]))

    def _transform(self, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x, key_mask=key_mask)
        return self.norm(x)
