"""Sum gradients over ranks without DDP's hooks: these do not see what ``torch.autograd.grad`` takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

Reduce = Callable[[Tensor], Tensor]


def single_process(tensor: Tensor) -> Tensor:
    """The ``reduce`` of one process. Passing this very function lets the balancers skip all copies."""
    return tensor


def trainable(parameters: Sequence[Parameter]) -> list[Parameter]:
    """The parameters that require a gradient, in order."""
    return [parameter for parameter in parameters if parameter.requires_grad]


def reduce_flags(flags: Sequence[bool], reduce: Reduce, device: torch.device) -> list[bool]:
    """Say for each flag whether it is set on any rank.

    Costs one small reduction and, across ranks on a GPU, one host synchronisation.
    """
    if reduce is single_process or not flags:
        return list(flags)
    total = reduce(torch.tensor(flags, dtype=torch.float32, device=device))
    return [count > 0 for count in total.tolist()]


def sum_gradients(parameters: Sequence[Parameter], reduce: Reduce) -> None:
    """Replace every ``.grad`` by its sum over ranks, with one flat reduction per device and dtype.

    A rank that did not reach a parameter adds zeros. A parameter that no rank reached keeps
    ``grad = None``, so that the optimiser (AdamW's weight decay too) leaves it exactly as it is.
    """
    parameters = trainable(parameters)
    if reduce is single_process or not parameters:
        return
    here = [parameter.grad is not None for parameter in parameters]
    anywhere = reduce_flags(here, reduce, parameters[0].device)
    groups: dict[tuple[torch.device, torch.dtype], list[Parameter]] = defaultdict(list)
    for parameter, reached in zip(parameters, anywhere, strict=True):
        if reached:
            groups[parameter.device, parameter.dtype].append(parameter)
    for group in groups.values():
        _sum_group(group, reduce)


def _sum_group(parameters: Sequence[Parameter], reduce: Reduce) -> None:
    flat = torch.cat([_flat_gradient(parameter) for parameter in parameters])
    write_gradients(parameters, reduce(flat))


def _flat_gradient(parameter: Parameter) -> Tensor:
    gradient = parameter.grad
    return torch.zeros_like(parameter).reshape(-1) if gradient is None else gradient.reshape(-1)


def write_gradients(parameters: Sequence[Parameter], flat: Tensor) -> None:
    """Cut ``flat`` (P,) into the ``.grad`` of the parameters, in their own dtype and memory format."""
    pieces = flat.split([parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = torch.empty_like(parameter, requires_grad=False).copy_(piece.view(parameter.shape))
