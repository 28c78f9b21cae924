"""A change of a user's code is seen, whatever form the code has; what is equal has equal hashes."""

from __future__ import annotations

import functools
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mtl.studies.own_code import network_code_fingerprint, own_code_fingerprint


def scaled(predicted, target, factor=1.0):
    return factor * (predicted - target).abs().mean()


def with_table(table):
    def target(sample):
        return table[sample["id"]]

    return target


class Encoder(nn.Module):
    width = [4, 8]

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.layer, self.rate = nn.Conv2d(1, 4, 3), rate

    def forward(self, x):
        return self.layer(x).relu()


class OtherForward(Encoder):
    def forward(self, x):
        return F.gelu(self.layer(x))


class OtherWidth(Encoder):
    width = [4, 16]


class OtherProperty(Encoder):
    @property
    def twice(self):
        return 2 * self.rate


class OtherStatic(Encoder):
    @staticmethod
    def prepare(x):
        return x + 1


for changed in (OtherForward, OtherWidth, OtherProperty, OtherStatic):
    changed.__qualname__ = "Encoder"  # the same name: only what is inside may tell them apart

DIFFERENT = {
    "setting of a loss object": (nn.SmoothL1Loss(beta=1.0), nn.SmoothL1Loss(beta=0.1)),
    "tensor of a loss object": (nn.BCELoss(torch.ones(2)), nn.BCELoss(torch.tensor([1.0, 2.0]))),
    "argument of a partial": (functools.partial(scaled, factor=1.0), functools.partial(scaled, factor=2.0)),
    "function of a partial": (functools.partial(scaled), functools.partial(F.l1_loss)),
    "value in a closure": (with_table({"a": 1.0}), with_table({"a": 2.0})),
    "array in a closure": (with_table(np.zeros(2)), with_table(np.array([0.0, 1e-9]))),
    "body of a lambda": (lambda s: s + 1, lambda s: s + 2),
    "forward of a class": (Encoder, OtherForward),
    "list of a class": (Encoder, OtherWidth),
    "property of a class": (Encoder, OtherProperty),
    "static method of a class": (Encoder, OtherStatic),
    "library functions": (F.l1_loss, F.mse_loss),
    "bound methods": (Encoder(0.1).forward, Encoder(0.2).forward),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_change_is_seen(case):
    first, second = DIFFERENT[case]
    assert own_code_fingerprint(first) != own_code_fingerprint(second)


def test_equal_things_have_equal_hashes():
    pairs = [
        (nn.SmoothL1Loss(beta=0.1), nn.SmoothL1Loss(beta=0.1)),
        (functools.partial(scaled, factor=2.0), functools.partial(scaled, factor=2.0)),
        (with_table({"a": 1.0}), with_table({"a": 1.0})),
        ({1, 2, 3}, {3, 2, 1}),
    ]
    for first, second in pairs:
        assert own_code_fingerprint(first) == own_code_fingerprint(second)


def test_hashes_are_the_same_in_another_process():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_own_code as t; "
        "print(t.own_code_fingerprint(t.Encoder, t.functools.partial(t.scaled, factor=3.0)))"
    )
    here = own_code_fingerprint(Encoder, functools.partial(scaled, factor=3.0))
    folder = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here


def test_of_a_network_the_users_classes_count_and_the_weights_do_not():
    torch.manual_seed(0)
    first, again = nn.Sequential(Encoder()), nn.Sequential(Encoder())
    assert network_code_fingerprint(first) == network_code_fingerprint(again)
    assert network_code_fingerprint(first) != network_code_fingerprint(nn.Sequential(OtherForward()))
