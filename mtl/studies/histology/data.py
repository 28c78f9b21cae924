"""The tiles of a run, its folds by group, and the patches that a network learns from."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from mtl.datasets.histology import (
    NucleiTile,
    PatchDataset,
    StainAugmentation,
    collate,
    open_tiles,
    reveal_all,
)
from mtl.datasets.phantoms.histology import histology_phantom
from mtl.datasets.splits import Fold
from mtl.errors import ParameterError, ProtocolError
from mtl.files import read_json, sha256_of, write_json
from mtl.models.histology import light_of
from mtl.studies.histology.parameters import PHANTOM, HistologyParameters
from mtl.studies.parameters import project_path
from mtl.studies.run_directory import RunDirectory
from mtl.targets.histology import HV_MAPS
from mtl.training.objective import Batch
from mtl.training.sampling import EpochLoader, ShuffledSampler

OUTSIDE_SEED = 1_000_003  # the outside phantom is drawn from another stream


@dataclass(frozen=True)
class GroupSplit:
    """Folds of tile ids; the test part of each is one group, or a few small ones pooled."""

    folds: tuple[Fold, ...]
    tested_groups: tuple[tuple[str, ...], ...]

    @property
    def test_hash(self) -> str:
        """SHA-256 over the folds' test ids: results may be compared only where it is the same."""
        return sha256_of(json.dumps([fold.test for fold in self.folds]))

    @property
    def hash(self) -> str:
        """SHA-256 over everything the split consists of."""
        return sha256_of(json.dumps(asdict(self), sort_keys=True))


def open_run_tiles(parameters: HistologyParameters) -> list[NucleiTile]:
    """The tiles that are learnt from and tested by fold.

    Raises:
        DataError: see ``open_tiles``.
        ParameterError: ``appearances`` leaves none, or names one that no tile has.
    """
    p = parameters
    tiles = _phantom(p, p.phantom_stain_shift, 0) if p.tiles == PHANTOM else _read(p, p.tiles)
    if not p.wanted_appearances:
        return tiles
    known = sorted({tile.appearance for tile in tiles})
    if unknown := [name for name in p.wanted_appearances if name not in known]:
        raise ParameterError(
            f"appearances: no tile of {p.tiles!r} is {unknown[0]!r}; there is {', '.join(known) or 'none'}"
        )
    return [tile for tile in tiles if tile.appearance in p.wanted_appearances]


def open_outside_tiles(parameters: HistologyParameters) -> list[NucleiTile]:
    """The tiles of the outside test set, which nothing is learnt from or tuned on; empty without one."""
    p = parameters
    if p.outside == PHANTOM:
        return _phantom(p, p.phantom_outside_shift, OUTSIDE_SEED)
    return _read(p, p.outside) if p.outside else []


def _read(p: HistologyParameters, folder: str) -> list[NucleiTile]:
    return open_tiles(project_path(p.data_root) / folder)


def _phantom(p: HistologyParameters, shift: float, stream: int) -> list[NucleiTile]:
    return histology_phantom(
        p.phantom_tiles,
        p.phantom_side,
        n_groups=p.phantom_groups,
        density=p.phantom_density,
        touching=p.phantom_touching,
        stain_shift=shift,
        clutter=p.phantom_clutter,
        seed=(p.seed if p.data_seed < 0 else p.data_seed) + stream,
    )


def tiles_fingerprint(tiles: Sequence[NucleiTile]) -> str:
    """Hash of every pixel, label and group."""
    return sha256_of(
        *(part for t in tiles for part in (f"{t.id} {t.group}", t.image.tobytes(), t.instances.tobytes()))
    )


def group_split(tiles: Sequence[NucleiTile], parameters: HistologyParameters) -> GroupSplit:
    """Leave-one-group-out; the smallest groups are tested together, folds by falling number of test tiles.

    Validation tiles are drawn at random from what is not tested, the same ones for every seed of training.

    Raises:
        ParameterError: there are not two test groups, or nothing is left to train on.
    """
    p = parameters
    members: dict[str, list[str]] = {}
    for tile in tiles:
        members.setdefault(tile.group, []).append(tile.id)
    by_size = sorted(members, key=lambda group: (len(members[group]), group))
    pooled = [tuple(sorted(by_size[: p.pooled_groups])), *((group,) for group in by_size[p.pooled_groups :])]
    if len(pooled) < 2:
        raise ParameterError(
            f"pooled_groups={p.pooled_groups}: {len(members)} groups of tiles leave {len(pooled)} to test; "
            "two "
            "at least are expected, one to learn from while the other is tested"
        )
    tested = sorted(pooled, key=lambda groups: (-sum(len(members[g]) for g in groups), groups))
    if p.folds > len(tested):
        raise ParameterError(f"folds={p.folds}: there are {len(tested)} test groups")
    tested = tested[: p.folds] if p.folds else tested
    return GroupSplit(
        tuple(_fold(tiles, set(groups), p.validation_fraction) for groups in tested), tuple(tested)
    )


def _fold(tiles: Sequence[NucleiTile], tested: set[str], fraction: float) -> Fold:
    """Which tiles validate depends on their ids alone."""
    test = sorted(tile.id for tile in tiles if tile.group in tested)
    rest = sorted(
        (tile.id for tile in tiles if tile.group not in tested), key=lambda i: (zlib.crc32(i.encode()), i)
    )
    n_validation = max(1, round(fraction * len(rest)))
    if n_validation >= len(rest):
        raise ParameterError(f"{len(rest)} tiles outside the test groups: none would be left to train on")
    return Fold(tuple(sorted(rest[n_validation:])), tuple(sorted(rest[:n_validation])), tuple(test))


def open_split(
    parameters: HistologyParameters, tiles: Sequence[NucleiTile], run: RunDirectory, data: str
) -> GroupSplit:
    """The split that the parameters describe; frozen in the run directory with ``data``, the data's hash.

    Raises:
        ParameterError: see `group_split`.
        ProtocolError: the run directory holds another split: one run, one test set.
    """
    split = group_split(tiles, parameters)
    frozen = asdict(split) | {"hash": split.hash, "test_hash": split.test_hash, "data": data}
    if run.split.exists() and read_json(run.split) != json.loads(json.dumps(frozen)):
        raise ProtocolError(
            f"{run.split} was frozen with other tiles, groups or fractions: choose another name with the "
            "parameter 'run', or throw this run's results away with --force"
        )
    write_json(run.split, frozen)
    return split


def colour_statistics(tiles: Sequence[NucleiTile], normalisation: str) -> dict[str, list[float]]:
    """``mean`` and ``std`` of each channel over all pixels, in [0, 1], after the network's normalisation."""
    pixels = 0
    sums, squares = np.zeros(3), np.zeros(3)
    for tile in tiles:
        image = torch.from_numpy(tile.image.astype(np.float32) / 255).permute(2, 0, 1)[None]
        seen = (image / light_of(image) if normalisation == "light" else image).double()
        sums += seen.sum((0, 2, 3)).numpy()
        squares += seen.square().sum((0, 2, 3)).numpy()
        pixels += seen[0, 0].numel()
    mean = sums / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    return {"mean": mean.round(4).tolist(), "std": np.maximum(std, 0.01).round(4).tolist()}


def training_loader(
    parameters: HistologyParameters,
    tiles: Sequence[NucleiTile],
    fraction: float,
    label_seed: int,
    tasks: Sequence[str],
    seed: int,
) -> EpochLoader:
    """Random patches with ``fraction`` of the nuclei outlined, in batches that say what ``tasks`` can learn.

    Raises ParameterError where nothing is outlined, or nowhere enough of it for a patch.
    """
    p = parameters
    patches = PatchDataset(
        tiles,
        reveal_all(tiles, fraction, label_seed),
        p.patch,
        p.patches_per_epoch,
        HV_MAPS[p.hv],
        seed,
        augmentation=StainAugmentation() if p.augment else None,
        min_positive_pixels=p.min_positive_pixels,
    )
    return patch_loader(patches, p, tasks, seed)


def patch_loader(
    patches: PatchDataset, parameters: HistologyParameters, tasks: Sequence[str], seed: int
) -> EpochLoader:
    """Batches of ``patches``, in another order every epoch."""
    p, join = (
        parameters,
        partial(_batch, patches=patches, tasks=tuple(tasks), warm_up=parameters.warm_up_epochs),
    )
    return EpochLoader(patches, ShuffledSampler(len(patches), seed), p.batch_size, join, p.workers)


def _batch(
    samples: Sequence[dict[str, Any]], patches: PatchDataset, tasks: Sequence[str], warm_up: int
) -> Batch:
    """Every patch holds outlined pixels, so every task counts for every patch."""
    ramp = min(1.0, patches.epoch / (warm_up + 1))
    units = dict.fromkeys(tasks, len(samples))
    return collate(samples) | {"ramp": ramp, "valid_units": units}
