"""One training step: the network's outputs that a set of losses reads, and these losses, unweighted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtl.losses.histology import MultiTaskLoss
from mtl.losses.histology.pseudo_labels import agreement, pseudo_labels
from mtl.models.histology import UNetMultiTask
from mtl.training.objective import Batch, TaskLosses

#: Loss to the part of the network that it needs beside encoder and decoder.
HEADS = {"hv": "hv_decoder", "recon": "recon_decoder", "obj_emb": "obj_head", "pixel_con": "pixel_head"}
COUNTED = "segmentation"


class HistologyObjective:
    """``objective(model, batch)`` for some of the eight losses.

    Args:
        loss: with the weights of the run; its ``total`` is dropped, because the balancer owns the weights.
        tasks: names of the losses.
    """

    def __init__(self, loss: MultiTaskLoss, tasks: Sequence[str]) -> None:
        self.loss, self.tasks = loss, frozenset(tasks)

    def __call__(self, model: UNetMultiTask, batch: Batch) -> TaskLosses:
        """Losses of a batch with ``images``, ``masks``, ``weights``, ``hv_maps``, ``hidden`` and ``ramp``.

        The terms count the pseudo-labels of the segmentation loss, and how many of them the hidden truth
        confirms; no loss sees that truth.
        """
        output = model(
            batch["images"],
            return_recon="recon" in self.tasks,
            return_hv="hv" in self.tasks,
            return_obj_emb="native" if "obj_emb" in self.tasks else False,
            return_pixel_emb="pixel_con" in self.tasks,
        )
        found = self.loss(
            output, batch["masks"], batch["hv_maps"], batch["images"],
            pixel_weight=batch["weights"], ramp=batch["ramp"], only=self.tasks,
        )  # fmt: skip
        losses = {name: loss for name, loss in found.items() if name != "total"}
        counts = self._pseudo_label_counts(output["preds"], batch) if COUNTED in self.tasks else {}
        return TaskLosses(losses, counts)

    def _pseudo_label_counts(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            labels = pseudo_labels(logits.float().sigmoid(), batch["masks"], self.loss.config)
            counts = agreement(labels, batch["hidden"], batch["masks"])
        return {f"{COUNTED}/{name}": value.float() for name, value in counts.items()}


def parts_of(tasks: Sequence[str]) -> tuple[str, ...]:
    """Parts of the network that some of the losses train."""
    return ("encoder", "decoder", *(part for task, part in HEADS.items() if task in tasks))


def log_keys(means: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Epoch means to logged scalars: ``loss/<key>``, their weighted sum ``loss/total``, and pseudo-labels.

    ``pseudo/<kind>/precision`` is the share of pseudo-labelled pixels that the hidden truth confirms,
    ``pseudo/<kind>/recall`` the share of unlabelled pixels of that kind that are found; both over the whole
    epoch, and left out where nothing is there to be counted.
    """
    scalars = {f"loss/{name}": value for name, value in means.items() if "/" not in name}
    scalars["loss/total"] = sum(weights[name] * value for name, value in means.items() if "/" not in name)
    for kind in ("positive", "negative"):
        found, right, hidden = (
            means.get(f"{COUNTED}/{name}_{kind}", 0.0) for name in ("pseudo", "right", "hidden")
        )
        if found > 0:
            scalars[f"pseudo/{kind}/precision"] = right / found
        if hidden > 0:
            scalars[f"pseudo/{kind}/recall"] = right / hidden
    return scalars
