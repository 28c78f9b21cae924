r"""Voxel weights of the instance loss: :math:`w = e\,b`, high at boundaries and along the medial axis.

.. math:: e = \begin{cases} w_\mathrm{edge} & \text{another id in the } 3^S \text{ neighbourhood} \\
          1 & \text{else} \end{cases} \qquad
          b = 1 + (w_\mathrm{bone} - 1)\, D / \max_\mathrm{instance} D
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtl.errors import ParameterError
from mtl.targets.instances import Instances


def boundary_voxels(instances: Instances) -> NDArray[np.bool_]:
    """``(*sp)``: instance voxels with another id, background included, in their 3^S neighbourhood.

    Faces of the crop are no boundaries.
    """
    ids = instances.ids
    uniform = np.ones(ids.shape, bool)  # neighbourhood of one id, along the axes seen so far
    for axis in range(ids.ndim):
        here, there = np.moveaxis(ids, axis, 0), np.moveaxis(uniform, axis, 0)
        same = here[1:] == here[:-1]
        before, grown = there.copy(), there
        grown[1:] &= same & before[:-1]
        grown[:-1] &= same & before[1:]
    return ~uniform & (ids > 0)


def edge_and_bone(
    instances: Instances, weight_edge: float = 10.0, weight_bone: float = 10.0
) -> NDArray[np.float32]:
    """``(*sp)`` weights; 0 in background and unknown. An instance that fills the crop has weight 1.

    Raises ParameterError for a weight below 0 or not finite.
    """
    for name, value in (("weight_edge", weight_edge), ("weight_bone", weight_bone)):
        if not 0 <= value < np.inf:
            raise ParameterError(f"{name} = {value}: a finite number from 0 on is expected")
    weight = 1 + np.float32(weight_bone - 1) * instances.relative_distance
    weight *= np.where(boundary_voxels(instances), np.float32(weight_edge), np.float32(1))
    weight *= instances.ids > 0
    return weight
