"""Nuclei as GeoJSON that QuPath imports as objects.

Source of the layout: QuPath's documentation on importing and exporting GeoJSON (a FeatureCollection of
polygons in pixels, with ``objectType`` and ``classification``), RFC 7946.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import find_contours

from mtl.files import write_text

COLOUR = (0, 158, 115)


def write_nuclei_geojson(path: str | Path, instances: NDArray[np.integer], kind: str = "Nucleus") -> Path:
    """Write a polygon per nucleus ``(H, W)``, 0 background; replaces a file of this name in one step.

    Coordinates are pixels, (0, 0) the upper left corner of the upper left pixel, as in QuPath. A nucleus in
    several pieces is a MultiPolygon; holes are kept.
    """
    features = [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{Path(path).name}#{number}")),
            "geometry": geometry_of(instances, number, box),
            "properties": {
                "objectType": "detection",
                "name": f"{kind} {number}",
                "classification": {"name": kind, "color": list(COLOUR)},
            },
        }
        for number, box in enumerate(ndimage.find_objects(np.asarray(instances).astype(np.int32)), start=1)
        if box is not None
    ]
    write_text(path, json.dumps({"type": "FeatureCollection", "features": features}))
    return Path(path)


def geometry_of(instances: NDArray[np.integer], number: int, box: tuple[slice, ...]) -> dict[str, Any]:
    """Polygon or MultiPolygon of one nucleus in its box; it holds the centres of just the mask's pixels."""
    mask = np.asarray(instances[box]) == number
    pieces, n = ndimage.label(mask)
    corner = (box[0].start, box[1].start)
    polygons = [_rings(pieces == piece, corner) for piece in range(1, n + 1)]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _rings(piece: NDArray[np.bool_], corner: tuple[int, int]) -> list[list[list[float]]]:
    """The outer ring and those of holes, [x, y], closed; the outer one counter-clockwise (RFC 7946)."""
    contours = find_contours(np.pad(piece, 1).astype(float), 0.5)
    shifted = [np.round(c[:, ::-1] - 0.5 + np.array(corner)[::-1], 3) for c in contours]  # pad 1, centre 0.5
    shifted.sort(key=lambda ring: -abs(_area(ring)))
    wound = [ring if (_area(ring) > 0) == (k == 0) else ring[::-1] for k, ring in enumerate(shifted)]
    return [ring.tolist() for ring in wound]


def _area(ring: NDArray[np.floating]) -> float:
    """Signed area of a closed ring of (x, y)."""
    x, y = ring.T
    return float(0.5 * (x[:-1] * y[1:] - x[1:] * y[:-1]).sum())
