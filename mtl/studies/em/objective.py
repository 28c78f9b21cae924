"""One training step in two modes: automatic on every sample, proofread on those with known foreground.

Features are computed once and the heads run on them twice (arms that pass clicks through the backbone run
it again; in arms whose clicks do not reach the heads both modes share one pass). Unknown voxels are masked
in every loss, so that their gradient is exactly zero in both modes.

A proofread sample is *interactive* where all of it is known and *fractionary* where known foreground and
unknown voxels lie side by side. Which it is was settled when the batch was made: labels come resolved
(known ids 1..K, -100 elsewhere) and points lie in known voxels, so both are the same computation here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtl.errors import ParameterError
from mtl.losses.em import EMLoss
from mtl.models.em import EMModel
from mtl.models.prompts import PointPrompts
from mtl.studies.em.corrective_clicks import corrective_click, joined, some_points
from mtl.training.objective import Batch, TaskLosses

AUTOMATIC, PROOFREAD = MODES = ("automatic", "proofread")
HEADS = ("semantic", "instance", "geometry")
TARGET = "target"


def task_weights(loss: EMLoss, modes: Sequence[str] = MODES, injection: str = "late") -> dict[str, float]:
    """Alpha of every task for the balancer: the head's weight over the number of active modes.

    Tasks are ``<mode>/<head>``, those of weight 0 left out; the arm ``target_head`` has
    ``proofread/target`` too.

    Raises:
        ParameterError: no mode, or one that there is not.
    """
    if not modes or set(modes) - set(MODES):
        raise ParameterError(
            f"training_modes = {list(modes)}: one or both of {', '.join(MODES)} are expected"
        )
    heads = {mode: HEADS for mode in modes}
    if PROOFREAD in heads and injection == "target_head":
        heads[PROOFREAD] = (*HEADS, TARGET)
    return {
        f"{mode}/{head}": loss.weights[head] / len(modes)
        for mode, names in heads.items()
        for head in names
        if loss.weights[head]
    }


def valid_units(
    loss: EMLoss, tasks: Sequence[str], labels: Tensor, target_ids: Tensor | None = None
) -> dict[str, int]:
    """For how many samples every task has a loss; for the CPU, when a batch is put together.

    Args:
        labels: ``(B, *sp)`` int64, resolved; target_ids: ``(B,)``, the instance that the points mean.
    """
    foreground = (labels > 0).flatten(1).any(1)
    per_mode = {
        AUTOMATIC: loss.valid_units(labels, target_ids),
        PROOFREAD: loss.valid_units(proofread_labels(labels, foreground, loss.ignore_index), target_ids),
    }
    return {task: per_mode[task.split("/")[0]][task.split("/")[1]] for task in tasks}


def proofread_labels(labels: Tensor, has_foreground: Tensor, ignore_index: int) -> Tensor:
    """Labels with samples that have no known foreground made unknown: these are absent from proofread."""
    return torch.where(has_foreground.view(-1, *[1] * (labels.dim() - 1)), labels, ignore_index)


class EMObjective:
    """``objective(model, batch)`` for the tasks ``<mode>/<head>``.

    Args:
        loss: unweighted parts are taken from it; its ``total`` is dropped, because the balancer owns the
            weights.
        modes: active ones, of ``automatic`` and ``proofread``.
        max_corrections: the arm ``target_head`` makes 0 to so many corrective clicks before the mask is
        judged.
    """

    def __init__(self, loss: EMLoss, modes: Sequence[str] = MODES, max_corrections: int = 3) -> None:
        self.loss, self.modes, self.max_corrections = loss, tuple(modes), max_corrections

    def __call__(self, model: EMModel, batch: Batch) -> TaskLosses:
        """Losses of one batch; see the study's collation for its keys.

        The device is not waited for: which tasks are there is read from ``valid_units``.
        """
        return self.losses(self.outputs(model, batch), batch)

    def outputs(self, model: EMModel, batch: Batch) -> dict[str, dict[str, Tensor]]:
        """The model's dict for each active mode that has a task in this batch."""
        active = [mode for mode in self.modes if any(self._units(batch, mode).values())]
        if active == [PROOFREAD] and model.reruns_encoder:
            return {PROOFREAD: model(batch["image"], prompts_of(batch), batch["semantic_ids"])}
        if not active:
            return {}
        found: dict[str, dict[str, Tensor]] = {}
        features = model.encode(batch["image"])
        if AUTOMATIC in active or not model.prompts_reach_heads:
            found[AUTOMATIC] = model.decode(features)
        if PROOFREAD in active:
            found[PROOFREAD] = self._prompted(model, batch, features, found.get(AUTOMATIC, {}))
        return {mode: found[mode] for mode in active}

    def _prompted(
        self, model: EMModel, batch: Batch, features: Tensor, automatic: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        prompts, classes = prompts_of(batch), batch["semantic_ids"]
        if model.reruns_encoder:
            return model(batch["image"], prompts, classes)
        if model.prompts_reach_heads:
            return model.decode(features, prompts, classes, automatic=automatic or None)
        if model.injection == "target_head" and self._units(batch, PROOFREAD).get(TARGET):
            return automatic | {TARGET: self._corrected(model, batch, features, automatic)}
        return automatic

    def _corrected(
        self, model: EMModel, batch: Batch, features: Tensor, automatic: Mapping[str, Tensor]
    ) -> Tensor:
        """Mask logits after a random number of corrective clicks, each fed with the mask before it."""
        labels, ids = batch["labels"], batch["target_ids"]
        wanted = labels == ids.view(-1, *[1] * (labels.dim() - 1))
        known = labels != self.loss.ignore_index
        prompts, mask = some_points(prompts_of(batch)), None
        corrections = drawn_below(self.max_corrections + 1)
        with torch.no_grad():
            for _ in range(corrections):
                logits = model.target(features, automatic, prompts, mask)
                mask = (logits > 0).to(logits.dtype)  # a session shows the parts that a click holds
                prompts = joined(prompts, corrective_click(logits[:, 0] > 0, wanted, known))
        return model.target(features, automatic, prompts, mask)

    def losses(self, outputs: Mapping[str, Mapping[str, Tensor]], batch: Batch) -> TaskLosses:
        """Losses of what the model gave for a batch in each mode."""
        tasks: dict[str, Tensor] = {}
        terms: dict[str, Tensor] = {}
        for mode, output in outputs.items():
            labels = batch["labels"]
            if mode == PROOFREAD:
                labels = proofread_labels(labels, batch["has_foreground"], self.loss.ignore_index)
            parts = self.loss(
                output, labels, batch["image"], batch["targets"],
                semantic=batch.get("semantic"), target_ids=batch["target_ids"],
                max_instances=batch["max_instances"], units=self._units(batch, mode),
            )  # fmt: skip
            for name, value in parts.items():
                if name != "total":
                    (terms if "/" in name else tasks)[f"{mode}/{name}"] = value
        return TaskLosses(tasks, terms)

    def _units(self, batch: Batch, mode: str) -> dict[str, int]:
        """Head to number of valid samples in ``mode``."""
        units = batch["valid_units"].items()
        return {task.split("/")[1]: n for task, n in units if task.startswith(f"{mode}/")}


def prompts_of(batch: Batch) -> PointPrompts:
    """The batch's clicks."""
    return PointPrompts(batch["points"], batch["point_labels"])


def drawn_below(n: int) -> int:
    """A random integer from 0 to n - 1, drawn on the CPU by torch's generator."""
    return int(torch.randint(n, ()))
