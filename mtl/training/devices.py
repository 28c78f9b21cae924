"""Devices, ranks and precision: a Fabric made from two parameters and the environment."""

from __future__ import annotations

import logging
import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy


def make_fabric(device: str = "auto", precision: str = "32-true") -> Fabric:
    """A launched Fabric: one device, or one of the ranks that ``torchrun`` started.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
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
