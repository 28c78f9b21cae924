r"""Which report belongs to which video: sigmoid (SigLIP) and softmax (CLIP) losses over a batch of pairs.

**Sigmoid** (Zhai et al., *Sigmoid loss for language image pre-training*, ICCV 2023), each pair by itself:

.. math:: z_{ij} = t\,\langle v_i, u_j \rangle + b, \quad t = e^{t'}, \qquad
          L = -\frac{1}{B} \sum_{i=1}^{B} \sum_{j=1}^{B} \log \sigma(y_{ij}\, z_{ij}),

:math:`y_{ij} = 1` for a pair that belongs together and -1 otherwise; from :math:`t'_0 = \log 10`,
:math:`b_0 = -\log(B - 1)`.

**Softmax** (Radford et al., ICML 2021), :math:`z_{ij} = t\,\langle v_i, u_j \rangle`,
:math:`t'_0 = -\log 0.07`:

.. math:: L = -\frac{1}{2B} \sum_{i,j} P_{ij} \Bigl( \log \frac{e^{z_{ij}}}{\sum_k e^{z_{ik}}}
          + \log \frac{e^{z_{ij}}}{\sum_k e^{z_{kj}}} \Bigr),
          \qquad P_{ij} = \frac{[y_{ij} = 1]}{\#\{k : y_{ik} = 1\}}.

**Identical reports** of a batch belong together: all of their pairs are positive (and the softmax wants them
equally), as in supervised contrastive learning (Khosla et al., NeurIPS 2020). Otherwise a loss would push a
video away from the very words that describe it.

**Ranks.** Each rank computes the rows of its own videos against the reports of all. The mean over ranks of
loss and of parameter gradients, which is what data-parallel training takes, is that of one process with the
joint batch. All ranks must take part, with batches of one size.

Memory is linear in the batch: see :mod:`mtl.losses.angiography.contrastive_blocks`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mtl.errors import ParameterError
from mtl.losses.angiography.contrastive_blocks import Pairs, SigmoidBlocks, SoftmaxBlocks
from mtl.losses.angiography.gathering import of_all_ranks, ranks


def sigmoid_contrastive(
    video: Tensor,
    text: Tensor,
    log_temperature: Tensor,
    bias: Tensor,
    report_ids: Tensor | None = None,
    gather: bool = True,
) -> Tensor:
    """The sigmoid loss, a scalar.

    Args:
        video, text: ``(B, D)`` of length 1, pair by pair.
        log_temperature, bias: scalars :math:`t'` and :math:`b`.
        report_ids: ``(B,)`` int64, equal for identical reports, on all ranks alike; None: all differ.
        gather: take the reports of the other ranks too, where there are any.

    Raises:
        ParameterError: shapes that do not fit one another.
    """
    video, text = _checked(video, text, report_ids)
    with torch.autocast(video.device.type, enabled=False):
        columns, pairs = _columns(text, report_ids, gather)
        return SigmoidBlocks.apply(video, columns, log_temperature.to(video), bias.to(video), pairs)


def softmax_contrastive(
    video: Tensor,
    text: Tensor,
    log_temperature: Tensor,
    report_ids: Tensor | None = None,
    gather: bool = True,
) -> Tensor:
    """The symmetric softmax loss, a scalar; arguments and errors as in :func:`sigmoid_contrastive`."""
    video, text = _checked(video, text, report_ids)
    with torch.autocast(video.device.type, enabled=False):
        columns, pairs = _columns(text, report_ids, gather)
        return SoftmaxBlocks.apply(video, columns, log_temperature.to(video), pairs)


def _columns(text: Tensor, report_ids: Tensor | None, gather: bool) -> tuple[Tensor, Pairs]:
    """The reports of all ranks, and which rows of this rank belong to them."""
    rank, count = ranks(gather)
    if count == 1:
        return text, Pairs(0, None if report_ids is None else (report_ids, report_ids))
    ids = None if report_ids is None else (report_ids, of_all_ranks(report_ids))
    return of_all_ranks(text), Pairs(rank * len(text), ids)


def _checked(video: Tensor, text: Tensor, report_ids: Tensor | None) -> tuple[Tensor, Tensor]:
    if video.ndim != 2 or video.shape != text.shape or not len(video):
        raise ParameterError(
            f"video {tuple(video.shape)} and text {tuple(text.shape)}: two embeddings (B, D) with B from 1 "
            "on are expected"
        )
    if report_ids is not None and report_ids.shape != video.shape[:1]:
        raise ParameterError(f"report_ids has shape {tuple(report_ids.shape)}; ({len(video)},) is expected")
    double = torch.float64 in (video.dtype, text.dtype)
    return (video.double(), text.double()) if double else (video.float(), text.float())
