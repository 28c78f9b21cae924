"""What a decoder keeps while it writes: keys and values of its own tokens and of the video.

Room for all tokens is taken once, so that a step writes one place and copies nothing else; attention reads a
view. All places of a head lie side by side: a step does little but read them, and reads nearly twice as fast
as with other heads between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mtl.errors import ParameterError
from mtl.models.angiography.transformer import Memory


class KeyValueCache:
    """Keys and values of ``rows`` sequences in all layers, and the memory's, computed once.

    Args:
        memory: per layer, of the ``B`` videos; sequences of one video stand in a row.
        rows: number of sequences, ``B * r``; places: most tokens in a row.
    """

    def __init__(self, memory: Sequence[Memory], rows: int, places: int) -> None:
        self.memory = [Memory(keys.contiguous(), values.contiguous()) for keys, values in memory]
        keys = self.memory[0].keys
        shape = (len(self.memory), 2, rows, keys.shape[1], places, keys.shape[3])
        self._kept = torch.empty(shape, dtype=keys.dtype, device=keys.device)
        self.places, self.length = places, 0
        #: Takes in one token a row more quickly than the decoder's blocks, where there is such a way.
        self.quick: Callable[[Tensor, KeyValueCache], Tensor] | None = None

    def layer(self, index: int) -> LayerCache:
        """The part that one layer's self-attention extends."""
        return LayerCache(self, self._kept[index])

    def advance(self, tokens: int) -> None:
        """All layers have taken in ``tokens`` more."""
        self.length += tokens

    def reorder(self, rows: Tensor) -> None:
        """Sequence ``i`` goes on from what was sequence ``rows[i]`` (beams that were dropped or doubled)."""
        used = self._kept[:, :, :, :, : self.length]
        used.copy_(used.index_select(2, rows))


class LayerCache:
    """Keys and values of one layer."""

    def __init__(self, cache: KeyValueCache, kept: Tensor) -> None:
        self.cache, self.kept = cache, kept

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new tokens ``(rows, L, heads, d)``; views of all so far, ``(rows, heads, T + L, d)``.

        Raises:
            ParameterError: no place is left, or several tokens where earlier ones are there already.
        """
        start, stop = self.cache.length, self.cache.length + keys.shape[1]
        if stop > self.cache.places or (start and keys.shape[1] > 1):
            raise ParameterError(
                f"{keys.shape[1]} tokens after {start} in a cache of {self.cache.places}: the first tokens "
                "come together and all others one by one"
            )
        self.kept[0, :, :, start:stop] = keys.transpose(1, 2)
        self.kept[1, :, :, start:stop] = values.transpose(1, 2)
        return self.kept[0, :, :, :stop], self.kept[1, :, :, :stop]
