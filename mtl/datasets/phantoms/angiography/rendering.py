r"""Drawing a film: thickness of contrast along each ray, and light by the law of Beer and Lambert.

A vessel is a row of short cylinders. A ray at the distance :math:`d` from the axis of one with radius
:math:`r` passes

.. math:: h = 2\sqrt{r^2 - d^2}, \qquad I = I_0\, e^{-\mu c h}

of blood with the contrast :math:`c`. Thickness is sampled on a grid twice as fine as the picture and
averaged, so that a lumen of less than a pixel is as faint as it should be.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from mtl.datasets.phantoms.angiography.anatomy import Tree
from mtl.datasets.phantoms.angiography.projection import Film

FINER = 2
OVERLAP = 0.75  # half length of a cylinder in steps between points: 0.5 would leave gaps at bends
THINNEST = 0.5  # fine pixels: a thinner lumen is drawn this wide and accordingly fainter
EMPTY = 0.01  # contrast that nobody sees
DENSITY = 13.0  # mu: optical density of full contrast per picture side


def thickness(tree: Tree, film: Film, size: int) -> np.ndarray:
    """Contrast times thickness along every ray, float32 ``(T, size, size)``, in picture sides."""
    fine = FINER * size
    border = fine // 4
    canvas = np.zeros((len(film.places), fine + 2 * border, fine + 2 * border), np.float32)
    places = (film.places * fine + border - 0.5).astype(np.float32)
    tangent, half = _directions(tree.branch, places)
    filled = film.contrast > EMPTY
    radius = np.broadcast_to(np.maximum(tree.radius * fine, 1e-6).astype(np.float32), filled.shape)
    for low, high in ((0.0, 2.6), (2.6, 4.0), (4.0, np.inf)):  # small windows for small vessels
        chosen = filled & (radius >= low) & (radius < high)
        if chosen.any():
            faint = film.contrast[chosen].astype(np.float32)
            _draw(
                canvas,
                np.nonzero(chosen)[0],
                places[chosen],
                tangent[chosen],
                half[chosen],
                radius[chosen],
                faint,
            )
    inner = canvas[:, border:-border, border:-border]
    return inner.reshape(len(canvas), size, FINER, size, FINER).mean((2, 4)) / fine


def light(thick: np.ndarray, background: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Frames uint8 ``(T, S, S)``: a background's light after the contrast, with the grain of few photons."""
    signal = background * np.exp(-DENSITY * thick)
    grain = rng.standard_normal(thick.shape, dtype=np.float32)
    return np.round(np.clip(signal + noise * np.sqrt(signal) * grain, 0, 1) * 255).astype(np.uint8)


def scenery(size: int, clutter: float, rng: np.random.Generator) -> np.ndarray:
    """Light without contrast, float32 ``(S, S)``: heart's shadow, diaphragm, ribs, spine, soft tissue."""
    y, x = (np.mgrid[:size, :size].astype(np.float32) + 0.5) / size
    shade = np.zeros((size, size), np.float32)
    slope, gap, shift = rng.uniform(-0.25, 0.25), rng.uniform(0.2, 0.28), rng.uniform(0, 1)
    bow = y + slope * (x - 0.5) + 0.35 * (x - rng.uniform(0.3, 0.7)) ** 2
    shade += rng.uniform(0.06, 0.12) * np.clip(np.sin(2 * np.pi * (bow / gap + shift)) - 0.3, 0, 1)  # ribs
    spine = rng.uniform(-0.05, 0.15)
    shade += rng.uniform(0.05, 0.12) * np.exp(-(((x - spine) / 0.12) ** 2))
    edge = rng.uniform(0.82, 0.98) + 0.3 * (x - rng.uniform(0.3, 0.7)) ** 2
    shade += rng.uniform(0.1, 0.2) / (1 + np.exp(-(y - edge) / 0.02))  # diaphragm
    soft = gaussian_filter(rng.standard_normal((size, size)).astype(np.float32), size / 10, mode="wrap")
    shade += 0.05 * soft / max(float(soft.std()), 1e-6)
    return (rng.uniform(0.68, 0.8) * np.exp(-clutter * (shade - 0.05))).clip(0.2, 0.95).astype(np.float32)


def _draw(
    canvas: np.ndarray,
    frame: np.ndarray,
    place: np.ndarray,
    tangent: np.ndarray,
    half: np.ndarray,
    radius: np.ndarray,
    contrast: np.ndarray,
) -> None:
    """Draw N cylinders into ``canvas``: of those that a ray meets, the one with most contrast counts.

    frame: their frames ``(N,)``; place, tangent: (x, y), ``(N, 2)``, fine pixels; half length, radius:
        ``(N,)``.
    """
    side = canvas.shape[1]
    contrast = contrast * np.minimum(1, (radius / THINNEST) ** 2)
    radius = np.maximum(radius, THINNEST)
    half = OVERLAP * half
    reach = int(np.ceil(np.hypot(radius.max(), half.max())))
    span = np.arange(-reach, reach + 1, dtype=np.int32)
    dx, dy = (grid.ravel() for grid in np.meshgrid(span, span))
    fx, fy = dx.astype(np.float32), dy.astype(np.float32)
    base = np.clip(np.round(place), reach, side - 1 - reach)
    off_x, off_y = (base - place).T
    tx, ty = tangent.T
    across = (off_x * ty - off_y * tx)[:, None] + (ty[:, None] * fx - tx[:, None] * fy)
    along = (off_x * tx + off_y * ty)[:, None] + (tx[:, None] * fx + ty[:, None] * fy)
    squared = (radius**2)[:, None] - across * across
    inside = np.flatnonzero((squared > 0) & (np.abs(along) <= half[:, None]))
    cylinder, pixel = np.divmod(inside, len(dx))
    corner = (frame * side + base[:, 1].astype(np.int64)) * side + base[:, 0].astype(np.int64)
    where = corner[cylinder] + (dy * side + dx)[pixel]
    amount = 2 * np.sqrt(squared.ravel()[inside]) * contrast[cylinder]
    np.maximum.at(canvas.reshape(-1), where, amount)


def _directions(branch: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit tangents ``(T, P, 2)`` on the film and steps between neighbours ``(T, P)``, branch by branch."""
    step = np.empty_like(places)
    for number in np.unique(branch):
        inside = branch == number
        step[:, inside] = np.gradient(places[:, inside], axis=1)
    length = np.hypot(step[..., 0], step[..., 1])
    return step / np.maximum(length, 1e-6)[..., None], length
