"""How much of the training part a variant's network is told: what ``label_fraction`` came to."""

from __future__ import annotations

from typing import Any

import fastremap
import numpy as np

from mtl.studies.em.study import EMStudy


def labelled_share(study: EMStudy, variant: str) -> dict[str, Any]:
    """Objects and voxels of the training part that the variant's crops hold a label of.

    ``label_fraction`` is a chance per object, so the share that came out is another one, and another again
    among voxels, since objects differ in size.

    An object so thin that the line drawn between touching objects covers it is not labelled either.

    Returns:
        ``asked`` (the parameter), ``labelled`` and ``objects`` (numbers), ``objects_share``,
        ``foreground_share`` (of the annotated objects' voxels), ``line_share`` (of these voxels, taught as
        background: the line between touching objects) and ``known_share`` (of all voxels of the part,
        background included).
    """
    part, crops = study.parts["train"], study.crops(variant)
    return {"asked": crops.label_fraction} | shares(part.read_labels(part.box), crops.annotated(part))


def shares(labels: np.ndarray, annotated: np.ndarray) -> dict[str, Any]:
    """The shares of `labelled_share`, from labels int ``(*sp)`` before and after (0 background, < 0 unknown).

    Borders drawn between touching objects are no lost voxels: an object's voxel counts as labelled where it
    is known afterwards, as object or as border.
    """
    objects, kept = (int((fastremap.unique(found) > 0).sum()) for found in (labels, annotated))
    inside = labels > 0
    return {
        "labelled": kept,
        "objects": objects,
        "objects_share": kept / max(objects, 1),
        "foreground_share": float((annotated[inside] >= 0).mean()) if objects else 0.0,
        "line_share": float((annotated[inside] == 0).mean()) if objects else 0.0,
        "known_share": float((annotated >= 0).mean()),
    }
