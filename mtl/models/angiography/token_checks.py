"""Are these tokens that a network with this vocabulary and context can take?"""

from __future__ import annotations

from torch import Tensor

from mtl.errors import DataError


def check_tokens(tokens: Tensor, vocabulary: int, context: int, ids: bool | None = None) -> None:
    """Raise `DataError` for tokens that are not ``(B, L)`` integers, too many, or out of range.

    Args:
        tokens: ``(B, L)`` int64.
        vocabulary: ids are below it; context: most tokens in a row.
        ids: whether to look at the ids. None: on the CPU only, elsewhere the device would be waited for.
    """
    if tokens.ndim != 2 or tokens.is_floating_point() or tokens.shape[1] == 0:
        raise DataError(
            f"tokens of shape {tuple(tokens.shape)}, {tokens.dtype}: (B, L) integers with L from 1 on "
            "are expected"
        )
    if tokens.shape[1] > context:
        raise DataError(f"{tokens.shape[1]} tokens in a row: the context holds {context}")
    if (tokens.device.type == "cpu" if ids is None else ids) and tokens.numel():
        low, high = (int(bound) for bound in tokens.aminmax())
        if low < 0 or high >= vocabulary:
            wrong = low if low < 0 else high
            raise DataError(f"token id {wrong} is out of range: the vocabulary has ids 0 to {vocabulary - 1}")
