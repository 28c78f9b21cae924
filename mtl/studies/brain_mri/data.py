"""Data sets, frozen split and loaders of the study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from mtl.datasets.brain_mri import BrainNormalisation, MultiSourceDataset, collate, open_sources
from mtl.datasets.phantoms.brain_mri import BrainPhantom
from mtl.datasets.splits import FrozenSplit, make_split
from mtl.errors import DataError, ProtocolError
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.parameters import project_path
from mtl.studies.run_directory import RunDirectory
from mtl.training.objective import Batch
from mtl.training.sampling import BalancedSampler, EpochLoader, MixingRatioSampler, Sampler, ShuffledSampler

Collate = Callable[[Sequence[dict]], Batch]


def open_dataset(parameters: BrainMriParameters) -> MultiSourceDataset:
    """The phantom, or every known source below ``data_root``. Raises ``DataError``."""
    p = parameters
    if p.data_root:
        # extend_groups: groups given with a data set may miss copies (two of the Kaggle set do).
        sources = open_sources(
            project_path(p.data_root), min_tumor_pixels=p.min_tumor_pixels, extend_groups=True
        )
    else:
        phantom = BrainPhantom(
            n_patients=p.phantom_patients,
            slices_per_patient=p.phantom_slices,
            rho=p.phantom_rho,
            size=max(p.image_size, 96),
            seed=p.seed if p.data_seed < 0 else p.data_seed,
            duplicate_rate=p.phantom_duplicates,
        )
        sources = [phantom]
    return MultiSourceDataset(
        sources, p.image_size, BrainNormalisation(), min_tumor_pixels=p.min_tumor_pixels, seed=p.seed
    )


def open_split(parameters: BrainMriParameters, dataset: MultiSourceDataset, run: RunDirectory) -> FrozenSplit:
    """The split of a file, or the one that the parameters describe; frozen in the run directory.

    Raises:
        ProtocolError: the run directory holds another split (other data, seed or fractions): one run, one
            test set.
    """
    p = parameters
    if p.split_file:
        split = FrozenSplit.load(project_path(p.split_file), dataset.table)
    else:
        chosen = [name.strip() for name in p.cross_validated.split(",") if name.strip()]
        chosen = sorted(set(dataset.table["source"])) if chosen == ["all"] else chosen
        split = make_split(
            dataset.table,
            n_folds=p.n_folds,
            cross_validated=chosen,
            test_fraction=p.test_fraction,
            validation_fraction=p.validation_fraction,
            seed=p.seed if p.split_seed < 0 else p.split_seed,
        )
    if run.split.exists() and FrozenSplit.load(run.split).hash != split.hash:
        raise ProtocolError(
            f"{run.split} was frozen with other data, seed or fractions: choose another name with the "
            "parameter 'run', or throw this run's results away with --force"
        )
    split.save(run.split)
    return split


def require_filled_masks(dataset: MultiSourceDataset, split: FrozenSplit) -> None:
    """Raises ``DataError`` where a part of the first fold has no filled mask to learn, choose or score by."""
    filled = dataset.table.set_index("id").query("has_mask and cls == 1").index
    for part in ("train", "validation", "test"):
        if not filled.isin(getattr(split.folds[0], part)).any():
            raise DataError(
                f"the {part} part of the split has no slice with a filled tumour mask ({len(filled)} in all "
                "data): outlines need at least one in each part; give more masks, or choose another seed"
            )


def training_loader(
    parameters: BrainMriParameters,
    dataset: MultiSourceDataset,
    ids: Sequence[str],
    stage: str,
    seed: int,
    join: Collate = collate,
) -> EpochLoader:
    """Batches for a stage: masked slices only (warm-up, reference), everything (head), or mixed (joint).

    ``join`` makes a batch of samples.
    """
    table = dataset.table.set_index("id").loc[list(ids)]
    if stage in ("warm_up", "reference"):
        table = table[table["has_mask"]]
        if not table["cls"].any():
            raise DataError(
                f"stage {stage!r} learns from tumour masks, but no training slice has a filled one"
            )
    subset = dataset.subset(list(table.index), augment=parameters.augment, seed=seed)
    sampler = (
        _mixing_sampler(parameters, table, seed) if stage == "joint" else ShuffledSampler(len(table), seed)
    )
    return EpochLoader(subset, sampler, parameters.batch_size, join, parameters.workers)


def _mixing_sampler(parameters: BrainMriParameters, table, seed: int) -> Sampler:
    """Masked sources and the rest in the wished proportion; plain shuffling if there is only one kind.

    With ``sampling: source_balanced`` every (source, class) cell equally often instead.
    """
    if parameters.sampling == "source_balanced":
        return BalancedSampler(cells(table), seed=seed)
    groups = np.where(table["strong"], "masked", "rest")
    if len(set(groups)) == 1:
        return ShuffledSampler(len(table), seed)
    ratios = {"masked": parameters.masked_ratio, "rest": 1 - parameters.masked_ratio}
    return MixingRatioSampler(groups, ratios, seed=seed)


def cells(table: pd.DataFrame) -> list[str]:
    """The (source, class) cell of every row."""
    return [f"{row.source}, class {row.cls}" for row in table.itertuples()]


def in_order(
    dataset: MultiSourceDataset, ids: Sequence[str], batch_size: int, join: Collate = collate
) -> Iterator[Batch]:
    """Batches of ``ids`` in their order, without augmentation; ``join`` makes a batch of samples."""
    subset = dataset.subset(list(ids), augment=False)
    for start in range(0, len(subset), batch_size):
        yield join([subset[i] for i in range(start, min(start + batch_size, len(subset)))])
