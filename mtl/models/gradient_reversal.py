r"""Features that do not tell their source: a source discriminator behind a gradient-reversal layer.

Ganin and Lempitsky (ICML 2015), "Unsupervised domain adaptation by backpropagation". With encoder $G_f$,
classifier $G_y$ and discriminator $G_d$,

$$E(\theta_f, \theta_y, \theta_d) = L_y(G_y(G_f(x)), y) + L_d(G_d(R_\lambda(G_f(x))), d), \qquad
  R_\lambda(f) = f, \quad \frac{\partial R_\lambda}{\partial f} = -\lambda I,$$

so that one descent trains $\theta_d$ to tell the source $d$ and pushes $\theta_f$ by
$-\lambda\, \partial L_d / \partial \theta_f$ the other way. $L_d$ is one more task for the balancer.

Where source and class go together ($\rho = 1$) features that hide the source hide the class too: the method
has nothing to hold on to there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mtl.models.brain_mri import MultiTaskModel


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None


def reverse_gradient(features: Tensor, weight: float = 1.0) -> Tensor:
    """``features`` unchanged, any shape; on the way back their gradient is multiplied by ``-weight``."""
    return _Reverse.apply(features, weight)


class SourceDiscriminator(nn.Module):
    """Global average pooling and a two-layer perceptron: ``(B, C, h, w)`` to source logits ``(B, S)``."""

    def __init__(self, in_channels: int, n_sources: int, hidden: int = 64) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Linear(in_channels, hidden)
        self.logits = nn.Linear(hidden, n_sources)

    def forward(self, features: Tensor) -> Tensor:
        """Bottleneck ``(B, C, h, w)`` to logits ``(B, n_sources)``."""
        return self.logits(self.hidden(self.pool(features).flatten(1)).relu())


class SourceAdversarialModel(MultiTaskModel):
    """``MultiTaskModel`` with a source discriminator on the reversed gradient of the bottleneck.

    Args:
        n_sources: classes of the discriminator.
        reversal_weight: the layer's ``lambda``.
        base_filters, depth, dropout, image_size, normalisation: as in ``MultiTaskModel``.
    """

    part_names = (*MultiTaskModel.part_names, "source_head")

    def __init__(
        self,
        n_sources: int = 2,
        reversal_weight: float = 1.0,
        base_filters: int = 64,
        depth: int = 4,
        dropout: float = 0.5,
        image_size: int = 256,
        normalisation: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            base_filters=base_filters,
            depth=depth,
            dropout=dropout,
            image_size=image_size,
            normalisation=normalisation,
        )
        self.reversal_weight = reversal_weight
        self.source_head = SourceDiscriminator(self.encoder.channels[-1], n_sources)

    def forward(
        self, x: Tensor, do_seg: bool = True, do_cls: bool = True, do_source: bool = False
    ) -> dict[str, Any]:
        """As ``MultiTaskModel``; with ``do_source`` also ``source``, logits ``(B, n_sources)``."""
        output = super().forward(x, do_seg, do_cls)
        if do_source:
            output["source"] = self.source_head(
                reverse_gradient(output["features"][-1], self.reversal_weight)
            )
        return output
