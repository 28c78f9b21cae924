"""How a cost grows: the exponent b of cost = a * size^b."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtl.errors import ParameterError


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Least-squares slope of log cost over log size.

    Raises:
        ParameterError: fewer than three sizes, or a size or cost that is not above 0.
    """
    if len(sizes) < 3 or len(sizes) != len(costs):
        raise ParameterError(
            f"{len(sizes)} sizes and {len(costs)} costs: as many, and at least 3, are expected"
        )
    if min(*sizes, *costs) <= 0:
        raise ParameterError("sizes and costs must be above 0: their logarithms are fitted")
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
