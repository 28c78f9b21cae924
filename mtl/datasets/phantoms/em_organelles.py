"""Mitochondria, reticulum and vesicles drawn into made-up neurites. Lengths in nm, grey values in [0, 1]."""

from __future__ import annotations

import numpy as np

from mtl.datasets.phantoms.em_tissue import Neurites, smooth_noise

WALL, MATRIX, CRISTAE = 0.24, 0.4, 0.09
WALL_WIDTH = 14.0
CRISTA_PERIOD = 45.0
HALO = 22.0  # of cytoplasm between an organelle and its neurite's membrane
ROOM = 60.0  # a place must be this far from the next neurite to hold a mitochondrion or a terminal
MITOCHONDRION_EVERY = 1.8e7  # nm^3 of such places
TERMINAL_EVERY = 3e7
VESICLE_EVERY = 1.5e6  # nm^3 of neurite away from its membrane
VESICLE_RADIUS, VESICLES = 20.0, 40
RETICULUM, RETICULUM_HALF = 0.3, 8.0  # grey value, half a sheet's thickness
SHEET_EVERY, PATCH = 160.0, 350.0  # how far apart sheets lie, and how long they run
PATCHES = 0.4  # standard deviations above which there are sheets: in a third of the cytoplasm


def draw_mitochondria(
    image: np.ndarray,
    owner: np.ndarray,
    depth: np.ndarray,
    neurites: Neurites,
    steps: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Sausages along thick neurites: dark wall, grey matrix, folded cristae; they stay inside their cell."""
    image, taken = image.copy(), np.zeros(image.shape, bool)
    for centre in _centres(depth, steps, MITOCHONDRION_EVERY, rng):
        index = tuple((centre / steps).astype(int))
        thickness = float(np.clip(depth[index] * rng.uniform(0.5, 0.72), 45, 150))
        half_length = thickness * rng.uniform(1.3, 3.2)
        axis = _tangent_at(neurites, centre)
        box, offset = _box_around(centre, half_length + 1.2 * thickness, image.shape, steps)
        lengthwise = offset @ axis
        ripple = 1 + 0.12 * np.sin(lengthwise / (1.3 * thickness) + rng.uniform(0, 6))
        nearest = np.clip(lengthwise, -half_length, half_length)[..., None] * axis
        gap = np.linalg.norm(offset - nearest, axis=-1) - thickness * ripple
        body = (gap < 0) & (owner[box] == owner[index]) & (depth[box] > HALO)
        if (body & taken[box]).any():
            continue
        bend = 0.9 * smooth_noise(gap.shape, steps, 2 * CRISTA_PERIOD, rng)
        wave = np.sin(2 * np.pi * (lengthwise + 0.4 * gap) / CRISTA_PERIOD + bend)
        look = np.where(gap > -WALL_WIDTH, WALL, MATRIX + CRISTAE * np.where(wave > 0.35, -1, 0.25))
        image[box] = np.where(body, look, image[box])
        taken[box] |= body
    return image


def draw_reticulum(
    image: np.ndarray, depth: np.ndarray, steps: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Bent sheets as dark as membranes that end somewhere in the cytoplasm: what no threshold tells apart.

    A sheet is where a smooth random field is 0: at a distance of its value over the length of its gradient.
    """
    field = smooth_noise(image.shape, steps, SHEET_EVERY, rng)
    slope = np.sqrt(sum(part**2 for part in np.gradient(field, *steps)))
    away = np.abs(field) / np.maximum(slope, 1e-6)
    sheet = (away < max(RETICULUM_HALF, 0.6 * steps.min())) & (depth > 1.5 * HALO)
    sheet &= smooth_noise(image.shape, steps, PATCH, rng) > PATCHES
    return np.where(sheet, np.minimum(image, RETICULUM), image)


def draw_vesicles(
    image: np.ndarray, depth: np.ndarray, steps: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Small dark rings with a pale core: clouds of them in swellings, single ones everywhere."""
    places = list(_centres(depth, steps, VESICLE_EVERY, rng, room=2 * HALO))
    for centre in _centres(depth, steps, TERMINAL_EVERY, rng):
        reach = float(depth[tuple((centre / steps).astype(int))])
        places += list(centre + rng.normal(0, 0.55 * reach, (VESICLES, 3)))
    image = image.copy()
    for place in places:
        radius = VESICLE_RADIUS * rng.uniform(0.75, 1.25)
        box, away = _box_around(place, 1.5 * radius, image.shape, steps)
        ring = np.abs(np.linalg.norm(away, axis=-1) - 0.8 * radius) < max(0.4 * radius, 0.5 * steps.min())
        image[box] = np.where(ring & (depth[box] > HALO), np.maximum(image[box] - 0.2, WALL), image[box])
    return image


def _centres(
    depth: np.ndarray, steps: np.ndarray, every: float, rng: np.random.Generator, room: float = ROOM
) -> np.ndarray:
    """Random positions (n, 3) in nm at least ``room`` from a neighbour, one for each ``every`` nm^3."""
    roomy = np.flatnonzero(depth > room)
    count = rng.poisson(len(roomy) * float(np.prod(steps)) / every)
    chosen = rng.choice(roomy, min(count, len(roomy)), replace=False)
    return (np.stack(np.unravel_index(chosen, depth.shape), axis=1) + 0.5) * steps


def _tangent_at(neurites: Neurites, centre: np.ndarray) -> np.ndarray:
    gaps = ((neurites.points - centre) ** 2).sum(axis=1) - neurites.weights
    return neurites.tangents[int(np.argmin(gaps))]


def _box_around(
    centre: np.ndarray, reach: float, shape: tuple[int, ...], steps: np.ndarray
) -> tuple[tuple[slice, ...], np.ndarray]:
    """The voxels within ``reach`` of a point, and their offsets (..., 3) from it in nm."""
    low = np.clip(np.floor((centre - reach) / steps).astype(int), 0, shape)
    high = np.clip(np.ceil((centre + reach) / steps).astype(int) + 1, low, shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    axes = np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij")
    return box, (np.stack(axes, axis=-1) + 0.5) * steps - centre
