"""Square patches of tiles as training samples: a few outlined nuclei, everything else without a label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from mtl.datasets.histology.augmentation import StainAugmentation
from mtl.datasets.histology.tiles import NucleiTile
from mtl.errors import ParameterError

Maps = Callable[[np.ndarray], np.ndarray]
UNAUGMENTED = StainAugmentation(0, 0, 0, 0, 0, turns=False)


class PatchDataset(Dataset):
    """``length`` random patches per epoch; patch i of epoch e depends on ``(seed, e, i)`` alone.

    A sample: ``images`` float32 (3, P, P) in [0, 1]; ``masks`` float32 (1, P, P), 1 = outlined nucleus, 0 =
    no label; ``weights`` float32 (1, P, P) >= 0, of the outlined pixels; ``hv_maps`` float32 (C, P, P), from
    the ids of the outlined nuclei; ``hidden`` bool (1, P, P), all nuclei, for what is logged and never for a
    loss; ``id`` ``<tile>/y_x`` (the patch's first pixel).

    Patches are drawn from the tiles that can give one, each as often; of a tile's patches with enough
    outlined pixels each is as likely.

    Args:
        tiles: where patches come from; outlined: int32 (H, W) instances of each tile, the labelled ones only.
        size: P, pixels along a side.
        length: patches per epoch.
        hv_maps: ``hv_maps(instances (P, P)) -> (C, P, P)``, computed after flips and turns.
        augmentation: None: patches as they are.
        min_positive_pixels: outlined pixels that a patch has at least.
        weight: ``weight(instances (P, P)) -> (P, P)``; 1 everywhere where not given.

    Raises `ParameterError`: a patch does not fit a tile, or no patch of any tile has enough outlined pixels.
    """

    #: Index ``i + k * len`` is patch i drawn for the k-th time again in this epoch.
    counts_draws = True

    def __init__(
        self,
        tiles: Sequence[NucleiTile],
        outlined: Sequence[np.ndarray],
        size: int,
        length: int,
        hv_maps: Maps,
        seed: int = 0,
        *,
        augmentation: StainAugmentation | None = None,
        min_positive_pixels: int = 100,
        weight: Maps | None = None,
    ) -> None:
        self.size, self.length, self.hv_maps, self.seed = size, length, hv_maps, seed
        self.augmentation = augmentation or UNAUGMENTED
        self.weight = weight
        for tile in tiles:
            if min(tile.shape) < size:
                raise ParameterError(f"patches of {size} pixels do not fit {tile.id!r} of shape {tile.shape}")
        places = [patch_places(instances > 0, size, min_positive_pixels) for instances in outlined]
        #: Tile, its outlined nuclei, and the flat index of the first pixel of each of its patches.
        self.sources = [
            (tile, instances, found)
            for tile, instances, found in zip(tiles, outlined, places, strict=True)
            if len(found)
        ]
        if not self.sources:
            raise ParameterError(
                f"no patch of {size} pixels in {len(tiles)} tiles has min_positive_pixels="
                f"{min_positive_pixels} outlined pixels: raise label_fraction, or ask for fewer"
            )
        # In shared memory, so that worker processes that outlive an epoch see the change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self.length

    @property
    def epoch(self) -> int:
        """The epoch whose patches are drawn."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose patches are to be drawn."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The patches of the present epoch, each once (indices go on beyond the length)."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index < 0:
            raise IndexError(f"index {index} of a dataset of {self.length} patches")
        rng = np.random.default_rng([self.seed, self.epoch, index])
        tile, outlined, places = self.sources[rng.integers(len(self.sources))]
        columns = tile.shape[1] - self.size + 1
        y, x = divmod(int(places[rng.integers(len(places))]), columns)
        box = slice(y, y + self.size), slice(x, x + self.size)
        image = tile.image[box].astype(np.float32) / 255
        parts = [self.augmentation.recolour(image, rng), outlined[box], tile.instances[box] > 0]
        image, instances, hidden = self.augmentation.turn(parts, rng)
        instances = np.ascontiguousarray(instances)
        weight = np.ones(instances.shape, np.float32) if self.weight is None else self.weight(instances)
        return {
            "images": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "masks": torch.from_numpy((instances > 0).astype(np.float32))[None],
            "weights": torch.as_tensor(weight, dtype=torch.float32)[None],
            "hv_maps": torch.from_numpy(self.hv_maps(instances)),
            "hidden": torch.from_numpy(hidden.copy())[None],
            "id": f"{tile.id}/{y}_{x}",
        }


def patch_places(positive: np.ndarray, size: int, at_least: int) -> np.ndarray:
    """Where square patches with enough positive pixels begin.

    positive: bool ``(H, W)``; the result: flat indices into ``(H - size + 1, W - size + 1)``. Counted with a
    summed-area table.
    """
    table = np.zeros((positive.shape[0] + 1, positive.shape[1] + 1), np.int64)
    table[1:, 1:] = positive.cumsum(0, dtype=np.int64).cumsum(1)
    counts = table[size:, size:] - table[:-size, size:] - table[size:, :-size] + table[:-size, :-size]
    return np.flatnonzero(counts >= max(at_least, 1))


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Samples to a batch: tensors stacked ``(B, ...)``, ``id`` a list."""
    stacked = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0] if key != "id"}
    return stacked | {"id": [sample["id"] for sample in samples]}
