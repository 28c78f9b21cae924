"""The brain_mri study with a task of one's own in its joint stage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor, nn

from mtl.errors import DataError
from mtl.model_folder import class_name
from mtl.studies.brain_mri import stages
from mtl.studies.brain_mri.data import in_order
from mtl.studies.brain_mri.objective import BrainMriObjective
from mtl.studies.brain_mri.own_task import OwnTask, OwnTaskObjective
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.brain_mri.study import EVALUATION_BATCH, BrainMriStudy
from mtl.studies.own_code import own_code_fingerprint
from mtl.training.objective import Batch
from mtl.training.stages import Stage

CASES = ["id", "source", "patient", "group", "slice"]


class OwnTaskStudy(BrainMriStudy):
    """``BrainMriStudy`` whose joint stage trains ``task`` too, with the balancer that the parameters name.

    Data, split, batches and the initial weights of the parts that both have are those of a ``BrainMriStudy``
    of the same parameters, so that the two can be compared. Earlier stages leave the added head as it is.

    Args:
        parameters: of the study.
        task: what is added.
    """

    def __init__(self, parameters: BrainMriParameters, task: OwnTask) -> None:
        super().__init__(parameters)
        self.task, self.network, self.collate = task, task.network, task.collate

    @classmethod
    def beside(cls, study: BrainMriStudy, task: OwnTask, run: str) -> OwnTaskStudy:
        """``study`` with a task more, in a run of its own, on the data that ``study`` has in memory."""
        found = cls(study.parameters.model_copy(update={"run": run}), task)
        found.dataset = study.dataset
        return found

    def settings(self, stage: str, fold: int) -> Stage:
        """As in the study; in the joint stage with the task, its head as fast as the other heads."""
        plain, task = super().settings(stage, fold), self.task
        if stage != stages.JOINT:
            return plain
        return replace(
            plain,
            tasks=(*plain.tasks, task.name),
            task_weights={**plain.task_weights, task.name: task.weight},
            learning_rates={**plain.learning_rates, task.part: self.parameters.joint_heads_lr},
        )

    def objective(self, tasks: Sequence[str]) -> BrainMriObjective:
        """The losses of some tasks, unweighted."""
        plain = super().objective(tasks)
        return OwnTaskObjective(plain.loss, tasks, self.task) if self.task.name in tasks else plain

    def validate(self, model: nn.Module, stage: str, fold: int) -> dict[str, float]:
        """The study's scores and, in the joint stage, the mean ``<task>_error`` (NaN without a target)."""
        scores = super().validate(model, stage, fold)
        if stage == stages.JOINT:
            error = self.errors(model, self.batches(fold, "validation"))["error"].mean()
            scores[f"{self.task.name}_error"] = float(error)
        return scores

    def card(self, stage: str, fold: int) -> str:
        """The study's model card, and what was added."""
        return super().card(stage, fold) + (
            f"\n## Added task\n`{self.task.name}`: a further head, trained in the joint stage. "
            f"To be loaded with the class `{class_name(self.network)}`.\n"
        )

    def _context(self, stage: str, fold: int) -> tuple[str, ...]:
        return (*super()._context(stage, fold), self.task.fingerprint, self._targets_fingerprint)

    @cached_property
    def _targets_fingerprint(self) -> str:
        """Hash of every slice's target: what it is computed from may lie outside of the task's code."""
        name, ids = self.task.name, self.dataset.table["id"]
        batches = in_order(self.dataset, ids, EVALUATION_BATCH, self.collate)
        return own_code_fingerprint(
            *((batch["id"], batch[f"{name}_rows"], batch[f"{name}_target"]) for batch in batches)
        )

    # ------------------------------------------------------------------ what the task can do
    @torch.inference_mode()
    def errors(self, model: nn.Module, batches: Iterable[Batch]) -> pd.DataFrame:
        """The cases that have a target: columns id, error; predicted and target where they are numbers.

        Args:
            model: in eval mode, on the study's device.
            batches: of ``OwnTask.collate``.
        """
        parts = []
        for batch in batches:
            if batch["valid_units"][self.task.name]:
                output = model(batch["image"].to(self.fabric.device), do_seg=False, do_cls=False)
                output = {self.task.name: output[self.task.name].cpu()}
                parts.append(self._rows(*self.task.of_labelled(output, batch), batch))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["id", "error"])

    def _rows(self, predicted: Tensor, target: Tensor, batch: Batch) -> pd.DataFrame:
        rows = {"id": [batch["id"][row] for row in batch[f"{self.task.name}_rows"].tolist()]}
        rows["error"] = self.task.errors_of(predicted, target).numpy()
        if target.ndim == 1:
            rows |= {"predicted": predicted.double().numpy(), "target": target.double().numpy()}
        return pd.DataFrame(rows)

    def training_mean(self, fold: int) -> Tensor:
        """Mean target of the training part: what there is to say without looking at an image.

        Raises:
            DataError: no training sample has a target.
        """
        found = [batch[f"{self.task.name}_target"] for batch in self.batches(fold, "train")]
        found = [targets for targets in found if len(targets)]
        if not found:
            raise DataError(f"task {self.task.name!r}: no training sample has a target")
        return torch.cat(found).mean(dim=0)

    def test_cases(self) -> pd.DataFrame:
        """Every fold's test cases that have a target, scored by the fold's joint network in float32; saved.

        Returns:
            ``errors`` with source, patient, group, slice, fold, test_hash, and ``error_of_mean``: of the mean
            target of the training part, predicted for everybody.
        """
        parts = []
        for fold in self.folds:
            model = self.model(stages.JOINT, fold).to(self.fabric.device).eval()
            found = self.errors(model, self.batches(fold, "test"))
            parts.append(found.assign(fold=fold, error_of_mean=self._errors_of_mean(fold)))
        table = pd.concat(parts, ignore_index=True).merge(self.dataset.table[CASES], on="id")
        table = table.assign(test_hash=self.split.test_hash)
        self.run.write_predictions(self.task.name, table)
        return table

    def _errors_of_mean(self, fold: int) -> list[float]:
        mean, found = self.training_mean(fold), []
        for batch in self.batches(fold, "test"):
            target = batch[f"{self.task.name}_target"]
            if len(target):
                found += self.task.errors_of(mean.expand_as(target), target).tolist()
        return found
