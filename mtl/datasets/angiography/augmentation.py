"""Random changes that leave an angiogram's report true: small shifts, another exposure, another start.

No flips and no turns: left and right, up and down have a meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mtl.datasets.angiography.clips import Stenosis
from mtl.errors import ParameterError


@dataclass(frozen=True)
class ClipAugmentation:
    """What is drawn for one clip.

    Args:
        shift: picture shifted by up to this share of its side, both ways; its border is repeated.
        intensity: contrast and brightness change by up to this share.
        frames: clip begins up to this many frames earlier or later; its first or last frame is repeated.
    """

    shift: float = 0.06
    intensity: float = 0.15
    frames: int = 1

    def __post_init__(self) -> None:
        for name, value, most in (("shift", self.shift, 0.3), ("intensity", self.intensity, 0.9)):
            if not 0 <= value <= most:
                raise ParameterError(f"{name}={value}: 0 to {most} is expected")
        if self.frames < 0:
            raise ParameterError(f"frames={self.frames}: 0 or more is expected")

    def __call__(
        self, video: np.ndarray, boxes: list[Stenosis], rng: np.random.Generator
    ) -> tuple[np.ndarray, list[Stenosis]]:
        """A changed clip: float32 ``(C, T, S, S)`` in [0, 1], and its stenoses where they are then.

        A box that a shift moves out of the picture in part is cut there; one moved out whole is dropped.
        """
        n_frames, side = video.shape[1:3]
        reach = int(self.shift * side)
        down, right = (int(step) for step in rng.integers(-reach, reach + 1, 2))
        later = int(rng.integers(-self.frames, self.frames + 1))
        gain, offset = 1 + rng.uniform(-1, 1, 2) * self.intensity * (1.0, 0.5)
        times = np.clip(np.arange(n_frames) - later, 0, n_frames - 1)
        rows, columns = (np.clip(np.arange(side) - step, 0, side - 1) for step in (down, right))
        moved = video[:, times][:, :, rows][..., columns]
        changed = np.clip((moved - 0.5) * np.float32(gain) + np.float32(offset - 0.5), 0, 1)
        followed = [_moved(box, down / side, right / side, later, n_frames) for box in boxes]
        return changed, [box for box in followed if box is not None]


def _moved(stenosis: Stenosis, down: float, right: float, later: int, n_frames: int) -> Stenosis | None:
    y0, x0, y1, x1 = stenosis.box
    y0, y1 = (min(max(edge + down, 0.0), 1.0) for edge in (y0, y1))
    x0, x1 = (min(max(edge + right, 0.0), 1.0) for edge in (x0, x1))
    if y0 >= y1 or x0 >= x1:
        return None
    return replace(stenosis, box=(y0, x0, y1, x1), frame=min(max(stenosis.frame + later, 0), n_frames - 1))
