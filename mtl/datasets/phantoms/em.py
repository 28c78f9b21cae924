r"""The em phantom: neuropil with dark membranes and organelles, and its labels to the voxel.

Grey values follow what an osmium-stained section shows: light cytoplasm whose shade differs between
neurites, membranes dark but for faint places, as dark the endoplasmic reticulum and the walls and cristae of
mitochondria, vesicles as dark rings in swellings; then blur, shading across the field, a brightness of each
section's own, and grainy noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from mtl.datasets.em.label_changes import relabel, split_components
from mtl.datasets.em.tiff import plane_components
from mtl.datasets.em.volumes import UNKNOWN, EMVolume
from mtl.datasets.phantoms.em_organelles import draw_mitochondria, draw_reticulum, draw_vesicles
from mtl.datasets.phantoms.em_tissue import (
    cells,
    distance_to_neighbour,
    grow_neurites,
    number_for,
    smooth_noise,
    without_slivers,
)
from mtl.errors import ParameterError

CYTOPLASM, SHADES = 0.7, 0.045
MEMBRANE, FAINT = 0.2, 0.1
HALF_MEMBRANE = 13.0  # nm: two membranes and the cleft between them are some 25 nm thick
RADIUS, RADIUS_PIXELS = 75.0, 8  # the usual neurite: whichever is more, nm or pixels
FEWEST = 12
CRUMB = 20  # voxels: smaller pieces that membranes cut off are no instances
GRAIN, CLOTS = 0.045, 0.035  # usual noise: of single voxels, and of clots of a few in a plane
BLOCKS = 4  # a side of the grid of blocks that may stay unannotated


def em_phantom(
    shape: Sequence[int] = (48, 128, 128),
    spacing: Sequence[float] = (10.0, 10.0, 10.0),
    n_neurites: int | None = None,
    seed: int = 0,
    unannotated: float = 0.0,
    missing_section: bool = False,
    planar: bool = False,
    noise: float = 1.0,
    name: str = "phantom",
) -> EMVolume:
    """A made-up volume: image uint8 and labels int64 (z, y, x); the same arguments give the same voxels.

    Labels: 0 membranes, 1..K connected neurites of at least 20 voxels, -100 in the share ``unannotated`` of
    a grid of blocks. ``missing_section``: one plane in the middle third of the image is black (its labels
    are known). ``planar``: instances are the components of each plane, as in ISBI 2012.
    ``noise``: times that of a carefully recorded volume; 3 is that of a fast one.
    ``n_neurites``: how many pass through the box; it sets how thick they are. Without it as many as make
    their typical radius 75 nm, or 8 pixels where that is more, but 12 at least.

    Raises `ParameterError` for a shape below (4, 16, 16), spacing that is not positive, no neurite,
    ``unannotated`` outside [0, 1), or negative ``noise``.
    """
    shape, spacing = tuple(int(side) for side in shape), tuple(float(step) for step in spacing)
    _check(shape, spacing, n_neurites, unannotated, noise)
    rng = np.random.default_rng([seed, 20_121])
    steps = np.array(spacing)
    half = max(HALF_MEMBRANE, 1.05 * min(spacing[1:]))  # one voxel at least, never a whole thick section
    extent = np.array(shape) * steps
    neurites = grow_neurites(extent, n_neurites or _usual_number(extent, spacing), rng)
    owner = without_slivers(cells(neurites, shape, steps, rng), spacing, half)
    depth = distance_to_neighbour(owner, spacing)
    membrane = depth <= half
    image = _cytoplasm(owner, steps, rng)
    image = draw_reticulum(image, depth, steps, rng)
    image = draw_mitochondria(image, owner, depth, neurites, steps, rng)
    image = draw_vesicles(image, depth, steps, rng)
    image = np.where(membrane, _membranes(shape, steps, rng), image)
    pixels = _recorded(image, steps, noise, rng)
    labels = _instances(np.where(membrane, 0, owner), planar)
    if missing_section:
        pixels[int(rng.integers(shape[0] // 3, 2 * shape[0] // 3 + 1))] = 0
    labels = _unannotated(labels, unannotated, rng)
    return EMVolume(name, pixels, labels, spacing, planar=planar)  # type: ignore[arg-type]


def _usual_number(extent: np.ndarray, spacing: tuple[float, ...]) -> int:
    return max(FEWEST, number_for(extent, max(RADIUS, RADIUS_PIXELS * min(spacing[1:]))))


def _cytoplasm(owner: np.ndarray, steps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each neurite in its shade, with the faint clouds of filaments and proteins."""
    shades = CYTOPLASM + SHADES * rng.standard_normal(int(owner.max()) + 1)
    clouds = 0.03 * smooth_noise(owner.shape, steps, 60.0, rng)
    return (shades[owner] + clouds).astype(np.float32)


def _membranes(shape: tuple[int, ...], steps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark, and faint in places, as where the section cuts them obliquely."""
    texture = 0.04 * smooth_noise(shape, steps, 150.0, rng)
    faint = np.clip(smooth_noise(shape, steps, 200.0, rng) - 0.8, 0, 1)
    return MEMBRANE + texture + FAINT * faint


def _recorded(image: np.ndarray, steps: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """What the microscope makes of it: blur, shading, brightness per section, noise; uint8."""
    finest = steps.min()
    seen = gaussian_filter(image, 0.75 * finest / steps)
    seen += 0.02 * smooth_noise(image.shape, steps, float(2 * (steps * image.shape).max()), rng)
    sections = 0.035 if steps[0] > 2 * finest else 0.008
    seen += sections * rng.standard_normal((image.shape[0], 1, 1)).astype(np.float32)
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    blurred = gaussian_filter(rng.standard_normal(image.shape, dtype=np.float32), (0, 0.9, 0.9)) * 3.2
    seen += noise * (GRAIN * grain + CLOTS * blurred)
    return (np.clip(seen, 0, 1) * 255).astype(np.uint8)


def _instances(labels: np.ndarray, planar: bool) -> np.ndarray:
    """Connected instances, without crumbs; in every plane for itself if ``planar``."""
    inside = plane_components(labels > 0) if planar else split_components(labels.astype(np.int64))
    sizes = np.bincount(inside.ravel())
    return relabel(np.where(sizes[inside] >= CRUMB, inside, 0))


def _unannotated(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Labels with the share of blocks that nobody annotated set to unknown."""
    if share <= 0:
        return labels
    counts = [min(BLOCKS, side) for side in labels.shape]
    n_blocks = int(np.prod(counts))
    n_unknown = min(max(1, round(share * n_blocks)), n_blocks - 1)
    unknown = np.zeros(n_blocks, bool)
    unknown[rng.permutation(n_blocks)[:n_unknown]] = True
    lines = [np.arange(side) * count // side for side, count in zip(labels.shape, counts, strict=True)]
    return np.where(unknown.reshape(counts)[np.ix_(*lines)], UNKNOWN, labels)


def _check(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    n_neurites: int | None,
    unannotated: float,
    noise: float,
) -> None:
    rules = {
        f"shape={shape} must be (z, y, x), at least (4, 16, 16)": len(shape) == 3
        and shape[0] >= 4
        and min(shape[1:]) >= 16,
        f"spacing={spacing} must be three positive numbers (z, y, x) in nm": len(spacing) == 3
        and min(spacing) > 0,
        f"n_neurites={n_neurites} must be at least 1": n_neurites is None or n_neurites >= 1,
        f"unannotated={unannotated} must lie in [0, 1)": 0 <= unannotated < 1,
        f"noise={noise} must be finite and not negative": 0 <= noise < np.inf,
    }
    for message, holds in rules.items():
        if not holds:
            raise ParameterError(message)
