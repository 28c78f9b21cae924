r"""Where a patient annotator would click next: the simulated user, defined once for every arm.

With object T, present mask M, and the errors *missed* :math:`T \setminus M` and *falsely included*
:math:`(M \setminus T) \cap \text{known}`:

1. the **first** click is positive, at the maximum of the object's Euclidean distance transform (EDT);
2. every **next** click is at the EDT maximum of the largest connected error component (face neighbours, most
   voxels): positive where it is missed, negative where it is falsely included.

The EDT is in nanometres (``spacing``) and takes the edge of the view for a boundary, since nobody clicks
there. A voxel that was clicked before counts as outside of the component: an answer that ignores a click is
not asked the same again. Of equal maxima (and equal components) the first in scan order is taken, missed
before falsely included. Unknown voxels are no errors.

**Jitter** j in [0, 1]: the click is drawn uniformly from the component's voxels whose EDT is at least (1 - j)
of its maximum; 0 is the maximum itself, 1 any voxel of the component.

After Xu et al. 2016 (*Deep interactive object selection*) and the RITM protocol (Sofiiuk et al. 2022), for
3-D and anisotropic voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from mtl.errors import DataError, ParameterError

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Click:
    """One click: voxel (z, y, x) or (y, x), and whether it says "this belongs to the object"."""

    point: tuple[int, ...]
    positive: bool


@dataclass(frozen=True)
class SimulatedUser:
    """An annotator who sees the truth of one object and corrects the worst error first.

    Args:
        spacing: voxel size along each axis (nm), as many as the volume has dimensions.
        jitter: 0 (exact) to 1 (anywhere in the component).
        seed: of the jitter; nothing is drawn without it.
    """

    spacing: tuple[float, ...]
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.jitter <= 1:
            raise ParameterError(f"jitter = {self.jitter}: expected a number from 0 to 1")
        if not self.spacing or not all(0 < step < np.inf for step in self.spacing):
            raise ParameterError(f"spacing = {self.spacing}: expected a positive number (nm) for every axis")

    def next_click(
        self, truth: Mask, mask: Mask, clicks: Sequence[Click] = (), known: Mask | None = None
    ) -> Click | None:
        """The next click, or None where no error is left to click on.

        truth, mask (*sp) bool: the object and what is selected now; clicks: those given before, in order (the
        first click ignores ``mask``); known (*sp) bool: voxels whose truth is known, None: all.
        Raises DataError where shapes differ, spacing has another length, or the object is empty.
        """
        self._check(truth, mask)
        where = _bounds(truth | mask)
        origin = np.array([part.start for part in where])
        truth, mask = truth[where], mask[where]
        clickable = np.ones_like(truth) if known is None else known[where].copy()
        for click in clicks:
            inside = np.array(click.point) - origin
            if (inside >= 0).all() and (inside < truth.shape).all():
                clickable[tuple(inside)] = False
        first = truth & clickable, True
        part, positive = _largest_error(truth, mask, clickable) if clicks else first
        if not part.any():
            return None
        point = self._point_in(part, len(clicks))
        return Click(tuple(int(n) for n in point + origin), positive)

    def _point_in(self, part: Mask, number: int) -> NDArray[np.int64]:
        """Voxel of ``part``; click ``number`` has random numbers of its own."""
        distance = edt.edt(np.ascontiguousarray(part), anisotropy=self.spacing, black_border=True)
        flat = int(distance.argmax())
        if self.jitter > 0:
            rng = np.random.default_rng([self.seed, number])
            flat = int(rng.choice(np.flatnonzero(part & (distance >= (1 - self.jitter) * distance.max()))))
        return np.array(np.unravel_index(flat, part.shape))

    def _check(self, truth: Mask, mask: Mask) -> None:
        if truth.dtype != bool or mask.dtype != bool or truth.shape != mask.shape:
            raise DataError(
                f"object {truth.dtype} {truth.shape} and mask {mask.dtype} {mask.shape}: expected two "
                "boolean arrays of one shape"
            )
        if len(self.spacing) != truth.ndim:
            raise DataError(f"spacing {self.spacing} for a volume of {truth.ndim} dimensions")
        if not truth.any():
            raise DataError("the object to click on is empty")


def _largest_error(truth: Mask, mask: Mask, clickable: Mask) -> tuple[Mask, bool]:
    """The largest connected error, and whether it is missed (True) or falsely included (False)."""
    errors = truth & ~mask & clickable, mask & ~truth & clickable
    missed, false = (_largest_component(part) for part in errors)
    return (missed, True) if missed.sum() >= false.sum() else (false, False)


def _largest_component(errors: Mask) -> Mask:
    faces = 6 if errors.ndim == 3 else 4
    errors = np.ascontiguousarray(errors)
    components, count = cc3d.connected_components(errors, connectivity=faces, return_N=True)
    if count <= 1:
        return errors
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()


def _bounds(mask: Mask) -> tuple[slice, ...]:
    """The smallest box around ``mask``: outside of it there is neither object nor error."""
    axes = range(mask.ndim)
    lines = [mask.any(axis=tuple(a for a in axes if a != axis)) for axis in axes]
    return tuple(slice(int(line.argmax()), len(line) - int(line[::-1].argmax())) for line in lines)
