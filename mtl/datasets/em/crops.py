"""Random crops of EM volumes as training samples: image, labels, targets, clicks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from mtl.datasets.em.augmentation import Augmentation, identity
from mtl.datasets.em.label_changes import (
    Unit,
    contact_membrane,
    keep_blocks,
    keep_instances,
    split_components,
)
from mtl.datasets.em.prompt_sampling import (
    SampleMode,
    padded,
    proofread_mode,
    resolve_fractionary,
    sample_points,
)
from mtl.datasets.em.volumes import Box, EMVolume, check_foreground
from mtl.errors import ParameterError

Targets = Callable[[np.ndarray, tuple[float, ...]], Mapping[str, np.ndarray]]


class CropDataset(Dataset):
    """``length`` random crops per epoch; item i of epoch e depends on ``(seed, e, i)`` alone.

    A sample: ``image`` float32 (1, *sp), ``labels`` int64 (*sp) with instances 1..K, ``spacing`` (S floats,
    nm), ``volume``, ``id`` ``<volume>/z_y_x`` (the crop's first voxel), ``targets`` (dict of tensors),
    ``mode`` (see `proofread_mode`), and clicks: ``points`` int64 (P, S), ``point_labels`` int64 (P,) with 1,
    0, or -1 for padding, ``target_id``, ``semantic_id``. P is ``num_pos_points + num_neg_points`` always.

    Args:
        volumes: with labels; drawn in proportion to their voxels.
        crop_size: S = 3 sides (z, y, x), or S = 2 (y, x) for single planes.
        length: samples per epoch.
        targets: ``targets(labels, spacing) -> dict of arrays``, computed on the final labels.
        augment: ``True`` for the default `Augmentation`, or one.
        contact_membrane: width of the background set between touching instances (see there).
        label_fraction: share of ``label_unit`` that stays annotated, the rest becomes unknown; the same
            ones in every crop and epoch. ``label_seed`` chooses them; blocks have the size of a crop.
        split_components: every connected part of an instance is one of its own.
        num_pos_points, num_neg_points, point_sample_mode: see `sample_points`; ``min_target_voxels`` keeps
            clicks off the crumbs that a crop's faces cut off.
        attempts: a crop without known foreground is drawn again, up to this many times in all.

    Raises `ParameterError` for options out of range, a crop that does not fit a volume, or a 3-D crop of a
    planar volume; `DataError` for a volume without known foreground.
    """

    #: Index ``i + k * len`` is item i drawn for the k-th time again in this epoch.
    counts_draws = True

    def __init__(
        self,
        volumes: Sequence[EMVolume],
        crop_size: Sequence[int],
        length: int,
        seed: int = 0,
        *,
        targets: Targets | None = None,
        augment: bool | Augmentation = False,
        contact_membrane: int = 0,
        label_fraction: float = 1.0,
        label_unit: Unit = "instances",
        label_seed: int = 0,
        split_components: bool = False,
        num_pos_points: int = 5,
        num_neg_points: int = 5,
        point_sample_mode: SampleMode = "instance",
        min_target_voxels: int = 1,
        attempts: int = 10,
    ) -> None:
        self.volumes, self.crop_size = list(volumes), tuple(int(side) for side in crop_size)
        self.length, self.seed, self.targets = length, seed, targets
        default = Augmentation() if augment is True else None
        self.augmentation = augment if isinstance(augment, Augmentation) else default
        self.contact_membrane, self.split_components = contact_membrane, split_components
        self.label_fraction, self.label_unit, self.label_seed = label_fraction, label_unit, label_seed
        self.n_points = num_pos_points + num_neg_points
        self.clicks = {"mode": point_sample_mode, "num_pos": num_pos_points, "num_neg": num_neg_points}
        self.min_target_voxels = min_target_voxels
        self.attempts = attempts
        self._check()
        sizes = np.array([np.prod(volume.shape, dtype=float) for volume in self.volumes])
        self._shares = sizes / sizes.sum()
        # In shared memory, so that worker processes that outlive an epoch see the change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose crops are to be drawn."""
        self._epoch.fill_(epoch)

    def annotated(self, volume: EMVolume) -> np.ndarray:
        """Labels int64 ``(*sp)`` of a whole volume as crops hold them: borders drawn, the rest unknown.

        Parts of an object keep the object's id, and nothing is augmented.
        """
        labels = volume.read_labels(volume.box)
        if len(self.crop_size) == 3:
            return self._marked(labels, volume.name, [0, 0, 0])
        return np.stack([self._marked(plane, volume.name, [z, 0, 0]) for z, plane in enumerate(labels)])

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index < 0:
            raise IndexError(f"index {index} of a dataset of {self.length} crops")
        rng = np.random.default_rng([self.seed, int(self._epoch), index])
        for _ in range(self.attempts):
            volume, start, image, labels = self._draw(rng)
            if (labels > 0).any():
                break
        spacing = volume.spacing[-len(self.crop_size) :]
        sample = {
            "image": torch.from_numpy(image)[None],
            "labels": torch.from_numpy(labels),
            "spacing": spacing,
            "volume": volume.name,
            "id": f"{volume.name}/{'_'.join(str(corner) for corner in start)}",
            "mode": proofread_mode(labels),
            "targets": self._targets(labels, spacing),
        }
        return sample | self._prompts(labels, rng)

    def _draw(self, rng: np.random.Generator) -> tuple[EMVolume, list[int], np.ndarray, np.ndarray]:
        """A random crop: its volume, first voxel (z, y, x), image (*sp) and final labels (*sp)."""
        volume = self.volumes[rng.choice(len(self.volumes), p=self._shares)]
        n_axes = len(self.crop_size)
        move, limits = identity(n_axes), volume.shape[-n_axes:]
        if self.augmentation is not None:
            move = self.augmentation.draw_symmetry(volume.spacing[-n_axes:], self.crop_size, limits, rng)
        size = (1,) * (3 - n_axes) + move.source_size(self.crop_size)
        start = [
            int(rng.integers(side - wanted + 1)) for side, wanted in zip(volume.shape, size, strict=True)
        ]
        box: Box = tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))  # type: ignore
        image, labels = volume.read(box)
        labels = self._changed(labels.reshape(size[-n_axes:]), volume.name, start)  # type: ignore[union-attr]
        image = image.reshape(size[-n_axes:])
        if self.augmentation is not None:
            image = self.augmentation.recolour(image, rng)
        return volume, start, move(image), resolve_fractionary(move(labels))

    def _changed(self, labels: np.ndarray, name: str, start: list[int]) -> np.ndarray:
        """Labels with borders, with what is not annotated unknown, and with parts of their own."""
        labels = self._marked(labels, name, start)
        return split_components(labels) if self.split_components else labels

    def _marked(self, labels: np.ndarray, name: str, start: list[int]) -> np.ndarray:
        """Borders come first: who annotates an instance draws its border with it."""
        labels = contact_membrane(labels, self.contact_membrane)
        return self._fraction(labels, name, start) if self.label_fraction < 1 else labels

    def _fraction(self, labels: np.ndarray, name: str, start: list[int]) -> np.ndarray:
        key = f"{self.label_seed}/{name}"
        if self.label_unit == "instances":
            return keep_instances(labels, self.label_fraction, key)
        if len(self.crop_size) == 2:
            key, start = f"{key}/{start[0]}", start[1:]
        return keep_blocks(labels, self.label_fraction, key, tuple(start), self.crop_size)

    def _targets(self, labels: np.ndarray, spacing: tuple[float, ...]) -> dict[str, torch.Tensor]:
        if self.targets is None:
            return {}
        return {key: torch.as_tensor(value) for key, value in self.targets(labels, spacing).items()}

    def _prompts(self, labels: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        clicks = sample_points(labels, generator=rng, min_voxels=self.min_target_voxels, **self.clicks)
        found = padded(clicks, self.n_points, labels.ndim)
        return {
            "points": torch.from_numpy(found.points),
            "point_labels": torch.from_numpy(found.labels.astype(np.int64)),
            "target_id": found.target_id,
            "semantic_id": found.semantic_id,
        }

    def _check(self) -> None:
        rules = {
            "volumes is empty; expected at least one": bool(self.volumes),
            f"crop_size={self.crop_size} must have 2 (y, x) or 3 (z, y, x) sides above 0": len(self.crop_size)
            in (2, 3)
            and min(self.crop_size, default=0) > 0,
            f"length={self.length} must be at least 1": self.length >= 1,
            f"contact_membrane={self.contact_membrane} must not be negative": self.contact_membrane >= 0,
            f"label_fraction={self.label_fraction} must lie in (0, 1]": 0 < self.label_fraction <= 1,
            f"label_unit={self.label_unit!r} must be 'instances' or 'blocks'": self.label_unit
            in ("instances", "blocks"),
            f"attempts={self.attempts} must be at least 1": self.attempts >= 1,
        }
        for message, holds in rules.items():
            if not holds:
                raise ParameterError(message)
        for volume in self.volumes:
            self._check_volume(volume)

    def _check_volume(self, volume: EMVolume) -> None:
        n_axes = len(self.crop_size)
        if volume.planar and n_axes == 3:
            raise ParameterError(
                f"crop_size={self.crop_size}: volume {volume.name!r} is planar, every plane a sample of its "
                "own; expected two sides (y, x)"
            )
        if any(side < wanted for side, wanted in zip(volume.shape[-n_axes:], self.crop_size, strict=True)):
            raise ParameterError(
                f"crop_size={self.crop_size} does not fit volume {volume.name!r} of shape {volume.shape}"
            )
        check_foreground(volume)
