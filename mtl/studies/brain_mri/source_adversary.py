"""Classification with, where wanted, the source discriminator as a second task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from mtl.datasets.brain_mri import collate
from mtl.studies.brain_mri.objective import CLASSIFICATION
from mtl.training.objective import Batch, TaskLosses

SOURCE = "source"


def collate_with_source(names: Sequence[str]) -> Callable[[Sequence[dict[str, Any]]], dict[str, Any]]:
    """``collate`` that adds ``source_index`` int64 ``(B,)``, the place of each source in ``names``."""

    def joined(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch = collate(samples)
        batch["source_index"] = torch.tensor([names.index(name) for name in batch["source"]])
        batch["valid_units"] = batch["valid_units"] | {SOURCE: len(samples)}
        return batch

    return joined


class ClassificationObjective:
    """Cross-entropy of the class and, if ``tasks`` names ``source``, of the source.

    The second needs a ``SourceAdversarialModel``: there the gradient is reversed on its way to the encoder.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = tuple(tasks)

    def __call__(self, model: nn.Module, batch: Batch) -> TaskLosses:
        """Losses of one batch of ``collate_with_source``."""
        adversarial = {"do_source": True} if SOURCE in self.tasks else {}
        output = model(batch["image"], do_seg=False, **adversarial)
        losses = {CLASSIFICATION: F.cross_entropy(output["cls"].float(), batch["cls"])}
        if adversarial:
            losses[SOURCE] = F.cross_entropy(output["source"].float(), batch["source_index"])
        return TaskLosses(losses)
