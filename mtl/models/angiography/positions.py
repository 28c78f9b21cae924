r"""Where a tubelet lies: an embedding of its time plus one of its place in the frame.

.. math:: p_{t,y,x} = a_t + b_{y,x}, \qquad
          a_t = \bigl(\sin(\omega_k t),\, \cos(\omega_k t)\bigr)_k, \quad \omega_k = 10^{-4k/K}

and :math:`b` half of rows, half of columns in the same way (Vaswani et al. 2017; factorised as in Arnab et
al., *ViViT*, ICCV 2021). Learned positions begin there too: small random ones would have to outgrow the
pixels before anything could be told by its place. A clip that is shorter than the grid uses its first time
steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl.errors import ParameterError
from mtl.models.angiography.tubelets import Grid

POSITIONS = ("learned", "sinusoidal")


class SpaceTimePositions(nn.Module):
    """Positions of a grid of tubelets.

    Args:
        grid: ``(t, h, w)``; width: channels, a multiple of 4.
        kind: a name of ``POSITIONS``.

    Raises:
        ParameterError: unknown kind, or a width that is no multiple of 4.
    """

    def __init__(self, grid: Grid, width: int, kind: str = "learned") -> None:
        super().__init__()
        if kind not in POSITIONS:
            raise ParameterError(f"positions: {kind!r} is not one of {', '.join(POSITIONS)}")
        t, h, w = grid
        if width % 4:
            raise ParameterError(f"width={width}: positions need a multiple of 4")
        rows, columns = sinusoids(h, width // 2), sinusoids(w, width // 2)
        space = torch.cat([rows[:, None].expand(-1, w, -1), columns[None].expand(h, -1, -1)], dim=-1)
        tables = {"time": sinusoids(t, width)[:, None], "space": space.reshape(1, h * w, width)}
        for name, table in tables.items():
            if kind == "learned":
                setattr(self, name, nn.Parameter(table.clone()))
            else:
                self.register_buffer(name, table, persistent=False)

    def forward(self, steps: int) -> Tensor:
        """``(1, steps * h * w, width)``, in the order of :func:`tubelets_of`."""
        return (self.time[:steps] + self.space).flatten(0, 1)[None]


def sinusoids(length: int, width: int) -> Tensor:
    """``(length, width)``: sines, then cosines, of falling frequency."""
    rate = 1e-4 ** (torch.arange(width // 2, dtype=torch.float32) / (width // 2))
    angle = torch.arange(length, dtype=torch.float32)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)
