r"""Both contrastive losses over blocks of rows: the matrix of all pairs is never there as a whole.

With :math:`z_{ij} = t \langle v_i, u_j \rangle + b`, :math:`t = e^{t'}`, and :math:`G_{ij} = \partial L /
\partial z_{ij}`, the gradients are

.. math:: \frac{\partial L}{\partial v_i} = t \sum_j G_{ij} u_j, \qquad
          \frac{\partial L}{\partial u_j} = t \sum_i G_{ij} v_i, \qquad
          \frac{\partial L}{\partial t'} = \sum_i \Bigl\langle v_i, \frac{\partial L}{\partial v_i}
          \Bigr\rangle, \qquad \frac{\partial L}{\partial b} = \sum_{ij} G_{ij},

so each block gives its part of them while it is at hand, in the forward pass, and the backward pass only
scales them: three matrix products in all for the sigmoid, as autograd needs on the whole matrix. The softmax
needs the sum of each column before any of its gradients, so it makes each block twice: four products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

#: Pairs of one block: small enough for a processor's cache, large enough to keep a GPU busy.
PAIRS_ON_CPU, PAIRS_ON_GPU = 2**20, 2**24


class Pairs(NamedTuple):
    """Which pairs of rows and columns belong together.

    ``ids``: of the rows and of the columns, equal where they do; None: row ``i`` to column ``first + i``.
    """

    first: int
    ids: tuple[Tensor, Tensor] | None

    def positives(self, rows: slice) -> Tensor | None:
        """``(rows, columns)`` bool, or None where they lie on a diagonal."""
        return None if self.ids is None else self.ids[0][rows, None] == self.ids[1]


class SigmoidBlocks(torch.autograd.Function):
    r""":math:`\frac1b \sum_{ij} \mathrm{softplus}(-y_{ij} z_{ij})` for ``b`` rows, with
    :math:`G_{ij} = -y_{ij} \sigma(-y_{ij} z_{ij}) / b`.

    Arguments: video ``(b, D)``, text ``(B, D)``, t', bias, pairs.
    """

    @staticmethod
    def forward(ctx: Any, video: Tensor, text: Tensor, log_t: Tensor, bias: Tensor, pairs: Pairs) -> Tensor:
        t, wanted = log_t.exp(), any(ctx.needs_input_grad)
        loss, of_bias = video.new_zeros(()), video.new_zeros(())
        of_video, of_text = torch.empty_like(video), torch.zeros_like(text)
        for rows in blocks(video, text):
            wrong = torch.addmm(bias, video[rows] * t, text.T)
            positives, diagonal = pairs.positives(rows), pairs.first + rows.start
            wrong = negated(wrong, positives, diagonal)  # -y z: high where a pair is taken for what it is not
            loss += F.softplus(wrong).sum()
            if wanted:
                g = negated(wrong.sigmoid_(), positives, diagonal)
                torch.mm(g, text, out=of_video[rows])
                torch.addmm(of_text, g.T, video[rows], out=of_text)
                of_bias += g.sum()
        keep(ctx, wanted, video, of_video, of_text, t / len(video), of_bias / len(video))
        return loss / len(video)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*scaled(ctx.saved_tensors, gradient), None)


class SoftmaxBlocks(torch.autograd.Function):
    r""":math:`\frac{1}{2b} \bigl( \sum_i r_i + \sum_j c_j - 2 \sum_{ij} P_{ij} z_{ij} \bigr)` with the
    logarithms :math:`r_i, c_j` of the sums of :math:`e^z` along rows and columns and targets :math:`P`;
    :math:`G_{ij} = (e^{z_{ij} - r_i} + e^{z_{ij} - c_j} - 2 P_{ij}) / 2b`.

    Arguments: video ``(b, D)``, text ``(B, D)``, t', pairs. Where the rows are those of one rank of several,
    the sums of columns are over the rows of all, and each rank counts the columns that are its own.
    """

    @staticmethod
    def forward(ctx: Any, video: Tensor, text: Tensor, log_t: Tensor, pairs: Pairs) -> Tensor:
        t, wanted = log_t.exp(), any(ctx.needs_input_grad)
        of_row = video.new_empty(len(video))
        of_column = video.new_full((len(text),), -torch.inf)
        agreed = video.new_zeros(())
        for rows in blocks(video, text):
            z = (video[rows] * t) @ text.T
            of_row[rows] = z.logsumexp(dim=1)
            of_column = torch.logaddexp(of_column, z.logsumexp(dim=0))
            agreed += on_target(z, pairs, rows)
        if len(text) > len(video):
            of_column = over_ranks(of_column)
        of_video, of_text = torch.empty_like(video), torch.zeros_like(text)
        for rows in blocks(video, text) if wanted else ():
            z = (video[rows] * t) @ text.T
            g = (z - of_row[rows, None]).exp_()
            g += z.sub_(of_column).exp_()
            g = less_targets(g, pairs, rows)
            torch.mm(g, text, out=of_video[rows])
            torch.addmm(of_text, g.T, video[rows], out=of_text)
        keep(ctx, wanted, video, of_video, of_text, t / (2 * len(video)))
        own = of_column[pairs.first : pairs.first + len(video)]
        return (of_row.sum() + own.sum() - 2 * agreed) / (2 * len(video))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*scaled(ctx.saved_tensors, gradient), None)


def blocks(video: Tensor, text: Tensor) -> Iterator[slice]:
    """Rows of the matrix, so many at a time that a block has about as many pairs whatever the batch."""
    step = max((PAIRS_ON_GPU if video.is_cuda else PAIRS_ON_CPU) // len(text), 1)
    return (slice(start, min(start + step, len(video))) for start in range(0, len(video), step))


def keep(
    ctx: Any, wanted: bool, video: Tensor, of_video: Tensor, of_text: Tensor, scale: Tensor, *rest: Tensor
) -> None:
    """Save the gradients of video, text and t', and the ``rest``, for the backward pass."""
    if wanted:
        of_video *= scale
        of_text *= scale
        ctx.save_for_backward(of_video, of_text, torch.dot(of_video.flatten(), video.flatten()), *rest)


def scaled(parts: Sequence[Tensor], gradient: Tensor) -> list[Tensor]:
    """``parts`` times the gradient of the loss; in place where the graph is not kept for another time."""
    if keeps_graph():
        return [part * gradient for part in parts]
    return [part.mul_(gradient) for part in parts]


def keeps_graph() -> bool:
    """Whether the backward pass that runs may run again. True where this torch cannot tell."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if ask is None else ask()


def negated(z: Tensor, positives: Tensor | None, diagonal: int) -> Tensor:
    """``z`` with another sign where a pair belongs together, in place."""
    if positives is None:
        z.diagonal(diagonal).neg_()
        return z
    return z.mul_(torch.where(positives, -1.0, 1.0))


def on_target(z: Tensor, pairs: Pairs, rows: slice) -> Tensor:
    """Sum of P z over a block."""
    positives = pairs.positives(rows)
    if positives is None:
        return z.diagonal(pairs.first + rows.start).sum()
    return ((z * positives).sum(dim=1) / positives.sum(dim=1)).sum()


def less_targets(g: Tensor, pairs: Pairs, rows: slice) -> Tensor:
    """``g`` - 2 P, in place."""
    positives = pairs.positives(rows)
    if positives is None:
        g.diagonal(pairs.first + rows.start).sub_(2)
        return g
    return g.sub_(positives / positives.sum(dim=1, keepdim=True), alpha=2)


def over_ranks(of_column: Tensor) -> Tensor:
    """Logarithms of partial sums ``(B,)`` to those of the sums over all ranks."""
    found = [torch.empty_like(of_column) for _ in range(dist.get_world_size())]
    dist.all_gather(found, of_column)
    return torch.stack(found).logsumexp(dim=0)
