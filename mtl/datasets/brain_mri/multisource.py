"""All sources as one dataset of prepared slices, with masks where there are any; and its collate function."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from mtl.datasets.brain_mri.augmentation import Augmentation
from mtl.datasets.brain_mri.normalisation import BrainNormalisation, Geometry
from mtl.datasets.brain_mri.slices import MIN_TUMOR_PIXELS, Finding, Slice, Source, is_positive
from mtl.errors import DataError, ParameterError

COLUMNS = ["id", "source", "patient", "group", "slice", "cls", "has_mask", "strong"]


class _Store:
    """Prepared arrays of all slices, float32 images and uint8 masks, shared by a dataset and its subsets."""

    def __init__(
        self, sources: Sequence[Source], size: int, normalisation: BrainNormalisation, rule: int
    ) -> None:
        self.size, self.normalisation, self.rule = size, normalisation, rule
        self.origin = {item.id: (source, item) for source in sources for item in source.slices}
        self.ready: dict[str, tuple[np.ndarray, np.ndarray | None, Geometry]] = {}

    def __getitem__(self, identity: str) -> tuple[np.ndarray, np.ndarray | None, Geometry]:
        if identity not in self.ready:
            self.ready[identity] = self._prepared(identity)
        return self.ready[identity]

    def fill(self, identities: Iterable[str]) -> None:
        """Prepare what is not there yet; decoding and resizing release the lock, so threads help."""
        missing = [identity for identity in identities if identity not in self.ready]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            self.ready.update(zip(missing, pool.map(self._prepared, missing), strict=True))

    def _prepared(self, identity: str) -> tuple[np.ndarray, np.ndarray | None, Geometry]:
        source, item = self.origin[identity]
        native, mask = source.read(item)
        self._check(item, native, mask)
        try:
            image, geometry = self.normalisation.prepare(native, self.size)
        except DataError as error:
            raise DataError(f"{identity}: {error}") from error
        return image, None if mask is None else self.normalisation.prepare_mask(mask, geometry), geometry

    def _check(self, item: Slice, image: np.ndarray, mask: np.ndarray | None) -> None:
        if (mask is not None) != item.has_mask:
            raise DataError(
                f"{item.id}: has_mask is {item.has_mask}, but its source says otherwise when read"
            )
        if mask is None:
            return
        if mask.shape != image.shape:
            raise DataError(f"{item.id}: mask has shape {mask.shape}, image {image.shape}")
        if is_positive(mask, self.rule) != item.cls:
            pixels = np.count_nonzero(mask)
            raise DataError(
                f"{item.id}: labelled {item.cls}, but its mask has {pixels} pixels (rule: >= {self.rule})"
            )


class MultiSourceDataset(Dataset):
    """Slices of several sources, prepared once, held in memory, augmented on the way out.

    ``dataset[i]`` is ``{"image": (1, S, S) float32, "mask": (1, S, S) float32 or None, "cls": int, "source",
    "patient", "slice", "id"}`` with ``S = size``. ``table`` has a row per slice (`COLUMNS`). The random
    changes of a slice depend on ``(seed, epoch, id)`` and on how often it was drawn before in the epoch,
    not on order, subset or worker; call `set_epoch`.

    ``augment``: ``True`` for the default `Augmentation`, or one. ``preload=False`` prepares slices when they
    are first asked for. Raises `DataError` for an id that occurs twice, a slice that cannot be read or
    normalised, or a label that contradicts its mask; `ParameterError` for a source with another
    ``min_tumor_pixels``."""

    def __init__(
        self,
        sources: Sequence[Source],
        size: int = 128,
        normalisation: BrainNormalisation | None = None,
        min_tumor_pixels: int = MIN_TUMOR_PIXELS,
        augment: bool | Augmentation = False,
        seed: int = 0,
        preload: bool = True,
    ) -> None:
        if size < 8:
            raise ParameterError(f"size={size} must be at least 8 pixels")
        _check_rule(sources, min_tumor_pixels)
        self.size, self.seed = size, seed
        self.normalisation = normalisation or BrainNormalisation()
        self.table = _table(sources)
        self._store = _Store(sources, size, self.normalisation, min_tumor_pixels)
        self._augmentation = self._resolved(augment)
        # In shared memory, so that worker processes that outlive an epoch see the change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        if preload:
            self._store.fill(self.table["id"])

    def __len__(self) -> int:
        return len(self.table)

    #: Index ``i + k * len`` is slice ``i`` drawn for the k-th time again in this epoch.
    counts_draws = True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        repetition, index = divmod(index, len(self.table)) if index >= 0 else (0, index)
        row = self.table.iloc[index]
        image, mask, _ = self._store[row["id"]]
        if self._augmentation is not None:
            image, mask = self._augmentation(image, mask, self._generator(row["id"], repetition))
        return {
            "image": torch.tensor(image)[None],
            "mask": None if mask is None else torch.tensor(mask, dtype=torch.float32)[None],
            "cls": int(row["cls"]),
            "source": row["source"],
            "patient": row["patient"],
            "slice": int(row["slice"]),
            "id": row["id"],
        }

    def subset(
        self, ids: Iterable[str], augment: bool | Augmentation = False, seed: int | None = None
    ) -> MultiSourceDataset:
        """The slices with these ids, in this order, over the same prepared arrays.

        ``seed`` of the random changes: this dataset's own where not given.
        Raises `DataError` for an id that is unknown or given twice.
        """
        ids = list(ids)
        rows = self.table.set_index("id", drop=False)
        unknown = [identity for identity in ids if identity not in rows.index]
        if unknown or len(set(ids)) != len(ids):
            what = f"does not hold the id {unknown[0]!r}" if unknown else "was asked for one id twice"
            raise DataError(f"the dataset {what} ({len(unknown)} of {len(ids)} unknown)")
        part = object.__new__(MultiSourceDataset)
        part.__dict__.update(self.__dict__)
        part.table = rows.loc[ids].reset_index(drop=True)
        part._augmentation = self._resolved(augment)
        part.seed = self.seed if seed is None else seed
        part._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        return part

    @property
    def problems(self) -> list[Finding]:
        """What the sources left out or put right, and why."""
        sources = {id(source): source for source, _ in self._store.origin.values()}
        return [finding for source in sources.values() for finding in source.problems]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random changes are to be drawn."""
        self._epoch.fill_(epoch)

    def geometry(self, identity: str) -> Geometry:
        """Where a prepared slice lies in its native picture."""
        return self._store[identity][2]

    def native(self, identity: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Native image and mask of a slice, read again from its source."""
        source, item = self._store.origin[identity]
        return source.read(item)

    def fingerprint(self) -> str:
        """SHA-256 over the table, the normalisation and every prepared pixel, whatever the row order."""
        digest = hashlib.sha256(json.dumps([self.size, self.normalisation.to_dict()]).encode())
        for row in self.table.sort_values("id")[COLUMNS].itertuples(index=False):
            image, mask, _ = self._store[row.id]
            digest.update(json.dumps([str(value) for value in row]).encode())
            digest.update(image.tobytes())
            digest.update(b"unknown" if mask is None else mask.tobytes())
        return digest.hexdigest()

    def _generator(self, identity: str, repetition: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, int(self._epoch), zlib.crc32(identity.encode()), repetition])

    def _resolved(self, augment: bool | Augmentation) -> Augmentation | None:
        if isinstance(augment, Augmentation):
            return augment
        rule = self.normalisation
        return Augmentation(background=rule.background, clip=rule.clip) if augment else None


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join samples to a batch with dense masks, zeros where the mask is unknown.

    ``image`` and ``mask`` float32 ``(B, 1, S, S)``, ``has_mask`` bool ``(B,)``, ``cls`` int64 ``(B,)``; lists
    ``source``, ``patient``, ``slice``, ``id``; ``valid_units``: per task, for how many units it has a label
    (plain ints, counted here so that nobody needs to ask the device).
    """
    known = [sample["mask"] is not None for sample in samples]
    masks = [torch.zeros_like(s["image"]) if s["mask"] is None else s["mask"] for s in samples]
    batch = {key: [sample[key] for sample in samples] for key in ("source", "patient", "slice", "id")}
    return {
        "image": torch.stack([sample["image"] for sample in samples]),
        "mask": torch.stack(masks),
        "has_mask": torch.tensor(known, dtype=torch.bool),
        "cls": torch.tensor([sample["cls"] for sample in samples], dtype=torch.int64),
        **batch,
        "valid_units": {"segmentation": sum(known), "classification": len(samples)},
    }


def _table(sources: Sequence[Source]) -> pd.DataFrame:
    table = pd.DataFrame([asdict(item) for source in sources for item in source.slices], columns=COLUMNS)
    if table.empty:
        raise DataError("the sources hold no slices")
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        raise DataError(f"the id {twice.iloc[0]!r} occurs twice; give sources of one kind different names")
    return table


def _check_rule(sources: Sequence[Source], min_tumor_pixels: int) -> None:
    for source in sources:
        rule = getattr(source, "min_tumor_pixels", min_tumor_pixels)
        if rule != min_tumor_pixels:
            raise ParameterError(
                f"source {source.name!r} labels with min_tumor_pixels={rule}, "
                f"the dataset with {min_tumor_pixels}"
            )
