"""When the sequences of a batch have all ended, and where the longest one ends."""

from __future__ import annotations

from torch import Tensor

#: On a GPU, steps between two questions whether all sequences have ended: each waits for the device.
STEPS_PER_QUESTION = 16


def all_ended(ended: Tensor, step: int) -> bool:
    """Whether to stop; a GPU is asked in some steps only, and a little too much is written instead."""
    if ended.device.type != "cpu" and step % STEPS_PER_QUESTION != STEPS_PER_QUESTION - 1:
        return False
    return bool(ended.all())


def without_empty_end(tokens: Tensor, pad: int) -> Tensor:
    """Cut the columns at the end that hold PAD only."""
    used = (tokens != pad).any(dim=0).nonzero()
    return tokens[:, : int(used.max()) + 1 if len(used) else 0]
