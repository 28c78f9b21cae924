"""Devices, ranks and precision: a Fabric made from two parameters and the environment."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mtl.training.reduction import Reduce, single_process

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(device: str = "auto", precision: str = "32-true", deterministic: bool = False) -> Fabric:
    """A launched Fabric: one device, or one of the ranks that ``torchrun`` started.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        deterministic: only algorithms that give the same bits every time (process-wide, slower on a GPU);
            an operation that has none raises PyTorch's own error. A CPU run repeats itself without.
    """
    from lightning_fabric import Fabric  # takes two seconds: only where something is trained
    from lightning_fabric.strategies import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    if deterministic:  # cuBLAS reads this when it starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    accelerator = "gpu" if device == "cuda" else device
    if world == 1:
        fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    else:
        on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        strategy = DDPStrategy(process_group_backend="nccl" if on_gpu else "gloo")
        nodes = world // int(os.environ.get("LOCAL_WORLD_SIZE", world))
        fabric = Fabric(
            accelerator=accelerator,
            devices=world // nodes,
            num_nodes=nodes,
            strategy=strategy,
            precision=precision,
        )
    fabric.launch()
    return fabric


def sum_over_ranks(fabric: Fabric, tensor: Tensor) -> Tensor:
    """Sum of ``tensor`` over all ranks; the tensor itself in one process."""
    return tensor if fabric.world_size == 1 else fabric.all_reduce(tensor, reduce_op="sum")


def reduction(fabric: Fabric) -> Reduce:
    """What balancers sum with; in one process the identity that they know, so that nothing is copied."""
    return single_process if fabric.world_size == 1 else partial(sum_over_ranks, fabric)


def summed_counts(fabric: Fabric, counts: Tensor) -> Tensor:
    """Counts on the CPU, summed over all ranks; one process need not bring them to its device."""
    return counts if fabric.world_size == 1 else sum_over_ranks(fabric, counts.to(fabric.device)).cpu()


def names_on_all_ranks(fabric: Fabric, names: list[str]) -> list[str]:
    """The names that any rank has, sorted, the same everywhere."""
    if fabric.world_size == 1:
        return sorted(names)
    seen: list[list[str] | None] = [None] * fabric.world_size
    torch.distributed.all_gather_object(seen, names)
    return sorted({name for found in seen for name in found or []})


def start_alike(fabric: Fabric, model: nn.Module) -> None:
    """Give every rank the weights and buffers of rank 0."""
    if fabric.world_size > 1:
        for tensor in model.state_dict().values():
            torch.distributed.broadcast(tensor, src=0)


def average_buffers(fabric: Fabric, model: nn.Module) -> None:
    """Replace running statistics by their mean over ranks, so that all ranks evaluate one model."""
    if fabric.world_size > 1:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(sum_over_ranks(fabric, buffer.clone()) / fabric.world_size)
