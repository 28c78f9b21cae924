"""How a tree in space becomes points of a film: angulation, heartbeat, contrast that comes and goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtl.datasets.phantoms.angiography.anatomy import Tree

#: Angulations (turn about the vertical, tilt; degrees) of each view, in the order of a study's clips.
ANGULATIONS = {"left": ((0.0, 0.0), (28.0, -14.0)), "right": ((0.0, 0.0), (-28.0, 12.0))}
WOBBLE = 3.0  # degrees about an angulation, at difficulty 1
CENTRE = np.array([0.5, 0.5, 0.0])
SPEED = 2.6  # of the blood: picture sides per clip
RISE, FALL = 0.022, 0.05  # how sharply contrast arrives and leaves, in shares of a clip
WASHED_OUT = 0.85


@dataclass(frozen=True)
class Film:
    """A tree on the film, frame by frame.

    Args:
        places: float64 ``(T, P, 2)``, (x, y) in units of the picture's side.
        contrast: float64 ``(T, P)``, 0..1.
    """

    places: np.ndarray
    contrast: np.ndarray


def expose(
    tree: Tree, angles: tuple[float, float], n_frames: int, motion: float, rng: np.random.Generator
) -> Film:
    """Project a tree and let it beat and fill; ``motion``: 0 stands still, 1 as a heart does."""
    flat = project(tree.points, angles)
    times = (np.arange(n_frames) + 0.5) / n_frames
    return Film(_beating(flat, times, motion, rng), _contrast(tree.along, times, rng))


def project(points: np.ndarray, angles: tuple[float, float]) -> np.ndarray:
    """Parallel projection ``(P, 3) -> (P, 2)`` after a turn about the vertical and a tilt, in degrees."""
    turn, tilt = np.deg2rad(angles)
    x, y, z = (points - CENTRE).T
    x, z = x * np.cos(turn) + z * np.sin(turn), z * np.cos(turn) - x * np.sin(turn)
    y = y * np.cos(tilt) + z * np.sin(tilt)
    return np.stack([x, y], axis=1) + CENTRE[:2]


def drawn_angles(view: str, number: int, difficulty: float, rng: np.random.Generator) -> tuple[float, float]:
    """The angulation of a study's n-th clip, a little off."""
    turn, tilt = ANGULATIONS[view][number]
    off = difficulty * WOBBLE * rng.standard_normal(2)
    return turn + float(off[0]), tilt + float(off[1])


def _beating(flat: np.ndarray, times: np.ndarray, motion: float, rng: np.random.Generator) -> np.ndarray:
    """Contraction towards the middle with a slight twist, more below than above, and slow breathing."""
    beats, phase, breath = rng.uniform(1.5, 2.5), rng.uniform(0, 1), rng.uniform(0, 1)
    squeeze = motion * 0.5 * (1 - np.cos(2 * np.pi * (beats * times + phase)))[:, None]
    lift = 0.006 * motion * np.sin(2 * np.pi * (0.5 * times + breath))[:, None]
    x, y = (flat - 0.5).T
    depth = 0.5 + 0.5 * (y + 0.5)
    twist = np.deg2rad(4.0) * squeeze * depth
    scale = 1 - 0.06 * squeeze * depth
    moved_x = scale * (x * np.cos(twist) - y * np.sin(twist))
    moved_y = scale * (x * np.sin(twist) + y * np.cos(twist)) + lift
    return np.stack([moved_x, moved_y], axis=-1) + 0.5


def _contrast(along: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A bolus ``(T, P)`` that runs down the tree and is washed out from the ostium on."""
    start, length = rng.uniform(0.02, 0.08), rng.uniform(0.38, 0.46)
    since = times[:, None] - start - along / SPEED
    filled = _logistic(since / RISE) * (1 - WASHED_OUT * _logistic((since - length) / FALL))
    return np.where(along < 0, 0.9, filled)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
