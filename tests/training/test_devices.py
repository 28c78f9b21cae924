"""The device layer's own switches; ranks are tested in ``tests/studies/test_two_ranks.py``."""

from __future__ import annotations

import pytest
import torch

from mtl.training.devices import make_fabric


def test_deterministic_refuses_operations_that_have_no_such_algorithm():
    values, places = torch.zeros(4), torch.tensor([0, 0])
    try:
        make_fabric("cpu", deterministic=True)
        with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
            values.put_(places, torch.ones(2), accumulate=False)
    finally:
        make_fabric("cpu")
    values.put_(places, torch.ones(2), accumulate=False)
    assert values[0] == 1
