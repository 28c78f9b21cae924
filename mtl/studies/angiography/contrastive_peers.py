r"""The contrastive losses on the whole matrix of pairs, by autograd: what ours are measured against.

With :math:`z = e^{t'} V U^\top` (plus :math:`b` for the sigmoid) of ``B`` pairs:

.. math:: L_{\text{sigmoid}} = -\tfrac1B \sum_{ij} \log \sigma\bigl((2\,[i = j] - 1)\, z_{ij}\bigr), \qquad
          L_{\text{softmax}} = -\tfrac1{2B} \sum_i \bigl( \log\mathrm{softmax}_j(z)_{ii}
          + \log\mathrm{softmax}_i(z)_{ii} \bigr)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def full_sigmoid(video: Tensor, text: Tensor, log_temperature: Tensor, bias: Tensor) -> Tensor:
    """As in the paper's listing: a matrix of signs."""
    logits = log_temperature.exp() * (video @ text.T) + bias
    signs = 2 * torch.eye(len(video), dtype=video.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(video)


def full_softplus(video: Tensor, text: Tensor, log_temperature: Tensor, bias: Tensor) -> Tensor:
    r"""Without one, by :math:`-\log\sigma(z) = \mathrm{softplus}(z) - z`; the temperature on the videos."""
    logits = (log_temperature.exp() * video) @ text.T + bias
    return (F.softplus(logits).sum() - logits.diagonal().sum()) / len(video)


def full_softmax(video: Tensor, text: Tensor, log_temperature: Tensor) -> Tensor:
    """As in the formula."""
    logits = log_temperature.exp() * (video @ text.T)
    rows, columns = logits.log_softmax(1).diagonal(), logits.log_softmax(0).diagonal()
    return -(rows + columns).mean() / 2


def full_cross_entropy(video: Tensor, text: Tensor, log_temperature: Tensor) -> Tensor:
    """As in the CLIP paper's listing, the temperature on the videos."""
    logits = (log_temperature.exp() * video) @ text.T
    places = torch.arange(len(video))
    return (F.cross_entropy(logits, places) + F.cross_entropy(logits.T, places)) / 2
