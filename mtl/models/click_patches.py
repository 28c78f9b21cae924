"""Only what the clicks reach: blocks of voxels cut out around points, computed anew, and put back.

The heads are spatially local, so a late residual changes their outputs within a few voxels of a click and
nowhere else. The result, gradients included, is that of a pass over the whole volume.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mtl.models.voxel_places import flat_places


class ClickPatches:
    """Cubes of ``2 * radius + 1`` voxels a side around points.

    Args:
        points: ``(B, P, S)`` int64; cubes may stick out of the volume, or lie outside it.
        radius: voxels along each axis; shape: of the volume.
    """

    def __init__(self, points: Tensor, radius: int, shape: tuple[int, ...]) -> None:
        self.shape, self.dims = shape, len(shape)
        self.side = 2 * radius + 1
        steps = torch.arange(-radius, radius + 1, device=points.device)
        offsets = torch.cartesian_prod(*[steps] * self.dims)
        self.index, self.inside = flat_places(points[:, :, None] + offsets, shape)

    def cut(self, volume: Tensor) -> Tensor:
        """``(B, C, *shape)`` to ``(B * P, C, *[side] * S)``, 0 outside the volume."""
        batch, n_points, voxels = self.index.shape
        index = self.index.view(batch, 1, -1).expand(-1, volume.shape[1], -1)
        found = volume.flatten(2).gather(2, index).view(batch, -1, n_points, voxels).transpose(1, 2)
        return self.within(found.reshape(batch * n_points, -1, *[self.side] * self.dims))

    def within(self, patches: Tensor) -> Tensor:
        """Patches with 0 outside the volume."""
        return torch.where(self.inside.view(len(patches), 1, *patches.shape[2:]), patches, 0.0)

    def put(self, volume: Tensor, patches: Tensor) -> Tensor:
        """A copy of ``volume`` with ``patches`` in their places.

        ``(B, C, *shape)`` and ``(B * P, C, *[side] * S)`` to ``(B, C, *shape)``. Where patches overlap they
        must be equal: each voxel takes, and gives its gradient to, one of them.
        """
        batch, n_points, voxels = self.index.shape
        flat = volume.flatten(2)
        n = flat.shape[2]
        number = torch.arange(1, n_points + 1, device=flat.device)[:, None].expand_as(self.index)
        claims = torch.where(self.inside, number, 0).flatten(1)
        owner = self.index.new_zeros(batch, n).scatter_reduce_(1, self.index.flatten(1), claims, "amax")
        owned = self.inside & (owner.gather(1, self.index.flatten(1)).view_as(self.index) == number)
        place = torch.where(owned, self.index, n).view(batch, 1, -1).expand(-1, flat.shape[1], -1)
        values = (
            patches.view(batch, n_points, -1, voxels).transpose(1, 2).reshape(batch, -1, n_points * voxels)
        )
        # One place more than there are voxels, for what is not wanted.
        spare = torch.cat([flat, flat.new_zeros(*flat.shape[:2], 1)], dim=2).scatter(2, place, values)
        return spare[:, :, :n].unflatten(2, self.shape)
