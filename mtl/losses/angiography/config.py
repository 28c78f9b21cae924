r"""What the losses of the study can be told: four weights, how they move, and a few settings.

.. math:: w_k(t) = w_k^0 + f(p)\,(w_k^1 - w_k^0), \qquad p = \mathrm{clip}\Bigl(\frac{t - t_0}{1 - t_0}, 0,
1\Bigr)

with :math:`f = 0` (``constant``), :math:`p` (``linear``), :math:`(1 - \cos \pi p) / 2` (``cosine``) or
:math:`[0 < t \ge t_0]` (``step``), progress :math:`t` in [0, 1] and warm-up :math:`t_0`, during which the
first weights hold: the rule of the balancer ``schedule``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mtl.errors import ParameterError

LOSSES = ("contrastive", "captioning", "masked", "distillation")
SCHEDULES = ("constant", "linear", "cosine", "step")
CONTRASTS = ("sigmoid", "softmax")
DISTILLED = ("contrastive", "captioning", "both")


@dataclass(frozen=True)
class LossConfig:
    """Weights and settings; a loss whose weight is always 0 is not computed.

    Args:
        contrastive, captioning, masked, distillation: weights in ``total``, at the beginning.
        final: weights at the end; those of the beginning where not given.
        schedule: a name of ``SCHEDULES``; warm_up: share of the training, in [0, 1).
        contrast: ``sigmoid`` or ``softmax``; gather: with the reports of all ranks.
        label_smoothing: of captions; pad: id of PAD.
        temperature: of the distillation; distilled: ``contrastive``, ``captioning`` or ``both``.

    Raises:
        ParameterError: names the field that is out of range.
    """

    contrastive: float = 1.0
    captioning: float = 1.0
    masked: float = 0.1
    distillation: float = 0.0
    final: Mapping[str, float] = field(default_factory=dict)
    schedule: str = "constant"
    warm_up: float = 0.0
    contrast: str = "sigmoid"
    gather: bool = True
    label_smoothing: float = 0.1
    pad: int = 0
    temperature: float = 2.0
    distilled: str = "contrastive"

    def __post_init__(self) -> None:
        for name in self.final:
            if name not in LOSSES:
                raise ParameterError(f"final: {name!r} is not one of {', '.join(LOSSES)}")
        weights = [(name, getattr(self, name)) for name in LOSSES]
        for name, value in (*weights, *((f"final {name}", value) for name, value in self.final.items())):
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise ParameterError(f"{name} = {value}: a finite number from 0 on is expected")
        for name, known in (("schedule", SCHEDULES), ("contrast", CONTRASTS), ("distilled", DISTILLED)):
            if getattr(self, name) not in known:
                raise ParameterError(f"{name}: {getattr(self, name)!r} is not one of {', '.join(known)}")
        if self.final and self.schedule == "constant":
            raise ParameterError("final: a schedule other than 'constant' is expected, which moves weights")
        for name in ("warm_up", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ParameterError(f"{name} = {getattr(self, name)}: from 0 on and below 1 is expected")
        if not self.temperature > 0:
            raise ParameterError(f"temperature = {self.temperature}: above 0 is expected")

    def weights(self, progress: float = 0.0) -> dict[str, float]:
        """Loss to its weight at ``progress`` in [0, 1]; losses whose weight is always 0 are left out."""
        f = self._moved(progress)
        found = {}
        for name in LOSSES:
            first = getattr(self, name)
            last = first if self.schedule == "constant" else self.final.get(name, first)
            if first or last:
                found[name] = (1 - f) * first + f * last
        return found

    def _moved(self, progress: float) -> float:
        p = min(max((progress - self.warm_up) / (1 - self.warm_up), 0.0), 1.0)
        if self.schedule == "constant":
            return 0.0
        if self.schedule == "step":
            return float(0 < progress >= self.warm_up)
        return p if self.schedule == "linear" else (1 - math.cos(math.pi * p)) / 2
