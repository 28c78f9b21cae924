r"""How well each next token of a report is foretold.

.. math:: \ell_l = (1 - \epsilon)\,\bigl(-\log p_l(w_{l+1})\bigr)
          + \frac{\epsilon}{V} \sum_{w} \bigl(-\log p_l(w)\bigr), \qquad
          L = \frac{1}{|C|} \sum_{l \in C} \ell_l

over the tokens :math:`C` that are neither PAD nor given (BOS, task, condition): cross-entropy with label
smoothing :math:`\epsilon` (Szegedy et al., CVPR 2016). With logits :math:`z`, :math:`\ell = \log\sum_w
e^{z_w} - (1 - \epsilon) z_{w_{l+1}} - \epsilon \bar z`, so that cross-entropy without smoothing comes along
at no cost.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mtl.errors import ParameterError


def caption_loss(
    logits: Tensor, tokens: Tensor, prefix_lengths: int | Tensor = 1, pad: int = 0, smoothing: float = 0.1
) -> dict[str, Tensor]:
    """Cross-entropy of the tokens that count.

    Args:
        logits: ``(R, L - 1, V)``, row ``l`` of the token after token ``l``.
        tokens: ``(R, L)`` int64; prefix_lengths: how many at the front are given, one number or ``(R,)``.
        pad: id of PAD; smoothing: :math:`\\epsilon` in [0, 1).

    Returns:
        ``captioning`` and, without smoothing and gradient, ``captioning/ce``; 0 with gradient 0 where no
        token counts (ask :func:`counted_tokens` on the CPU whether there is one).

    Raises:
        ParameterError: shapes that do not fit, a smoothing out of range, or (on the CPU) a token id that the
            logits have no column for.
    """
    if logits.ndim != 3 or tokens.ndim != 2 or logits.shape[:2] != (len(tokens), tokens.shape[1] - 1):
        raise ParameterError(
            f"logits {tuple(logits.shape)} for tokens {tuple(tokens.shape)}: (R, L - 1, V) for (R, L) is "
            "expected"
        )
    if not 0 <= smoothing < 1:
        raise ParameterError(f"label smoothing = {smoothing}: from 0 on and below 1 is expected")
    if tokens.device.type == "cpu" and tokens.numel():
        lowest, highest = int(tokens.min()), int(tokens.max())
        if lowest < 0 or highest >= logits.shape[2]:
            raise ParameterError(
                f"token ids {lowest} to {highest}: 0 to {logits.shape[2] - 1} is expected, a column of the "
                "logits each"
            )
    z = logits if logits.dtype == torch.float64 else logits.float()
    wanted = z.gather(2, tokens[:, 1:, None]).squeeze(2)
    total = z.logsumexp(dim=2)
    plain = total - wanted
    smooth = total - (1 - smoothing) * wanted - smoothing * z.mean(dim=2)
    counted = counted_tokens(tokens, prefix_lengths, pad)
    return {"captioning": mean_over(smooth, counted), "captioning/ce": mean_over(plain.detach(), counted)}


def counted_tokens(tokens: Tensor, prefix_lengths: int | Tensor = 1, pad: int = 0) -> Tensor:
    """``(R, L - 1)`` bool: which tokens from the second on are neither given nor PAD."""
    places = torch.arange(1, tokens.shape[1], device=tokens.device)
    given = prefix_lengths[:, None] if isinstance(prefix_lengths, Tensor) else prefix_lengths
    return (tokens[:, 1:] != pad) & (places >= given)


def mean_over(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of ``values`` where ``counted``; 0 where nothing is."""
    return torch.where(counted, values, 0.0).sum() / counted.sum().clamp(min=1)
