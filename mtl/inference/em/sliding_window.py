"""A network over volumes larger than memory: overlapping patches, blended, in slabs that go to disk.

Patches run through the volume slab by slab along the first axis. Planes that no later patch reaches are
written and forgotten, so memory holds one slab whatever the depth of the volume. The weights are those of
:mod:`mtl.inference.em.blending`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import zarr
from torch import Tensor

from mtl.errors import ParameterError
from mtl.inference.em.blending import AxisTiles
from mtl.inference.em.volume_writer import MemoryVolume, ZarrVolume, new_folder

Network = Callable[[Tensor], Tensor]


class ReadsBoxes(Protocol):
    """What a volume has to offer, lazy or not."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self, box: tuple[slice, ...]) -> tuple[np.ndarray, Any]: ...


def sliding_window(
    network: Network,
    image: ReadsBoxes | np.ndarray | Tensor,
    patch_size: Sequence[int],
    *,
    overlap: float = 0.25,
    sigma_scale: float = 0.125,
    floor: float = 0.01,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    path: str | Path | None = None,
    dtype: str = "float32",
) -> np.ndarray | zarr.Array:
    """Run ``network`` over ``image`` in overlapping patches and blend what it gives.

    Args:
        network: ``(B, 1, *patch_size)`` float32 to ``(B, C, *patch_size)``, in eval mode where it matters.
        image: ``(*sp)`` float, prepared; or a volume with ``shape`` and ``read(box) -> (image, labels)``, of
            which one slab is read at a time.
        patch_size: one entry per axis; one fewer than the image has means that every plane of the first axis
            is an image of its own. Where the image is smaller it is mirrored up to the patch.
        overlap: share of a patch that the next one covers too. ``sigma_scale``, ``floor``: see `AxisTiles`.
        device: where the patches go. Blending happens where the network's outputs are.
        path: Zarr folder to write to, slab by slab; it appears, or replaces an older one, when complete.
        dtype: of the result, e.g. ``float16`` for half the disk.

    Returns:
        ``(C, *sp)``: a NumPy array, or with ``path`` a Zarr array opened for reading.

    Raises:
        ParameterError: number of axes, overlap, weights or batch size out of range; outputs not of the
            patch's shape.
    """
    shape = tuple(image.shape)
    if batch_size < 1:
        raise ParameterError(f"batch_size = {batch_size}: at least 1 is expected")
    if len(patch_size) == len(shape) - 1:
        network, patch_size = _plane_by_plane(network), (1, *patch_size)
    if len(patch_size) != len(shape):
        raise ParameterError(f"patch_size {tuple(patch_size)} does not fit an image of shape {shape}")
    tiles = [
        AxisTiles(size, patch, overlap, sigma_scale, floor)
        for size, patch in zip(shape, patch_size, strict=True)
    ]
    slab = _Slab(network, tiles, batch_size, torch.device(device))
    if path is None:
        memory = MemoryVolume(dtype)
        _fill(memory, slab, image)
        return memory.array
    with new_folder(Path(path)) as folder:
        _fill(ZarrVolume(folder, dtype, chunk_planes=tiles[0].step), slab, image)
    return zarr.open_array(path, mode="r")


class _Slab:
    """Blended outputs of one slab of the volume, which moves along the first axis."""

    def __init__(
        self, network: Network, tiles: list[AxisTiles], batch_size: int, device: torch.device
    ) -> None:
        self.network, self.batch_size, self.device = network, batch_size, device
        self.depth, self.in_plane = tiles[0], tiles[1:]
        self.places = list(itertools.product(*(range(len(axis.starts)) for axis in self.in_plane)))
        self.sums: Tensor | None = None  # (C, patch, *padded in-plane)

    def add(self, planes: Tensor, number: int) -> None:
        """Add the outputs for the patches of slab ``number``; ``planes``: ``(patch, *padded in-plane)``."""
        along = torch.from_numpy(self.depth.weights[number])
        for first in range(0, len(self.places), self.batch_size):
            batch = self.places[first : first + self.batch_size]
            patches = torch.stack([planes[self._box(place)] for place in batch])[:, None].to(self.device)
            for place, output in zip(batch, self._outputs(patches), strict=True):
                weight = self._weight(along, place).to(output.device)
                self._sums_for(output)[:, *self._box(place)].addcmul_(output, weight)

    def finished(self, n: int) -> np.ndarray:
        """``(C, n, *in-plane)``: the first ``n`` planes without the padding."""
        inside = tuple(slice(0, axis.size) for axis in self.in_plane)
        return self.sums[:, :n, *inside].cpu().numpy()

    def move(self, n: int) -> None:
        """Forget the first ``n`` planes."""
        kept = self.sums[:, n:].clone()
        self.sums[:, : kept.shape[1]] = kept
        self.sums[:, kept.shape[1] :] = 0

    def _outputs(self, patches: Tensor) -> Tensor:
        outputs = self.network(patches)
        if outputs.shape[:1] + outputs.shape[2:] != patches.shape[:1] + patches.shape[2:]:
            raise ParameterError(
                f"the network turned patches {tuple(patches.shape)} into {tuple(outputs.shape)}; the same "
                "batch and spatial shape is expected"
            )
        return outputs.float()

    def _sums_for(self, output: Tensor) -> Tensor:
        if self.sums is None:
            plane = [axis.padded for axis in self.in_plane]
            self.sums = output.new_zeros((len(output), self.depth.patch, *plane))
        return self.sums

    def _box(self, place: Sequence[int]) -> tuple[slice, ...]:
        starts = (axis.starts[k] for axis, k in zip(self.in_plane, place, strict=True))
        return (
            slice(None),
            *(slice(a, a + axis.patch) for a, axis in zip(starts, self.in_plane, strict=True)),
        )

    def _weight(self, along: Tensor, place: Sequence[int]) -> Tensor:
        weight = along
        for axis, k in zip(self.in_plane, place, strict=True):
            weight = weight[..., None] * torch.from_numpy(axis.weights[k])
        return weight


@torch.inference_mode()
def _fill(target: MemoryVolume | ZarrVolume, slab: _Slab, image: ReadsBoxes | np.ndarray | Tensor) -> None:
    """Write every plane of the blended outputs, in order."""
    depth = slab.depth
    for number, start in enumerate(depth.starts):
        slab.add(_planes(image, start, [depth, *slab.in_plane]), number)
        last = number + 1 == len(depth.starts)
        n = depth.size - start if last else depth.starts[number + 1] - start
        target.write(start, slab.finished(n), tuple(image.shape))
        if not last:
            slab.move(n)


def _planes(image: ReadsBoxes | np.ndarray | Tensor, start: int, tiles: list[AxisTiles]) -> Tensor:
    """One slab of the image, float32, mirrored up to the patch where the image is smaller."""
    box = (
        slice(start, min(image.shape[0], start + tiles[0].patch)),
        *(slice(0, axis.size) for axis in tiles[1:]),
    )
    planes = image.read(box)[0] if hasattr(image, "read") else image[box]
    planes = np.asarray(planes, dtype=np.float32)
    missing = [(0, axis.padded - axis.size) for axis in tiles]
    return torch.from_numpy(np.pad(planes, missing, mode="reflect") if np.any(missing) else planes)


def _plane_by_plane(network: Network) -> Network:
    """A network for 2-D images as one for patches of one plane."""
    return lambda patches: network(patches.squeeze(2)).unsqueeze(2)
