"""Models made of named parts that can be frozen one by one.

A stage of training names the parts it trains; everything else is frozen. A frozen part needs no
gradient, and its normalisation layers stay in eval mode: otherwise their running statistics would
drift although the weights stand still.
"""

from __future__ import annotations

from typing import Self

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mtl.errors import ParameterError


class PartitionedModel(nn.Module):
    """Base of the studies' models: ``parts``, ``freeze``, ``unfreeze``, ``shared_parameters``.

    Subclasses set ``part_names`` (attributes that hold the parts) and ``shared_parts`` (those that
    more than one task reaches; gradient diagnostics and aggregators look at these).
    """

    part_names: tuple[str, ...] = ()
    shared_parts: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._frozen: set[str] = set()
        self._holds_normalisation = False

    @property
    def parts(self) -> dict[str, nn.Module]:
        """Name to module, in the order of the forward pass."""
        return {name: getattr(self, name) for name in self.part_names}

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """Names of the parts that are frozen now."""
        return tuple(name for name in self.part_names if name in self._frozen)

    def freeze(self, part: str) -> None:
        """Stop training ``part`` and hold its normalisation statistics. Raises ``ParameterError``."""
        self._part(part).requires_grad_(False)
        self._frozen.add(part)
        self.train(self.training)

    def unfreeze(self, part: str) -> None:
        """Train ``part`` again, its normalisation included. Raises ``ParameterError``."""
        self._part(part).requires_grad_(True)
        self._frozen.discard(part)
        self.train(self.training)

    def hold_normalisation(self, hold: bool = True) -> None:
        """Hold the normalisation statistics of every part, trained ones too; their scales still train."""
        self._holds_normalisation = hold
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module.train``, but normalisation layers of frozen parts (or all) stay in eval mode."""
        super().train(mode)
        for part in self.part_names if self._holds_normalisation else self.frozen_parts:
            for module in self._part(part).modules():
                if isinstance(module, _NormBase):
                    module.eval()
        return self

    def shared_parameters(self) -> dict[str, nn.Parameter]:
        """Name to parameter for everything that more than one task reaches."""
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if name.split(".", 1)[0] in self.shared_parts
        }

    def _part(self, part: str) -> nn.Module:
        if part not in self.part_names:
            raise ParameterError(f"unknown part {part!r}: this model has {', '.join(self.part_names)}")
        return getattr(self, part)
