"""Draws one FLAIR-like axial slice of a made-up head: scalp, bone, cortex with folds, ventricles, lesion.

Every structure is a smooth function of place and of ``height`` (0 base .. 1 vertex), so that slices of one
head belong together; fields of smooth noise give the irregularity. All lengths are in units of half the
slice's shorter side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Head:
    """What makes a head an individual; ``seed`` fixes its folds and outline."""

    seed: int
    half_width: float
    half_length: float
    tilt: float
    shift: tuple[float, float]
    ventricles: float
    fold_depth: float
    cortex: float
    spots: int


@dataclass(frozen=True)
class Lesion:
    """A tumour with oedema: an ellipsoid in (x, y, height) whose border is roughened by noise."""

    seed: int
    centre: tuple[float, float, float]
    radius: float
    elongation: float
    contrast: float
    necrosis: float
    roughness: float


@dataclass(frozen=True)
class Scanner:
    """How a head is recorded: skull, padding, grey scale, noise, shading and sharpness."""

    scalp: float
    scalp_thickness: float
    bone_thickness: float
    aspect: float
    zoom: float
    gain: float
    noise: float
    shading: float
    blur: float


def random_head(rng: np.random.Generator) -> Head:
    """Draw a head."""
    return Head(
        seed=int(rng.integers(2**31)),
        half_width=rng.uniform(0.62, 0.74),
        half_length=rng.uniform(0.78, 0.88),
        tilt=rng.normal(0, 0.07),
        shift=(rng.normal(0, 0.03), rng.normal(0, 0.03)),
        ventricles=rng.uniform(0.6, 1.5),
        fold_depth=rng.uniform(0.16, 0.3),
        cortex=rng.uniform(0.05, 0.2),
        spots=int(rng.integers(0, 5)),
    )


def random_lesion(rng: np.random.Generator) -> Lesion:
    """Draw a lesion; two in five are small and faint."""
    side, angle = rng.choice([-1, 1]), rng.uniform(-1.2, 1.2)
    reach = rng.uniform(0.22, 0.42)
    faint = rng.random() < 0.4
    return Lesion(
        seed=int(rng.integers(2**31)),
        centre=(side * reach * np.cos(angle), 1.2 * reach * np.sin(angle), rng.uniform(0.35, 0.65)),
        radius=rng.uniform(0.11, 0.2) if faint else rng.uniform(0.15, 0.34),
        elongation=rng.uniform(0.7, 1.4),
        contrast=rng.uniform(0.07, 0.17) if faint else rng.uniform(0.2, 0.5),
        necrosis=rng.choice([0.0, 0.0, rng.uniform(0.2, 0.5)]),
        roughness=rng.uniform(0.25, 0.6),
    )


def draw_slice(
    head: Head, lesion: Lesion | None, height: float, scanner: Scanner, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one slice: image float32 ``(H, W)`` in the scanner's units, lesion mask uint8 ``(H, W)``.

    The shorter side has ``size`` pixels. ``seed`` drives the noise of this recording alone.
    """
    x, y = _coordinates(head, scanner, size)
    fields = np.random.default_rng(head.seed)
    level = 1 - 0.75 * (height - 0.45) ** 2 * (4 if height > 0.45 else 1.5)
    skin = _outline(fields, head, level, x, y)
    uneven = 1 + 0.3 * _between(fields, x.shape, 3, height)
    depth = skin - (scanner.scalp_thickness + scanner.bone_thickness) * (0.85 + 0.15 * uneven)
    image = _shell(skin, scanner, np.maximum(uneven, 0.3))
    brain = _step(depth, 0.012)
    tissue, white, solid = _tissue(fields, head, depth, x, y, height)
    mask = np.zeros(x.shape, bool)
    if lesion is not None:
        tissue, mask = _with_lesion(lesion, tissue, white, solid * brain, x, y, height)
    image = image * (1 - brain) + tissue * brain
    return _recorded(image, scanner, seed), mask.astype(np.uint8)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> np.ndarray:
    """Gaussian-like noise, float32 ``shape``, unit variance, with about ``cells`` bumps a side."""
    # A smoothed finer grid is isotropic; a coarse one would show its rows and columns.
    grid = gaussian_filter(rng.standard_normal((3 * cells, 3 * cells)), 1.5, mode="wrap")
    picture = Image.fromarray(grid.astype(np.float32))
    field = np.asarray(picture.resize(shape[::-1], Image.Resampling.BICUBIC))
    return (field - field.mean()) / field.std()


def _coordinates(head: Head, scanner: Scanner, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Head coordinates of the pixels: x to the left ear, y to the back, turned and shifted."""
    rows, columns = (
        (round(size * scanner.aspect), size) if scanner.aspect >= 1 else (size, round(size / scanner.aspect))
    )
    across = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) / (size / 2) * scanner.zoom
    down = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) / (size / 2) * scanner.zoom
    y, x = np.meshgrid(down - head.shift[1], across - head.shift[0], indexing="ij")
    cos, sin = np.float32(np.cos(head.tilt)), np.float32(np.sin(head.tilt))
    return cos * x + sin * y, cos * y - sin * x


def _outline(
    fields: np.random.Generator, head: Head, level: float, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Depth under the skin (negative outside), with a slightly irregular outline."""
    angle = np.arctan2(y, x)
    waves = fields.normal(0, 1, (2, 4)) / np.array([80, 60, 110, 160])
    ripple = sum(a * np.cos(k * angle) + b * np.sin(k * angle) for k, (a, b) in enumerate(waves.T, start=1))
    wide = head.half_width * (1 + 0.06 * y)
    radius = np.hypot(x / wide, y / head.half_length) / (level * (1 + ripple))
    return ((1 - radius) * head.half_width * level).astype(np.float32)


def _shell(skin: np.ndarray, scanner: Scanner, uneven: np.ndarray) -> np.ndarray:
    """Scalp of uneven thickness, dark bone with marrow, dark fluid below."""
    scalp = _step(skin, 0.012) - _step(skin - scanner.scalp_thickness * uneven, 0.02)
    middle = scanner.scalp_thickness + scanner.bone_thickness / 2
    marrow = np.exp(-(((skin - middle) / (0.3 * scanner.bone_thickness + 1e-6)) ** 2))
    return scanner.scalp * scalp + 0.16 * marrow * (skin > 0) + 0.05 * _step(skin, 0.01)


def _tissue(
    fields: np.random.Generator, head: Head, depth: np.ndarray, x: np.ndarray, y: np.ndarray, height: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grey and white matter, sulci, midline, ventricles: intensities, shares of white and of solid tissue."""
    folds = _between(fields, x.shape, 15, height)
    finer = _between(fields, x.shape, 28, height)
    wave = folds + 0.5 * finer
    reach = head.fold_depth * (0.75 + 0.35 * _between(fields, x.shape, 9, height))
    sulcus = np.exp(-((wave / 0.22) ** 2)) * _step(reach - depth, 0.05)
    ribbon = 0.06 + 0.11 * np.exp(-((wave / 0.5) ** 2)) * (depth < 1.2 * reach)
    white = _step(depth - ribbon, 0.025)
    tissue = 0.5 + head.cortex * (1 - white) + 0.03 * _between(fields, x.shape, 6, height)
    tissue = tissue - 0.36 * sulcus
    tissue = tissue - 0.3 * np.exp(-(((x + 0.012 * wave) / 0.012) ** 2)) * (np.abs(y) > 0.24)
    tissue = tissue + 0.07 * _deep_nuclei(x, y, height)
    tissue = tissue + _spots(fields, head, x, y) * white
    fluid, caps = _ventricles(head, x, y, height, folds)
    return (tissue + 0.1 * caps) * (1 - fluid) + 0.12 * fluid, white, 1 - fluid


def _ventricles(
    head: Head, x: np.ndarray, y: np.ndarray, height: float, rough: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the lateral ventricles, two mirrored crescents, and of the bright caps at their horns."""
    scale = head.ventricles * np.exp(-(((height - 0.5) / 0.22) ** 2))
    bend = 0.07 + 0.55 * (np.abs(y + 0.02)) ** 1.6
    narrow, long = 0.06 * scale + 1e-3, 0.31 * scale**0.5 + 1e-3
    inside = 1 - np.hypot((np.abs(x) - 0.8 * bend) / narrow, (y + 0.01) / long) + 0.1 * rough
    caps = np.exp(-((inside + 0.25) ** 2) / 0.04) * (np.abs(y) > 0.18 * scale) * min(scale, 1)
    return _step(inside, 0.12), caps


def _deep_nuclei(x: np.ndarray, y: np.ndarray, height: float) -> np.ndarray:
    """Thalami and basal ganglia: slightly brighter pairs near the ventricles, low in the head."""
    pair = np.exp(-((((np.abs(x) - 0.16) / 0.09) ** 2 + ((y - 0.06) / 0.14) ** 2) ** 2))
    pair = pair + np.exp(-((((np.abs(x) - 0.27) / 0.05) ** 2 + ((y + 0.06) / 0.17) ** 2) ** 2))
    return pair * np.exp(-(((height - 0.4) / 0.15) ** 2))


def _spots(fields: np.random.Generator, head: Head, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Harmless bright spots in the white matter: what makes a lesion detector work for its score."""
    total = np.zeros_like(x)
    for _ in range(head.spots):
        centre, radius = fields.uniform(-0.4, 0.4, 2), fields.uniform(0.02, 0.06)
        total += fields.uniform(0.08, 0.3) * np.exp(
            -(((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / radius**2)
        )
    return total


def _with_lesion(
    lesion: Lesion,
    tissue: np.ndarray,
    white: np.ndarray,
    solid: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    height: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Add the lesion; its mask is where its level function is positive, in the solid part of the brain."""
    rng = np.random.default_rng(lesion.seed)
    across, along, up = lesion.centre
    warp = lesion.roughness * lesion.radius
    dx = x - across + warp * _between(rng, x.shape, 8, height)
    dy = y - along + warp * _between(rng, x.shape, 8, height)
    distance = np.sqrt(
        (dx * lesion.elongation) ** 2 + (dy / lesion.elongation) ** 2 + (0.6 * (height - up)) ** 2
    )
    fingers = _between(rng, x.shape, 22, height) * (0.3 + 0.7 * (1 - white))
    inside = 1 - distance / lesion.radius + 0.4 * lesion.roughness * fingers
    inside = np.where(distance < 0.3 * lesion.radius, np.maximum(inside, 0.3), inside)
    inside = np.where(distance > 1.5 * lesion.radius, -1, inside)
    mask = (inside > 0) & (solid > 0.5)
    bright = lesion.contrast * (1 + 0.25 * _between(rng, x.shape, 10, height))
    swollen = tissue + 0.5 * _step(inside, 0.3) * np.maximum(0.5 - tissue, 0)
    lifted = swollen + bright * _step(inside, 0.07) * solid
    core = _step(inside - (1 - lesion.necrosis), 0.08) * solid if lesion.necrosis else np.zeros_like(inside)
    return np.where(solid > 0, lifted * (1 - core) + 0.28 * core, tissue), mask


def _between(rng: np.random.Generator, shape: tuple[int, ...], cells: int, height: float) -> np.ndarray:
    """Smooth noise that turns slowly into other noise as ``height`` rises."""
    first, second = smooth_noise(rng, shape, cells), smooth_noise(rng, shape, cells)
    return np.cos(3 * height) * first + np.sin(3 * height) * second


def _step(value: np.ndarray, width: float) -> np.ndarray:
    """0 below, 1 above, soft over ``width``: partial volume at a border."""
    return np.clip(value / width + 0.5, 0, 1)


def _recorded(image: np.ndarray, scanner: Scanner, seed: int) -> np.ndarray:
    """Shading, blur and Rician noise, in the scanner's units."""
    rng = np.random.default_rng(seed)
    shaded = image * np.exp(scanner.shading * smooth_noise(rng, image.shape, 2))
    blurred = gaussian_filter(shaded, scanner.blur * image.shape[1] / 128)
    real, imaginary = scanner.noise * rng.standard_normal((2, *image.shape), dtype=np.float32)
    return (scanner.gain * np.hypot(blurred + real, imaginary)).astype(np.float32)
