r"""Tiles of stained tissue that never was, with the exact outline of every nucleus.

Nuclei are wobbly ellipses. Pixel :math:`x` lies at the relative radius

.. math:: \rho_k(x) = \frac{\lVert A_k (x - c_k) \rVert}{r_k\,(1 + \sum_m a_m \cos(m\theta + \phi_m))}

of nucleus :math:`k` and belongs to the nucleus with the least :math:`\rho_k < 1`, so that touching and
overlapping nuclei part where a pathologist would draw the line. Colour follows the Beer-Lambert law,
:math:`I = \exp(-c_H\,o_H - c_E\,o_E)`, with the amounts of haematoxylin and eosin as smooth random textures
and the stains' vectors of Ruifrok and Johnston (2001). Things that are no nuclei lie about: dark debris, red
cells, nuclei out of focus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.color import rgb_from_hed

from mtl.datasets.histology.tiles import NucleiTile
from mtl.errors import ParameterError

SOURCE = "phantom"
SMALLEST = 40  # pixels: what an overlap leaves of a nucleus is one only if it is as large
HARMONICS = (2, 3, 5)
NEIGHBOUR = 0.9  # a touching nucleus lies at this share of the sum of both radii
APART = 1.15  # and others at this share or more


@dataclass(frozen=True)
class Stain:
    """How a slide was stained: optical densities (3,) of both stains, and the noise of its scan."""

    haematoxylin: np.ndarray
    eosin: np.ndarray
    noise: float


def histology_phantom(
    n_tiles: int = 24,
    side: int = 160,
    *,
    n_groups: int = 4,
    density: float = 1.0,
    touching: float = 0.35,
    stain_shift: float = 0.15,
    clutter: float = 1.0,
    radius: float = 8.0,
    seed: int = 0,
) -> list[NucleiTile]:
    """Tiles of ``n_groups`` slides in turn; the same arguments give the same tiles.

    Args:
        side: pixels along a side of a tile.
        density: 1: nuclei cover about a fifth of a tile.
        touching: share of nuclei that are placed against another one.
        stain_shift: how far the slides' stains lie from the textbook's and from one another; 0: all alike.
        clutter: amount of what is no nucleus; 0: none.
        radius: of a typical nucleus, in pixels.

    Raises:
        ParameterError: names the argument that is out of range.
    """
    _check(n_tiles, side, n_groups, density, touching, stain_shift, clutter, radius)
    stains = [slide_stain(stain_shift, np.random.default_rng([seed, 1, group])) for group in range(n_groups)]
    tiles = []
    for number in range(n_tiles):
        rng, group = np.random.default_rng([seed, 2, number]), number % n_groups
        instances, rho = grow_nuclei(side, density, touching, radius, rng)
        image = paint(instances, rho, stains[group], clutter, radius, rng)
        name = f"{SOURCE}/tile_{number:03d}"
        tiles.append(NucleiTile(name, image, instances, SOURCE, f"slide_{group}", "phantom"))
    return tiles


def slide_stain(shift: float, rng: np.random.Generator) -> Stain:
    """Stains of one slide: directions turned and amounts scaled at random, by ``shift``."""

    def one(vector: np.ndarray) -> np.ndarray:
        turned = np.maximum(vector + shift * rng.standard_normal(3) * 0.5, 0.02)
        return (
            turned / np.linalg.norm(turned) * np.linalg.norm(vector) * np.exp(shift * rng.standard_normal())
        )

    return Stain(
        one(rgb_from_hed[0]), one(rgb_from_hed[1]), 0.015 * float(np.exp(shift * rng.standard_normal()))
    )


def grow_nuclei(
    side: int, density: float, touching: float, radius: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Instances int32 ``(side, side)``, ids 1..N, and the relative radius of every pixel (inf outside)."""
    wanted = rng.poisson(density * 0.2 * side**2 / (np.pi * radius**2)) + 2
    centres, radii = _places(side, wanted, touching, radius, rng)
    owner, rho = np.zeros((side, side), np.int32), np.full((side, side), np.inf)
    for number, (centre, size) in enumerate(zip(centres, radii, strict=True), start=1):
        box, relative = _relative_radius(centre, size, side, rng)
        closer = relative < np.minimum(rho[box], 1.0)
        owner[box][closer], rho[box][closer] = number, relative[closer]
    return _without_crumbs(owner, rho)


def paint(
    instances: np.ndarray,
    rho: np.ndarray,
    stain: Stain,
    clutter: float,
    radius: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """The tile's picture: uint8 ``(side, side, 3)``."""
    shape = instances.shape
    eosin = 0.35 + 0.22 * _texture(shape, 12, rng) + 0.12 * _texture(shape, 2.5, rng)
    haematoxylin = 0.2 + clutter * (0.12 * _texture(shape, 9, rng) + 0.12 * _texture(shape, 2, rng))
    darkness = np.concatenate([[0.0], rng.uniform(0.4, 1.1, instances.max())])
    inside = instances > 0
    rim = np.where(inside, np.clip((rho - 0.7) / 0.3, 0, 1), 0)
    chromatin = 1 + 0.35 * _texture(shape, 1.2, rng) + 0.35 * rim
    haematoxylin = np.where(inside, darkness[instances] * chromatin, haematoxylin)
    eosin = np.where(inside, 0.5 * eosin, eosin)
    for dark, red in _clutter(shape, clutter, radius, inside, rng):
        haematoxylin, eosin = haematoxylin + dark, eosin + red
    amounts = [gaussian_filter(np.maximum(field, 0), 0.7) for field in (haematoxylin, eosin)]
    light = np.exp(-amounts[0][..., None] * stain.haematoxylin - amounts[1][..., None] * stain.eosin)
    light += stain.noise * rng.standard_normal(light.shape)
    return np.round(np.clip(light, 0, 1) * 255).astype(np.uint8)


def _places(
    side: int, wanted: int, touching: float, radius: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Centres ``(n, 2)`` and radii ``(n,)``; some lie against another nucleus, the others apart."""
    centres, radii = np.empty((0, 2)), np.empty(0)
    for _ in range(wanted):
        size = radius * float(np.exp(0.22 * rng.standard_normal()))
        against = len(centres) > 0 and rng.random() < touching
        for _attempt in range(20):
            if against:
                other = int(rng.integers(len(centres)))
                angle = rng.uniform(0, 2 * np.pi)
                step = NEIGHBOUR * (size + radii[other])
                place = centres[other] + step * np.array([np.sin(angle), np.cos(angle)])
            else:
                place = rng.uniform(0, side, 2)
            gaps = np.linalg.norm(centres - place, axis=1) / (radii + size)
            closest = NEIGHBOUR - 1e-9 if against else APART
            if ((place > 0) & (place < side)).all() and (gaps >= closest).all():
                centres, radii = np.vstack([centres, place]), np.append(radii, size)
                break
    return centres, radii


def _relative_radius(
    centre: np.ndarray, size: float, side: int, rng: np.random.Generator
) -> tuple[tuple[slice, slice], np.ndarray]:
    """A box around a nucleus and the relative radius of its pixels."""
    reach = int(2.2 * size) + 2
    low, high = (np.clip(np.round(centre).astype(int) + sign, 0, side) for sign in (-reach, reach + 1))
    box = slice(low[0], high[0]), slice(low[1], high[1])
    y, x = np.mgrid[box].astype(float)
    y, x = y - centre[0], x - centre[1]
    angle, stretch = rng.uniform(0, np.pi), float(np.exp(rng.uniform(0, 0.25)))
    along = (np.cos(angle) * x + np.sin(angle) * y) / stretch
    across = (np.cos(angle) * y - np.sin(angle) * x) * stretch
    theta, wobble = np.arctan2(across, along), np.ones_like(along)
    for order in HARMONICS:
        wobble += rng.uniform(0, 0.16 / order) * np.cos(order * theta + rng.uniform(0, 2 * np.pi))
    return box, np.hypot(along, across) / (size * wobble)


def _without_crumbs(owner: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nuclei numbered 1..N in one piece each; what overlaps left too small of is background."""
    from skimage.measure import label, regionprops

    pieces = label(owner, connectivity=1)
    kept = np.zeros(pieces.max() + 1, np.int32)
    largest: dict[int, tuple[int, int]] = {}
    for region in regionprops(pieces):
        nucleus = int(owner[tuple(region.coords[0])])
        largest[nucleus] = max(largest.get(nucleus, (0, 0)), (int(region.area), region.label))
    for number, (_, piece) in enumerate((best for best in largest.values() if best[0] >= SMALLEST), start=1):
        kept[piece] = number
    instances = kept[pieces]
    return instances, np.where(instances > 0, rho, np.inf)


def _clutter(
    shape: tuple[int, int], amount: float, radius: float, nuclei: np.ndarray, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both stains of what is no nucleus, outside the nuclei: debris, red cells, blurred shadows."""
    kinds = (  # number for a tile of 160 pixels, radius, haematoxylin, eosin, blur
        (8, 0.3 * radius, 1.0, 0.0, 0.6),
        (4, 0.7 * radius, 0.0, 0.9, 0.8),
        (7, 1.0 * radius, 0.6, 0.0, 0.3 * radius),
    )
    free = ~nuclei
    found = []
    for number, size, dark, red, blur in kinds:
        blobs = np.zeros(shape)
        y, x = np.mgrid[: shape[0], : shape[1]]
        for _ in range(rng.poisson(amount * number * shape[0] * shape[1] / 160**2)):
            centre, r = rng.uniform(0, 1, 2) * shape, size * rng.uniform(0.8, 1.2)
            blobs = np.maximum(blobs, np.hypot(y - centre[0], x - centre[1]) < r)
        blobs = gaussian_filter(blobs, blur) * free
        found.append((dark * blobs, red * blobs))
    return found


def _texture(shape: tuple[int, int], length: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance that changes over ``length`` pixels."""
    noise = gaussian_filter(rng.standard_normal(shape), length, mode="wrap")
    return noise / max(float(noise.std()), 1e-9)


def _check(
    n_tiles: int, side: int, n_groups: int, density: float, touching: float, shift: float, clutter: float,
    radius: float,
) -> None:  # fmt: skip
    rules = {
        f"n_tiles={n_tiles}: at least 1 is expected": n_tiles >= 1,
        f"side={side}: at least four radii ({4 * radius:g} pixels) are expected": side >= 4 * radius,
        f"n_groups={n_groups}: 1 to n_tiles={n_tiles} is expected": 1 <= n_groups <= n_tiles,
        f"density={density:g}: above 0 and at most 3 is expected": 0 < density <= 3,
        f"touching={touching:g}: 0 to 1 is expected": 0 <= touching <= 1,
        f"stain_shift={shift:g}: 0 to 1 is expected": 0 <= shift <= 1,
        f"clutter={clutter:g}: 0 or more is expected": clutter >= 0,
        f"radius={radius:g}: at least 4 pixels are expected": radius >= 4,
    }
    for message, holds in rules.items():
        if not holds:
            raise ParameterError(message)
