r"""Boxes in a clip as words: a frame token and the box's corners y0, x0, y1, x1.

.. math:: \mathrm{FRAME} = \lfloor 16\,(f + \tfrac12) / T \rfloor, \quad \mathrm{LOC} = \lfloor 64\,c \rfloor,

frame :math:`f` of :math:`T` and corner :math:`c \in [0, 1]` relative to the image; read back as the bins'
middles, a corner is off by at most :math:`1/128`. After Wan et al., LocCa (2024), who write image boxes so.
"""

from __future__ import annotations

from collections.abc import Sequence

from mtl.datasets.angiography.footage import Box
from mtl.errors import ParameterError

N_FRAME_BINS, N_LOCATION_BINS = 16, 64
FRAME_TOKENS = tuple(f"[FRAME{number}]" for number in range(N_FRAME_BINS))
BOX_TOKENS = tuple(f"[LOC{number}]" for number in range(N_LOCATION_BINS))
LOCATION_TOKENS = (*FRAME_TOKENS, *BOX_TOKENS)
_FRAME = {token: number for number, token in enumerate(FRAME_TOKENS)}
_BIN = {token: number for number, token in enumerate(BOX_TOKENS)}


def box_tokens(frame: int, n_frames: int, box: Box) -> list[str]:
    """Five tokens: the frame (of ``n_frames``), then y0, x0, y1, x1 of a box relative to the image.

    Raises `ParameterError` for a frame outside the clip or a box outside the image.
    """
    if not 0 <= frame < n_frames:
        raise ParameterError(f"frame={frame}: 0 to {n_frames - 1} is expected")
    y0, x0, y1, x1 = box
    if not (0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1):
        raise ParameterError(f"box={box}: 0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1 is expected")
    bins = [min(int(corner * N_LOCATION_BINS), N_LOCATION_BINS - 1) for corner in box]
    return [FRAME_TOKENS[(2 * frame + 1) * N_FRAME_BINS // (2 * n_frames)], *(BOX_TOKENS[b] for b in bins)]


def tokens_to_box(tokens: Sequence[str], n_frames: int) -> tuple[int, Box] | None:
    """The first frame and box among tokens, or None where no frame token is followed by four corners.

    Generated corners in the wrong order are exchanged, so that y0 <= y1 and x0 <= x1.
    """
    for start, token in enumerate(tokens):
        corners = tokens[start + 1 : start + 5]
        if token in _FRAME and len(corners) == 4 and all(corner in _BIN for corner in corners):
            middles = [(_BIN[corner] + 0.5) / N_LOCATION_BINS for corner in corners]
            (y0, y1), (x0, x1) = sorted(middles[::2]), sorted(middles[1::2])
            frame = int((_FRAME[token] + 0.5) * n_frames / N_FRAME_BINS)
            return frame, (y0, x0, y1, x1)
    return None
