"""The vessel trees of the phantom: nodes in space, and smooth branches through them.

Coordinates are (x, y, z) in units of the picture's side: x to the right, y downwards, z towards the detector.
A patient's nodes lie near the textbook's; a branch is the cubic spline through its nodes, a segment the part
of it between two of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

#: Radii below are in units of the picture's side.
PIXEL = 1 / 64
SPREAD = 0.011  # of a patient's nodes about the textbook's, at difficulty 1
GIRTH = 0.06  # spread of the logarithm of a patient's vessel sizes
TIP = 0.05  # of the picture's side: how long the thin end of a branch is
CATHETER = "catheter"


@dataclass(frozen=True)
class Branch:
    """A chain of nodes; ``segments`` names each stretch between two ("" for a side branch without name).

    ``radii`` at the nodes, in pixels of a picture of 64.
    """

    nodes: tuple[str, ...]
    segments: tuple[str, ...]
    radii: tuple[float, ...]


@dataclass(frozen=True)
class Tree:
    """Points along all branches of a patient's tree.

    Args:
        points: float64 ``(P, 3)``; radius: ``(P,)``, in units of the picture's side.
        along: distance from the ostium on the way of the blood ``(P,)``; negative in the catheter.
        branch: number of the branch ``(P,)``; segment: name of the segment ``(P,)``.
    """

    points: np.ndarray
    radius: np.ndarray
    along: np.ndarray
    branch: np.ndarray
    segment: np.ndarray


NODES: dict[str, dict[str, tuple[float, float, float]]] = {
    "left": {
        "above": (0.12, -0.06, 0.0), "arch": (0.10, 0.07, 0.0), "ostium": (0.19, 0.17, 0.0),
        "lm": (0.34, 0.25, 0.02),
        "lad1": (0.47, 0.20, 0.08), "lad2": (0.60, 0.24, 0.12), "lad3": (0.71, 0.33, 0.15),
        "lad4": (0.77, 0.47, 0.14), "lad5": (0.76, 0.66, 0.10), "lad6": (0.65, 0.86, 0.02),
        "d1a": (0.75, 0.16, 0.17), "d1b": (0.90, 0.22, 0.18),
        "d2a": (0.88, 0.54, 0.18), "d2b": (0.93, 0.73, 0.17),
        "cx1": (0.32, 0.36, -0.06), "cx2": (0.34, 0.48, -0.11), "cx3": (0.30, 0.64, -0.15),
        "cx4": (0.16, 0.78, -0.16),
        "om1a": (0.45, 0.56, -0.10), "om1b": (0.53, 0.74, -0.06),
        "om2a": (0.36, 0.78, -0.17), "om2b": (0.40, 0.94, -0.16),
        "sep1": (0.58, 0.40, 0.06), "sep2": (0.60, 0.56, 0.02),
    },
    "right": {
        "above": (0.66, -0.06, 0.0), "arch": (0.62, 0.07, 0.0), "ostium": (0.47, 0.14, 0.0),
        "rca1": (0.31, 0.16, 0.08), "rca2": (0.20, 0.28, 0.12), "rca3": (0.15, 0.44, 0.14),
        "rca4": (0.19, 0.60, 0.12), "rca5": (0.28, 0.74, 0.06), "rca6": (0.45, 0.79, -0.04),
        "pda1": (0.60, 0.84, 0.02), "pda2": (0.76, 0.93, 0.08),
        "plb1": (0.58, 0.70, -0.10), "plb2": (0.78, 0.64, -0.14),
        "rv1": (0.33, 0.38, 0.20), "rv2": (0.47, 0.46, 0.22),
        "con1": (0.42, 0.25, 0.12), "con2": (0.36, 0.31, 0.16),
    },
}  # fmt: skip
BRANCHES: dict[str, tuple[Branch, ...]] = {
    "left": (
        Branch(
            ("ostium", "lm", "lad1", "lad2", "lad3", "lad4", "lad5", "lad6"),
            ("LM", "pLAD", "pLAD", "mLAD", "mLAD", "dLAD", "dLAD"),
            (2.5, 2.4, 2.2, 2.1, 1.95, 1.8, 1.6, 1.3),
        ),
        Branch(
            ("lm", "cx1", "cx2", "cx3", "cx4"), ("pLCx", "pLCx", "mLCx", "mLCx"), (2.1, 2.05, 1.9, 1.7, 1.4)
        ),
        Branch(("lad2", "d1a", "d1b"), ("D1", "D1"), (1.7, 1.6, 1.4)),
        Branch(("lad4", "d2a", "d2b"), ("D2", "D2"), (1.65, 1.55, 1.35)),
        Branch(("cx2", "om1a", "om1b"), ("OM1", "OM1"), (1.7, 1.6, 1.4)),
        Branch(("cx3", "om2a", "om2b"), ("OM2", "OM2"), (1.65, 1.55, 1.35)),
        Branch(("lad2", "sep1", "sep2"), ("", ""), (0.7, 0.6, 0.4)),
    ),
    "right": (
        Branch(
            ("ostium", "rca1", "rca2", "rca3", "rca4", "rca5", "rca6", "pda1", "pda2"),
            ("pRCA", "pRCA", "mRCA", "mRCA", "dRCA", "dRCA", "PDA", "PDA"),
            (2.4, 2.35, 2.25, 2.2, 2.1, 2.0, 1.8, 1.6, 1.4),
        ),
        Branch(("rca6", "plb1", "plb2"), ("PLB", "PLB"), (1.75, 1.65, 1.4)),
        Branch(("rca2", "rv1", "rv2"), ("", ""), (0.9, 0.8, 0.5)),
        Branch(("ostium", "con1", "con2"), ("", ""), (0.7, 0.6, 0.4)),
    ),
}
LINE = Branch(("above", "arch", "ostium"), (CATHETER, CATHETER), (0.9, 0.9, 0.9))


def grow_tree(view: str, steps: int, difficulty: float, rng: np.random.Generator) -> Tree:
    """A patient's tree with ``steps`` points per stretch between nodes."""
    names = list(NODES[view])
    places = np.array([NODES[view][name] for name in names])
    places = places + difficulty * SPREAD * rng.standard_normal(places.shape)
    nodes = dict(zip(names, places, strict=True))
    girth = PIXEL * float(np.exp(GIRTH * rng.standard_normal()))
    reached: dict[str, float] = {"ostium": 0.0}
    parts = []
    for number, branch in enumerate(BRANCHES[view]):
        points, along = _course(branch, nodes, steps)
        along = along + reached[branch.nodes[0]]
        reached |= dict(zip(branch.nodes, along[::steps], strict=True))
        parts.append((branch, points, along, number, girth))
    points, along = _course(LINE, nodes, steps)
    parts.append((LINE, points, along - along[-1] - 1e-6, -1, PIXEL))
    return _joined(parts, steps)


def place_of(tree: Tree, segment: str, share: float) -> tuple[int, float]:
    """Branch and distance along it of the point at ``share`` (0 begin, 1 end) of a segment."""
    inside = tree.segment == segment
    low, high = tree.along[inside].min(), tree.along[inside].max()
    return int(tree.branch[inside][0]), float(low + share * (high - low))


@lru_cache(maxsize=64)
def _spline_weights(n_nodes: int, steps: int) -> np.ndarray:
    """Natural cubic spline through nodes at 0, 1, ... as one matrix ``(points, nodes)``."""
    at = np.linspace(0, n_nodes - 1, (n_nodes - 1) * steps + 1)
    return CubicSpline(np.arange(n_nodes), np.eye(n_nodes), bc_type="natural")(at)


def _course(branch: Branch, nodes: dict[str, np.ndarray], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of a branch ``(n, 3)`` and their distances from its first."""
    points = _spline_weights(len(branch.nodes), steps) @ np.array([nodes[name] for name in branch.nodes])
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return points, np.concatenate([[0.0], np.cumsum(lengths)])


def _tip(left: np.ndarray) -> np.ndarray:
    """Thinning of a branch towards its end: 1, and less where ``left`` (of `TIP`) is below 1."""
    return 0.3 + 0.7 * np.clip(left, 0, 1)


def _joined(parts: list[tuple[Branch, np.ndarray, np.ndarray, int, float]], steps: int) -> Tree:
    radius, segment, number = [], [], []
    for branch, points, along, order, girth in parts:
        at = np.linspace(0, len(branch.radii) - 1, len(points))
        left = (along[-1] - along) / TIP if branch is not LINE else np.ones(len(points))
        radius.append(girth * np.interp(at, np.arange(len(branch.radii)), branch.radii) * _tip(left))
        segment += [name for name in branch.segments for _ in range(steps)] + [branch.segments[-1]]
        number.append(np.full(len(points), order))
    return Tree(
        np.concatenate([part[1] for part in parts]),
        np.concatenate(radius),
        np.concatenate([part[2] for part in parts]),
        np.concatenate(number),
        np.array(segment),
    )
