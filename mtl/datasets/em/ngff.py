"""The ``multiscales`` metadata of OME-NGFF: scale levels, axes, spacing in nm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mtl.datasets.em.zarr_arrays import child
from mtl.errors import DataError

NANOMETRES = {
    "angstrom": 0.1,
    "nanometer": 1.0,
    "micrometer": 1e3,
    "millimeter": 1e6,
    "meter": 1e9,
}
LEADING = ("t", "c")


@dataclass(frozen=True)
class Multiscales:
    """Checked metadata of one image: axes end in z, y, x, and every level has a path."""

    where: str
    axes: tuple[dict[str, Any], ...]
    datasets: tuple[dict[str, Any], ...]
    shared: tuple[dict[str, Any], ...]

    @property
    def n_levels(self) -> int:
        """How many scale levels there are."""
        return len(self.datasets)

    def key(self, level: int) -> str:
        """Key of a level's array; raises `DataError` for a level that does not exist."""
        if not 0 <= level < self.n_levels:
            raise DataError(f"{self.where}: has {self.n_levels} scale levels; level={level} does not exist")
        return str(self.datasets[level]["path"])

    def leading(self, shape: tuple[int, ...], channel: int) -> tuple[int, ...]:
        """Index of every axis before z: the first time point, the chosen channel."""
        if len(shape) != len(self.axes):
            raise DataError(
                f"{self.where}: array of shape {tuple(shape)} for the axes {self._names()}; expected one "
                "side per axis"
            )
        wanted = {"t": 0, "c": channel}
        indices = tuple(wanted[axis["name"]] for axis in self.axes[:-3])
        for axis, index, side in zip(self.axes, indices, shape, strict=False):
            if axis["name"] == "t" and side > 1:
                raise DataError(f"{self.where}: has {side} time points; expected a single volume")
            if index >= side:
                raise DataError(f"{self.where}: channel={index} does not exist among {side}")
        return indices

    def spacing(self, level: int) -> tuple[float, float, float] | None:
        """Spacing (z, y, x) of a level in nm: scale of the level x scale of the image x unit.

        ``None`` where no scale or no unit is stated.
        """
        scales = [
            np.asarray(step["scale"], dtype=float)
            for step in (*self.datasets[level].get("coordinateTransformations", ()), *self.shared)
            if step.get("type") == "scale" and "scale" in step
        ]
        units = [axis.get("unit") for axis in self.axes[-3:]]
        if not scales or None in units:
            return None
        unknown = [unit for unit in units if unit not in NANOMETRES]
        if unknown:
            raise DataError(
                f"{self.where}: axes in {unknown[0]!r}; expected one of {', '.join(NANOMETRES)}, or "
                "spacing=(z, y, x) in nm"
            )
        if any(len(scale) != len(self.axes) for scale in scales):
            raise DataError(f"{self.where}: expected one scale per axis {self._names()}")
        product = np.prod([scale[-3:] for scale in scales], axis=0)
        return tuple(float(s) * NANOMETRES[u] for s, u in zip(product, units, strict=True))  # type: ignore

    def _names(self) -> str:
        return ", ".join(str(axis["name"]) for axis in self.axes)


def attributes_of(node: Any) -> dict[str, Any]:
    """OME attributes of a group: under ``ome`` from version 0.5 on, at the top before."""
    attributes = dict(node.attrs)
    return dict(attributes.get("ome", attributes))


def multiscales_of(group: Any, where: str) -> Multiscales:
    """The first image of a group's ``multiscales``.

    Raises `DataError` where there is none (arrays in the group are listed), where axes are missing or do not
    end in z, y, x, or where a level has no array.
    """
    listed = attributes_of(group).get("multiscales")
    if not isinstance(listed, list) or not listed:
        keys = ", ".join(sorted(group.keys())) or "nothing"
        raise DataError(
            f"{where}: a Zarr group without OME-NGFF multiscales; expected these, or the key of an array "
            f"(the group holds {keys})"
        )
    first = listed[0]
    axes = tuple(axis if isinstance(axis, dict) else {"name": axis} for axis in first.get("axes", ()))
    names = [str(axis.get("name")) for axis in axes]
    if names[-3:] != ["z", "y", "x"] or any(name not in LEADING for name in names[:-3]):
        raise DataError(
            f"{where}: axes {', '.join(names) or 'not stated'}: wrong axis order; expected z, y, x at the "
            "end, after t and c at most"
        )
    datasets = tuple(first.get("datasets", ()))
    missing = [entry.get("path") for entry in datasets if child(group, str(entry.get("path")), where) is None]
    if missing or not datasets:
        raise DataError(f"{where}: expected an array for every scale level; missing: {missing or 'all'}")
    return Multiscales(where, axes, datasets, tuple(first.get("coordinateTransformations", ())))
