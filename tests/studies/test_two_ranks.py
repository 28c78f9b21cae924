"""Two ranks (gloo), one of them without masks, give the losses and gradients of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("two_ranks.py")


def run(command: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("balancer", ["fixed", "uncertainty", "pcgrad", "upgrad"])
def test_two_ranks_equal_one_process(tmp_path, balancer):
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    run([sys.executable, str(SCRIPT), str(one), balancer])
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        "--local-addr",
        "127.0.0.1",
    ]
    run([*torchrun, str(SCRIPT), str(two), balancer])
    alone, ranks = (torch.load(path, weights_only=True) for path in (one, two))
    assert (
        alone["losses"].keys()
        == ranks["losses"].keys()
        >= {"train/loss/segmentation", "train/loss/classification"}
    )
    for name, value in alone["losses"].items():
        assert ranks["losses"][name] == pytest.approx(value, rel=1e-5), name
    assert alone["gradients"].keys() == ranks["gradients"].keys()
    for name, gradient in alone["gradients"].items():
        torch.testing.assert_close(ranks["gradients"][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    for name, weight in alone["weights"].items():
        torch.testing.assert_close(ranks["weights"][name], weight, rtol=1e-3, atol=1e-5, msg=name)
