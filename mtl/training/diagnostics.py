r"""Gradient diagnostics: do the tasks pull the shared part in different directions, and who wins?

On a fixed list of probe batches, with :math:`g_k = \nabla_\theta \alpha_k L_k` over the trainable shared
parameters :math:`\theta` (fp32, autocast off, normalisation and dropout in eval mode), per block of
parameters:

- ``cosine`` :math:`\langle g_a, g_b \rangle / (\|g_a\| \|g_b\|)` of two tasks on the same batch;
- ``same_task_cosine``: the same of one task on two batches, the noise floor;
- ``magnitude_similarity`` :math:`2 \|g_a\| \|g_b\| / (\|g_a\|^2 + \|g_b\|^2)`;
- ``update_share`` :math:`u_k = \langle g_k, \sum_l g_l \rangle / \|\sum_l g_l\|^2`, which sums to 1; below 0
  the task is pushed backwards;
- ``norm`` :math:`\|g_k\|`.

A task absent from a batch gives no rows for it, nor does a figure that is undefined (a zero gradient).
:mod:`mtl.training.gradient_summary` turns the table into verdicts.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import Parameter

from mtl.errors import ParameterError, TrainingError
from mtl.training.gradient_summary import ProbeSummary, summarise

__all__ = ["COLUMNS", "GradientProbe", "ProbeSummary", "first_two_components", "summarise", "undisturbed"]

COLUMNS = ("step", "block", "kind", "probe", "task_a", "task_b", "value")
ALL = "all"
_FROZEN_KINDS = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
Row = tuple[str, str, str, str, float]


def first_two_components(name: str) -> str:
    """``encoder.stage1.conv.weight`` -> ``encoder.stage1``."""
    return ".".join(name.split(".")[:2])


class GradientProbe:
    """Measures the tasks' gradients over ``model.shared_parameters()`` on fixed batches.

    Args:
        objective: ``objective(model, batch)`` -> task to 0-d loss.
        batches: at least 2 (the noise floor), better 3 or more (the bounds), on the model's device.
        weights: alpha per task, 1 where not given.
        block_of: parameter name -> name of its block; the block ``all`` is added.

    Raises:
        ParameterError: fewer than 2 batches.
    """

    def __init__(
        self,
        objective: Callable[[nn.Module, Any], Mapping[str, Tensor]],
        batches: Sequence[Any],
        weights: Mapping[str, float] | None = None,
        block_of: Callable[[str], str] | None = None,
    ) -> None:
        if len(batches) < 2:
            raise ParameterError(f"batches: a gradient probe needs at least 2, got {len(batches)}")
        self.objective, self.batches = objective, list(batches)
        self.weights = dict(weights or {})
        self.block_of = block_of or first_two_components

    def measure(
        self, model: nn.Module, step: int, weights: Mapping[str, float] | None = None
    ) -> pd.DataFrame:
        """One tidy table (columns ``COLUMNS``), one row per figure; leaves everything as found.

        ``weights`` stand in for those of the constructor, where a balancer moves them. Pass the bare
        model: a Fabric wrapper would switch autocast on again. Costs one forward pass per batch and
        one backward pass per task and batch; holds all these gradients in fp32 at once.

        Raises:
            TrainingError: a loss or gradient is not finite.
        """
        shared = {name: p for name, p in model.shared_parameters().items() if p.requires_grad}
        if not shared:
            return _table(step, [])
        weights = self.weights if weights is None else weights
        with undisturbed(model, self.objective):
            measured = [
                self._gradients(model, batch, list(shared.values()), weights) for batch in self.batches
            ]
        keys = [(probe, task) for probe, tasks in enumerate(measured) for task in tasks]
        vectors = [measured[probe][task] for probe, task in keys]
        rows = [
            (block, *row)
            for block, gramian in self._gramians(list(shared), vectors).items()
            for row in figures(keys, gramian)
        ]
        return _table(step, rows)

    def _gradients(
        self, model: nn.Module, batch: Any, shared: Sequence[Parameter], weights: Mapping[str, float]
    ) -> dict[str, list[Tensor]]:
        """Task -> its gradient per parameter, flat and fp32."""
        with torch.autocast(shared[0].device.type, enabled=False):
            losses = {task: loss for task, loss in self.objective(model, batch).items() if loss.requires_grad}
        found = {}
        for task, loss in losses.items():
            if not torch.isfinite(loss):
                raise TrainingError(f"gradient probe: the loss of task {task!r} is {loss.item()}")
            weighted = weights.get(task, 1.0) * loss
            gradients = torch.autograd.grad(weighted, shared, retain_graph=True, allow_unused=True)
            found[task] = [
                torch.zeros(p.numel(), device=p.device) if g is None else g.detach().reshape(-1).float()
                for p, g in zip(shared, gradients, strict=True)
            ]
        return found

    def _gramians(self, names: Sequence[str], vectors: Sequence[Sequence[Tensor]]) -> dict[str, np.ndarray]:
        """Inner products (R, R) of the R gradients per block, fp64: all figures follow from these."""
        if not vectors:
            return {}
        gramians: dict[str, Tensor] = {}
        for index, name in enumerate(names):
            matrix = torch.stack([vector[index] for vector in vectors]).double()
            block, product = self.block_of(name), matrix @ matrix.T
            gramians[block] = gramians[block] + product if block in gramians else product
        arrays = {block: gramian.cpu().numpy() for block, gramian in gramians.items()}
        return {ALL: sum(arrays.values())} | arrays


def figures(keys: Sequence[tuple[int, str]], gramian: np.ndarray) -> Iterator[Row]:
    """(kind, probe, task_a, task_b, value) from the Gramian of the gradients named by ``keys``.

    Raises:
        TrainingError: a gradient is not finite.
    """
    if not np.isfinite(gramian).all():
        raise TrainingError("gradient probe: a gradient is not finite")
    norms = np.sqrt(gramian.diagonal())
    for i, (probe, task) in enumerate(keys):
        yield "norm", str(probe), task, "", float(norms[i])
        for j in range(i + 1, len(keys)):
            other_probe, other = keys[j]
            if norms[i] == 0 or norms[j] == 0:
                continue
            cosine = float(gramian[i, j] / (norms[i] * norms[j]))
            if probe == other_probe:
                similarity = 2 * norms[i] * norms[j] / (norms[i] ** 2 + norms[j] ** 2)
                yield "cosine", str(probe), task, other, cosine
                yield "magnitude_similarity", str(probe), task, other, float(similarity)
            elif task == other:
                yield "same_task_cosine", f"{probe}-{other_probe}", task, task, cosine
    yield from _update_shares(keys, gramian)


def _update_shares(keys: Sequence[tuple[int, str]], gramian: np.ndarray) -> Iterator[Row]:
    for probe in sorted({probe for probe, _ in keys}):
        rows = [i for i, key in enumerate(keys) if key[0] == probe]
        together = gramian[np.ix_(rows, rows)]
        # Gradients that cancel to rounding have no common direction to share.
        if together.sum() > 1e-12 * together.trace():
            for i, share in zip(rows, together.sum(axis=1) / together.sum(), strict=True):
                yield "update_share", str(probe), keys[i][1], "", float(share)


def _table(step: int, rows: Sequence[tuple[str, ...]]) -> pd.DataFrame:
    table = pd.DataFrame([(step, *row) for row in rows], columns=list(COLUMNS))
    return table.astype({"step": "int64", "value": "float64"})


@contextlib.contextmanager
def undisturbed(*objects: Any) -> Iterator[None]:
    """Normalisation and dropout in eval mode, a fixed seed, gradients on; everything put back after.

    Restores training flags and buffers of the modules among ``objects``, and the global states of torch
    (CPU and GPU), NumPy and ``random``. No ``.grad`` is touched: the probe uses ``torch.autograd.grad``.
    """
    modules = [module for o in objects if isinstance(o, nn.Module) for module in o.modules()]
    flags = [(module, module.training) for module in modules]
    buffers = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers(recurse=False)]
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            _seed_everything()
            for module in modules:
                if isinstance(module, _FROZEN_KINDS):
                    module.training = False
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        _put_back(flags, buffers)


def _seed_everything() -> None:
    """Objectives that draw (masks, crops) draw the same in every measurement."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def _put_back(flags: Sequence[tuple[nn.Module, bool]], buffers: Sequence[tuple[Tensor, Tensor]]) -> None:
    for module, training in flags:
        module.training = training
    with torch.no_grad():
        for buffer, saved in buffers:
            buffer.copy_(saved)
