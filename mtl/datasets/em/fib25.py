"""The FIB-25 sample of NeuroProof: planes, supervoxels, and the table that maps supervoxels to bodies.

Sources: Takemura et al., PNAS 2015; Parag et al., PLoS ONE 2015; janelia-flyem/neuroproof_examples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mtl.datasets.em.lazy_arrays import Hdf5Array
from mtl.datasets.em.planes import read_planes
from mtl.datasets.em.volume_checks import check_labels
from mtl.datasets.em.volumes import EMVolume
from mtl.errors import DataError

SPACING = (10.0, 10.0, 10.0)
SAMPLE, PLANES, TRUTH = "training_sample2", "grayscale_maps", "groundtruth.h5"


def read_fib25(folder: str | Path, name: str = "fib25") -> EMVolume:
    """``grayscale_maps/iso.NNNN.png`` and ``groundtruth.h5`` (``stack``, ``transforms``), 10 nm isotropic.

    ``folder`` is that of the sample or its parent. Instance ids are ``transforms`` applied to ``stack``:
    bodies, not supervoxels; they are sparse. Body 0 is unknown (some single voxels in a corner). There is no
    membrane label, neighbours touch.

    Raises `DataError` naming file and key: something missing or damaged, planes that do not fit ``stack``,
    ``transforms`` that is no n x 2 table, lists a supervoxel twice, or lacks one of ``stack``.
    """
    folder = Path(folder) / SAMPLE if (Path(folder) / SAMPLE).is_dir() else Path(folder)
    stack = Hdf5Array(folder / TRUTH, "stack")
    image = read_planes(folder / PLANES)
    check_labels(stack, image, str(stack), str(folder / PLANES))
    bodies = _bodies(np.asarray(stack[:]), Hdf5Array(folder / TRUTH, "transforms"), str(stack))
    return EMVolume(name, image, bodies, SPACING, unknown_ids=(0,))


def _bodies(supervoxels: np.ndarray, transforms: Hdf5Array, where: str) -> np.ndarray:
    if len(transforms.shape) != 2 or transforms.shape[1] != 2 or transforms.shape[0] == 0:
        raise DataError(f"{transforms} has shape {transforms.shape}; expected n rows (supervoxel, body)")
    if not np.issubdtype(transforms.dtype, np.integer):
        raise DataError(f"{transforms} has dtype {transforms.dtype}; expected integer ids")
    table = transforms[:].astype(np.int64)
    table = table[np.argsort(table[:, 0], kind="stable")]
    if (np.diff(table[:, 0]) == 0).any():
        twice = table[:-1][np.diff(table[:, 0]) == 0][0, 0]
        raise DataError(f"{transforms} lists supervoxel {twice} twice; expected one body per supervoxel")
    position = np.searchsorted(table[:, 0], supervoxels).clip(max=len(table) - 1)
    unmapped = table[position, 0] != supervoxels
    if unmapped.any():
        raise DataError(
            f"{where} holds supervoxel {supervoxels[unmapped][0]}, which {transforms} lacks; expected a row "
            "for every supervoxel"
        )
    return table[position, 1]
