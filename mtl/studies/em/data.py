"""The volume of a run, its parts along z, and the crops that a network learns from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from mtl.datasets.em import (
    CropDataset,
    EMVolume,
    ZSplit,
    check_contrast,
    collate,
    open_volume,
    z_split,
)
from mtl.datasets.em.z_split import GAP
from mtl.datasets.phantoms.em import em_phantom
from mtl.errors import ParameterError, ProtocolError
from mtl.files import read_json, write_json
from mtl.losses.em import EMLoss
from mtl.studies.em.objective import valid_units
from mtl.studies.em.parameters import EMParameters, VariantParameters
from mtl.studies.parameters import project_path
from mtl.studies.run_directory import RunDirectory
from mtl.targets.em import em_targets
from mtl.training.objective import Batch
from mtl.training.sampling import EpochLoader, ShuffledSampler

LEAST_GAP = 2  # planes between two parts, where the parameters leave it to us


def open_run_volume(parameters: EMParameters) -> EMVolume:
    """The phantom, or the volume that the parameters name.

    Raises:
        DataError: see ``open_volume`` and ``check_contrast``.
        ParameterError: ``dims`` does not fit the volume.
    """
    p = parameters
    if p.volume != "phantom":
        root = project_path(p.data_root)
        labels = root / p.labels if p.labels else None
        volume = open_volume(
            root / p.volume,
            spacing=p.given_spacing,
            labels=labels,
            dataset=p.hdf5_key,
            labels_dataset=p.hdf5_labels_key or None,
            level=p.ngff_level,
            intensity_range=p.grey_range,
        )
        if volume.planar != (p.dims == 2):
            kind, dims = ("a stack of separate planes", 2) if volume.planar else ("a volume", 3)
            raise ParameterError(f"parameter 'dims': {volume.name!r} is {kind}; dims={dims} is expected")
        check_contrast(volume)
        return volume
    z, y, x = (float(value) for value in p.phantom_spacing.split(","))
    phantom = em_phantom(
        (p.phantom_planes, p.phantom_side, p.phantom_side),
        (z, y, x),
        n_neurites=p.phantom_neurites,
        unannotated=p.phantom_unannotated,
        missing_section=p.phantom_missing_section,
        planar=p.dims == 2,
        noise=p.phantom_noise,
        seed=p.seed if p.data_seed < 0 else p.data_seed,
    )
    return replace(phantom, intensity_range=p.grey_range)


def object_sizes(labels: np.ndarray) -> np.ndarray:
    """Voxels of every object of labels ``(*sp)``; 0 background, below 0 unknown."""
    return np.unique(labels[labels > 0], return_counts=True)[1]


def gap_planes(parameters: EMParameters, depth: int) -> int:
    """Unused planes between two parts of a volume of ``depth`` planes.

    Where the parameters do not say: 16 planes; in a thin volume a sixth of its planes (8 of 50), so that the
    two gaps never take more than a third of it; and 2 at least, also where every plane is a sample of its
    own: neighbouring sections show the same cells at nearly the same place.
    """
    if parameters.gap_planes >= 0:
        return parameters.gap_planes
    return max(LEAST_GAP, min(GAP, depth // 6))


def open_split(parameters: EMParameters, volume: EMVolume, run: RunDirectory, data: str) -> ZSplit:
    """The split that the parameters describe; frozen in the run directory with ``data``, the data's hash.

    Raises:
        ParameterError: fractions and gaps leave no plane to train on.
        ProtocolError: the run directory holds another split: one run, one test set.
    """
    p, depth = parameters, volume.shape[0]
    planes = [max(1, round(share * depth)) for share in (p.validation_fraction, p.test_fraction)]
    split = z_split(volume, *planes, gap=gap_planes(p, depth))
    frozen = asdict(split) | {"hash": split.hash, "test_hash": split.test_hash, "data": data}
    if run.split.exists() and read_json(run.split) != json.loads(json.dumps(frozen)):
        raise ProtocolError(
            f"{run.split} was frozen with another volume, fractions or gap: choose another name with the "
            "parameter 'run', or throw this run's results away with --force"
        )
    write_json(run.split, frozen)
    return split


def training_loader(
    parameters: VariantParameters, volume: EMVolume, loss: EMLoss, tasks: Sequence[str], seed: int
) -> EpochLoader:
    """Random crops of ``volume`` with targets and clicks, in batches that say what ``tasks`` can learn."""
    p = parameters
    crops = CropDataset(
        [volume],
        p.crop,
        p.crops_per_epoch,
        seed,
        targets=partial(
            em_targets,
            dir_target=p.dir_target,
            geometry=p.weight_geometry > 0,
            weight_edge=p.weight_edge,
            weight_bone=p.weight_bone,
        ),
        augment=p.augment,
        contact_membrane=p.contact_membrane,
        label_fraction=p.label_fraction,
        label_seed=p.seed,
        split_components=p.split_components,
        num_pos_points=p.num_pos_points,
        num_neg_points=p.num_neg_points,
        point_sample_mode=p.point_sample_mode,
        min_target_voxels=p.min_target_voxels,
    )
    join = partial(_batch, loss=loss, tasks=tuple(tasks))
    return EpochLoader(crops, ShuffledSampler(len(crops), seed), p.batch_size, join, p.workers)


def _batch(samples: Sequence[dict[str, Any]], loss: EMLoss, tasks: Sequence[str]) -> Batch:
    batch = collate(samples)
    return batch | {"valid_units": valid_units(loss, tasks, batch["labels"], batch["target_ids"])}
