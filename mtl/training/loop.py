"""The one training loop: CPU, one GPU or many, mixed precision, accumulation, exact resume.

Lightning Fabric gives devices, processes, precision and collectives. Gradients are summed over ranks
by the balancer in one reduction per step rather than by DDP's hooks: hooks see neither tasks that are
absent on one rank nor the per-task gradients that aggregators need. So the model is not wrapped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mtl.errors import TrainingError
from mtl.files import sha256_of
from mtl.training.checkpoints import load_model, load_training_state, save_model, save_training_state
from mtl.training.devices import (
    average_buffers,
    names_on_all_ranks,
    reduction,
    start_alike,
    sum_over_ranks,
    summed_counts,
)
from mtl.training.diagnostics import GradientProbe
from mtl.training.history import History, loss_keys
from mtl.training.meters import FiniteGuard, LossMeter
from mtl.training.objective import Batch, Objective, check_contract, unit_shares
from mtl.training.progress import StageProgress
from mtl.training.sampling import EpochLoader
from mtl.training.stage_result import StageResult, discard_result, is_finished, write_result
from mtl.training.stages import Stage, make_optimiser, make_schedule, prepare_parts
from mtl.training.weight_average import WeightAverage

if TYPE_CHECKING:  # two seconds of imports, needed where something is trained
    from lightning_fabric import Fabric


class StageTrainer:
    """Runs one stage to its end, from wherever an earlier run of it was killed.

    Args:
        fabric: from :func:`make_fabric`.
        model: a ``PartitionedModel``; at the end it holds the best weights.
        objective: see :mod:`mtl.training.objective`.
        stage: what to do.
        loader: the stage's training data.
        validate: model (in eval mode) to validation scores; called after every epoch on rank 0.
        folder: where ``best/``, ``last/``, ``stage.json`` and the tables go.
        context: strings that the result depends on beside the stage (data, start weights); a stage
            that was finished or begun under another context is done anew.
        card: text of the model card.
        label: for the progress bar. on_step: called with (steps done, of how many) after every step.
        log_dir: TensorBoard folder.
        name_losses: epoch means of tasks and terms to the scalars that are logged.
        make_probe, probe_every: gradient diagnostics, measured every so many steps and at both ends; made
            on rank 0, and only if there is something to train.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        objective: Objective,
        stage: Stage,
        loader: EpochLoader,
        validate: Callable[[nn.Module], Mapping[str, float]],
        folder: Path,
        *,
        context: Sequence[str] = (),
        card: str = "",
        label: str = "",
        on_step: Callable[[int, int], None] | None = None,
        log_dir: Path | None = None,
        name_losses: Callable[[Mapping[str, float]], dict[str, float]] = loss_keys,
        make_probe: Callable[[], GradientProbe] | None = None,
        probe_every: int = 0,
    ) -> None:
        self.fabric, self.model, self.objective, self.stage = fabric, model, objective, stage
        self.loader, self.validate, self.folder, self.card = loader, validate, folder, card
        self.on_step = on_step
        self.label, self.log_dir, self.name_losses = label or stage.name, log_dir, name_losses
        self.make_probe, self.probe_every = make_probe, probe_every
        self.fingerprint = stage.fingerprint(*context)
        self.steps_per_epoch = -(-loader.steps_per_epoch(fabric.world_size) // stage.accumulate)
        self.step = self.epoch = 0
        self.seconds = 0.0
        self.best: dict[str, Any] = {"score": -float("inf"), "epoch": 0, "model": None}
        self.gradients: list[dict[str, Any]] = []
        self.average: WeightAverage | None = None

    def fit(self) -> StageResult:
        """Train, or return at once if the stage is finished already.

        Raises:
            TrainingError: a loss is not finite, or objective and batch break their contract.
        """
        if is_finished(self.folder, self.fingerprint):
            best = load_model(type(self.model), self.folder / "best")
            self.model.load_state_dict(best.state_dict())
            return StageResult.load(self.folder)
        self._prepare()
        if self.step == 0:
            self._measure_gradients()
        started = time.monotonic() - self.seconds
        for epoch in range(self.epoch + 1, self.stage.epochs + 1):
            means = self._train_epoch(epoch)
            self._score_epoch(epoch, means)
            self.epoch, self.seconds = epoch, time.monotonic() - started
            self._save_state()
        return self._finish()

    @property
    def scored(self) -> nn.Module:
        """What is validated and kept: the model, or the average of its weights."""
        return self.model if self.average is None else self.average.module

    # ------------------------------------------------------------------ one stage
    def _prepare(self) -> None:
        self.model.to(self.fabric.device)
        prepare_parts(self.model, self.stage)
        self.balancer = self.stage.make_balancer().to(self.fabric.device)
        self.scales_gradients = str(self.fabric.strategy.precision.precision) == "16-mixed"
        if self.balancer.needs_task_gradients and self.scales_gradients:
            raise TrainingError(
                f"balancer {self.stage.balancer!r} does not work with 16-mixed; use bf16-mixed"
            )
        self.optimiser = make_optimiser(self.model, self.balancer, self.stage)
        self.schedule = make_schedule(self.optimiser, self.stage, self.steps_per_epoch * self.stage.epochs)
        self.stepper = self.fabric.setup_optimizers(self.optimiser)
        shared = {id(p) for p in self.model.shared_parameters().values()}
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.shared = [p for p in trained if id(p) in shared]
        self.specific = [p for p in trained if id(p) not in shared]
        self.guard = FiniteGuard(self.stage.name)
        first = self.fabric.is_global_zero
        if first:
            discard_result(self.folder)
        self.probe = self.make_probe() if first and self.make_probe and self.shared else None
        if self.stage.average:  # takes its first step whole, so what it starts from does not matter
            self.average = WeightAverage(self.model, self.stage.average)
        rows = self._restore()
        start_alike(self.fabric, self.model)
        self.history = History(self.stage.name, self.log_dir if first else None, rows)
        total = self.steps_per_epoch * self.stage.epochs
        self.progress = StageProgress(self.label, total, self.step, show=first, on_step=self.on_step)

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        seed = int(sha256_of(str(self.stage.seed), str(epoch), str(self.fabric.global_rank))[:12], 16)
        torch.manual_seed(seed)
        self.model.train()
        self.meter = LossMeter()
        batches = self.loader.batches(epoch, self.fabric.global_rank, self.fabric.world_size)
        while window := list(islice(batches, self.stage.accumulate)):
            self._train_step(window)
            if self.probe_every and self.step % self.probe_every == 0:
                self._measure_gradients()
        self.guard.flush()
        names = names_on_all_ranks(self.fabric, self.meter.names)
        means = self.meter.means(names, partial(sum_over_ranks, self.fabric), self.fabric.device)
        self.balancer.end_epoch({task: means[task] for task in self.stage.tasks if task in means})
        return means

    # ------------------------------------------------------------------ one step
    def _train_step(self, window: list[Batch]) -> None:
        shares = unit_shares(window, self.stage.tasks, partial(summed_counts, self.fabric))
        self.balancer.begin_step(self.step / max(self.steps_per_epoch * self.stage.epochs - 1, 1))
        for batch, share in zip(window, shares, strict=True):
            batch = self.fabric.to_device(batch)
            with self.fabric.autocast():
                losses = self.objective(self.model, batch)
            check_contract(losses, batch["valid_units"], self.stage.tasks, self.stage.name)
            named = {f"the loss of task {task!r}": loss for task, loss in losses.items()}
            self.guard.watch(named, self.step, batch["id"])
            self.meter.add(losses, getattr(losses, "terms", {}), batch["valid_units"])
            self.balancer.backward(
                losses, share, shared=self.shared, specific=self.specific, run_backward=self.fabric.backward
            )
        self.balancer.finish(reduction(self.fabric), shared=self.shared, specific=self.specific)
        if any(p.grad is not None for p in self.shared + self.specific):
            self._clip([name for batch in window for name in batch["id"]])
            self.stepper.step()
        if self.average is not None:
            self.average.update(self.model, self.step + 1)
        self.optimiser.zero_grad(set_to_none=True)
        self.schedule.step()
        self.step += 1
        self.progress.advance()

    def _clip(self, ids: list[str]) -> None:
        if self.stage.clip == 0:
            return
        norm = self.fabric.clip_gradients(
            self.model, self.stepper, max_norm=self.stage.clip, error_if_nonfinite=False
        )
        if not self.scales_gradients:  # a gradient scaler expects infinities, and skips such a step
            self.guard.watch({"the norm of the gradient": norm}, self.step, ids)

    def _measure_gradients(self) -> None:
        if self.probe is None:
            return
        if any(row["step"] == self.step for row in self.gradients[-1:]):
            return
        # Weights that a balancer moves are those in force; an aggregator has none beside alpha.
        moved = None if self.balancer.needs_task_gradients else self.balancer.current_weights()
        self.gradients += self.probe.measure(self.model, self.step, moved).to_dict("records")

    # ------------------------------------------------------------------ scores and files
    def _score_epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        average_buffers(self.fabric, self.scored)
        self.scored.eval()
        scores = dict(self.validate(self.scored)) if self.fabric.is_global_zero else None
        scores = self.fabric.broadcast(scores)
        if self.stage.selection not in scores:
            raise TrainingError(
                f"stage {self.stage.name!r} selects by {self.stage.selection!r}; "
                f"validation gives {sorted(scores)}"
            )
        if scores[self.stage.selection] != scores[self.stage.selection]:
            raise TrainingError(
                f"stage {self.stage.name!r}: the score {self.stage.selection!r} is not defined on validation "
                "(no filled mask there, or one class only): no checkpoint can be selected"
            )
        scalars = self.name_losses(means)
        scalars |= {f"train/weight/{task}": value for task, value in self.balancer.current_weights().items()}
        scalars |= {f"train/lr/{group['part']}": group["lr"] for group in self.optimiser.param_groups}
        scalars |= {f"val/{name}": value for name, value in scores.items()}
        self.history.add(epoch, self.step, scalars)
        if scores[self.stage.selection] > self.best["score"]:
            weights = {name: tensor.cpu().clone() for name, tensor in self.scored.state_dict().items()}
            self.best = {"score": float(scores[self.stage.selection]), "epoch": epoch, "model": weights}

    def _save_state(self) -> None:
        if self.fabric.is_global_zero:
            state = {
                "fingerprint": self.fingerprint,
                "epoch": self.epoch,
                "step": self.step,
                "seconds": self.seconds,
                "model": self.model.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(),
                "balancer": self.balancer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "best": self.best,
                "history": self.history.rows,
                "gradients": self.gradients,
            }
            save_training_state(self.folder / "training_state.pt", state)
        self.fabric.barrier()

    def _restore(self) -> list[dict[str, Any]]:
        """Take up an interrupted run of this very stage; returns its history."""
        state = load_training_state(self.folder / "training_state.pt")
        if state is None or state["fingerprint"] != self.fingerprint:
            return []
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.balancer.load_state_dict(state["balancer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.best, self.gradients = state["best"], state["gradients"]
        return state["history"]

    def _finish(self) -> StageResult:
        self._measure_gradients()
        self.progress.close()
        self.history.close()
        if self.fabric.is_global_zero:
            save_model(self.scored, self.folder / "last", self.card)
        self.model.load_state_dict(self.best["model"])
        if self.fabric.is_global_zero:
            save_model(self.model, self.folder / "best", self.card)
            record = {
                "stage": self.stage.name,
                "best_epoch": self.best["epoch"],
                "best_score": self.best["score"],
                "steps": self.step,
                "seconds": self.seconds,
            }
            write_result(self.folder, self.fingerprint, record, self.history.table(), self.gradients)
            (self.folder / "training_state.pt").unlink(missing_ok=True)
        self.fabric.barrier()
        return StageResult.load(self.folder)
