r"""One sparse table behind every instance metric: how many voxels each pair of instances shares, per block.

.. math:: n_{bij} = |\{x \in \text{block } b : \text{truth}(x) = i,\ \text{predicted}(x) = j\}|

**Unknown** voxels (``ignore_index`` in the truth) are in no count at all. **Background of the truth** (0) is
treated as ``background`` says:

``exclude``  its voxels are in no count either, as scikit-image's ``ignore_labels=(0,)`` and the SNEMI3D and
             CREMI challenges do it: membranes are not scored, and may be filled or not;
``segment``  it is one more segment for Rand and VOI, and counts in the unions of the object metrics.

**Background of the prediction** (0) inside counted voxels is one segment for Rand and VOI, and never an
object. Blocks are the units of the intervals: they are cut from the volume, so that neighbouring voxels,
which are anything but independent, are drawn together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import fastremap
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mtl.errors import DataError, ParameterError

Background = Literal["exclude", "segment"]
Labels = NDArray[np.integer]
THINNEST = 250.0  # nm of depth: planes nearer than that are cut through the same cells


@dataclass(frozen=True)
class Contingency:
    """Counts n_bij of the pairs that occur, one entry each.

    Attributes:
        block, truth, predicted: (N,) int64, indices into 0..B-1, ``truth_ids`` and ``predicted_ids``.
        count: (N,) int64 voxels.
        truth_ids (T,), predicted_ids (P,): instance ids; 0 is background.
        n_blocks: B.
    """

    block: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    count: NDArray[np.int64]
    truth_ids: NDArray[np.int64]
    predicted_ids: NDArray[np.int64]
    n_blocks: int

    @property
    def truth_sizes(self) -> NDArray[np.int64]:
        """Counted voxels (T,) of every true instance."""
        return _sums(self.truth, self.count, len(self.truth_ids))

    @property
    def predicted_sizes(self) -> NDArray[np.int64]:
        """Counted voxels (P,) of every predicted instance."""
        return _sums(self.predicted, self.count, len(self.predicted_ids))

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Truth index, predicted index and voxels of every pair over all blocks; and each entry's pair."""
        key = self.truth * len(self.predicted_ids) + self.predicted
        found, which = np.unique(key, return_inverse=True)
        truth, predicted = np.divmod(found, max(len(self.predicted_ids), 1))
        return truth, predicted, _sums(which, self.count, len(found)), which

    def by_block(self, column: NDArray[np.int64], n_columns: int) -> sparse.csr_array:
        """Voxels per block (B, n_columns), the entries gathered by ``column`` (N,)."""
        entries = (self.count.astype(float), (self.block, column))
        return sparse.coo_array(entries, shape=(self.n_blocks, n_columns)).tocsr()


def contingency(
    predicted: Labels,
    truth: Labels,
    *,
    blocks: Labels | None = None,
    background: Background = "exclude",
    ignore_index: int = -100,
) -> Contingency:
    """Count the pairs of two labellings in one pass.

    predicted (*sp): ids, 0 background. truth (*sp): ids, 0 background, ``ignore_index`` unknown.
    blocks (*sp): block numbers 0..B-1 (`cut_into_blocks`); None: one block.
    Raises DataError where shapes differ, ids are negative or not integers, or nothing known is left to count;
    ParameterError for an unknown ``background``.
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    _check(predicted, truth, background)
    counted = truth != ignore_index
    if background == "exclude":
        counted &= truth != 0
    if not counted.any():
        raise DataError(
            "nothing to evaluate: the truth holds no known voxel to count (all background/unknown)"
        )
    truth, predicted = truth[counted], predicted[counted]
    for name, labels in (("truth", truth), ("prediction", predicted)):
        if labels.min() < 0:
            raise DataError(f"the {name} holds the id {labels.min()}: expected 0 or more")
    truth_codes, truth_ids = _codes(truth)
    predicted_codes, predicted_ids = _codes(predicted)
    block = np.zeros(1, np.int64) if blocks is None else np.asarray(blocks)[counted].astype(np.int64)
    key = (block * len(truth_ids) + truth_codes) * len(predicted_ids) + predicted_codes
    found, count = fastremap.unique(key, return_counts=True)
    rest, predicted_index = np.divmod(found, len(predicted_ids))
    block_index, truth_index = np.divmod(rest, len(truth_ids))
    n_blocks = 1 if blocks is None else int(np.asarray(blocks).max()) + 1
    return Contingency(
        block_index, truth_index, predicted_index, count.astype(np.int64), truth_ids, predicted_ids, n_blocks
    )


def cut_into_blocks(shape: Sequence[int], parts: Sequence[int]) -> NDArray[np.int32]:
    """Block numbers (*shape): every axis cut into that many parts of (nearly) equal length.

    Raises ParameterError unless there is one number of parts, from 1 to its length, for every axis.
    """
    if len(parts) != len(shape) or any(not 1 <= part <= n for part, n in zip(parts, shape, strict=False)):
        raise ParameterError(
            f"parts = {tuple(parts)}: expected a number from 1 to its length per axis of {shape}"
        )
    blocks = np.zeros((1,) * len(shape), np.int32)
    for axis, (part, length) in enumerate(zip(parts, shape, strict=True)):
        along = (np.arange(length) * part // length).astype(np.int32)
        blocks = blocks * part + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return blocks


def usual_parts(shape: Sequence[int], depth: float | None = None, planar: bool = False) -> tuple[int, ...]:
    """Parts per axis for `cut_into_blocks`: 3 per axis in 3-D, 4 per axis in 2-D, fewer on tiny axes.

    depth: of a volume in nm; it is cut only into slabs of ``THINNEST`` or more, because thin ones show the
    same cells and are hardly more than copies of one another; where it is not cut at all, the plane is cut
    as in 2-D.
    None: not known. planar: a stack of 2-D samples is cut into columns through all planes, for the same
    reason.
    """
    if planar:
        return (1, *usual_parts(shape[1:]))
    if len(shape) == 3 and depth is not None:
        slabs = min(3, max(1, int(depth / THINNEST)), shape[0])
        return slabs, *(min(4 if slabs == 1 else 3, length) for length in shape[1:])
    return tuple(min(3 if len(shape) == 3 else 4, length) for length in shape)


def _codes(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (n,) into the ids that occur, and these ids, rising."""
    labels = labels.astype(labels.dtype.newbyteorder("="), copy=False)  # as fastremap needs it
    ids = fastremap.unique(labels)
    if ids[-1] < 4 * len(labels):  # a table over all possible ids is faster than a search
        position = np.zeros(int(ids[-1]) + 1, np.int64)
        position[ids] = np.arange(len(ids))
        return position[labels], ids.astype(np.int64)
    return np.searchsorted(ids, labels), ids.astype(np.int64)


def _sums(index: NDArray[np.int64], count: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return np.bincount(index, weights=count, minlength=length).astype(np.int64)


def _check(predicted: Labels, truth: Labels, background: str) -> None:
    if predicted.shape != truth.shape:
        raise DataError(f"prediction {predicted.shape} and truth {truth.shape}: expected one shape")
    for name, labels in (("prediction", predicted), ("truth", truth)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise DataError(f"the {name} is {labels.dtype}: expected integer instance ids")
    if background not in ("exclude", "segment"):
        raise ParameterError(f"background = {background!r}: expected 'exclude' or 'segment'")
