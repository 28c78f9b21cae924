"""Benchmarks of the sliding window (E7): what it adds to the network, and its memory over the depth."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtl.inference.em.blending import AxisTiles
from mtl.inference.em.sliding_window import sliding_window
from mtl.timing import Case, fitted_exponent

CHANNELS = 24
PATCH = (16, 64, 64)
IMAGE = (28, 112, 112)
OVERLAP = 0.25
IDENTITY_TOLERANCE = 1e-3
SIDES = ("ours", "memory")


def segresnet(features: int = 16) -> nn.Module:
    """MONAI's SegResNet with as many outputs as the study's heads have together."""
    from monai.networks.nets import SegResNet

    torch.manual_seed(0)
    return SegResNet(init_filters=features, out_channels=CHANNELS).eval()


def window_cases(
    network: nn.Module | None = None, image_shape: Sequence[int] = IMAGE, patch: Sequence[int] = PATCH
) -> list[Case]:
    """E7: patches blended and written to disk, against the network alone and against MONAI's window.

    Args:
        network: ``(B, 1, *patch)`` to ``(B, C, *patch)``; default: a SegResNet of 16 features.
    """
    from monai.inferers import sliding_window_inference

    network = segresnet() if network is None else network
    image = np.random.default_rng(0).random(tuple(image_shape), dtype=np.float32)
    folder = tempfile.TemporaryDirectory()
    target = Path(folder.name) / "blended.zarr"
    patches = _patches(image, patch)
    batch = torch.from_numpy(image)[None, None]
    workload = f"{CHANNELS} channels, image {_times(image_shape)} in patches {_times(patch)}"

    def to_disk(keep: tempfile.TemporaryDirectory = folder) -> object:
        return sliding_window(network, image, patch, overlap=OVERLAP, path=target)

    def alone() -> list[Tensor]:
        return [network(one) for one in patches]

    def monai() -> Tensor:
        return sliding_window_inference(batch, tuple(patch), 1, network, overlap=OVERLAP, mode="gaussian")

    def gate() -> str:
        return identity_gate(image, patch)

    return [
        Case(
            "E7", f"{workload}, blended and written to disk", f"the network alone, {len(patches)} patches",
            to_disk, torch.inference_mode()(alone), gate, goal=1 / 1.3,
        ),
        Case(
            "E7", f"{workload}, blended and written to disk", "MONAI's sliding_window_inference, in memory",
            to_disk, torch.inference_mode()(monai), gate,
        ),
    ]  # fmt: skip


def identity_gate(image: np.ndarray, patch: Sequence[int]) -> str:
    """Blending a network that returns its input returns the image. Raises ``AssertionError`` beyond 1e-3."""
    blended = sliding_window(lambda patches: patches, image, patch, overlap=OVERLAP)
    off = float(np.abs(blended[0] - image).max())
    text = f"identity network off by {off:.1e}"
    assert off <= IDENTITY_TOLERANCE, text
    return text


def memory_row(depths: Sequence[int] = (64, 128, 256, 512), side: int = 96) -> dict[str, Any]:
    """E7: memory that the window needs over the volume's depth; each point in a process of its own.

    Returns:
        A row with ``exponent`` (of our peak over the depth), ``peer_exponent``, ``sizes``, and the MiB of
        each side. Ours streams to disk; the peer is MONAI's window on a tensor in memory.
    """
    mib = {name: [_peak_in_process(name, depth, side) for depth in depths] for name in SIDES}
    slopes = {name: fitted_exponent(depths, values) for name, values in mib.items()}
    said = ", ".join(
        f"{ours:.0f} / {peer:.0f}" for ours, peer in zip(mib["ours"], mib["memory"], strict=True)
    )
    return {
        "id": "E7",
        "workload": f"memory of the window, {CHANNELS} channels, {side} x {side} planes, streamed to disk",
        "peer": "MONAI's sliding_window_inference, in memory",
        **dict.fromkeys(("peer_s", "ours_s", "ratio")),
        "goal": None,
        "correct": True,
        "difference": f"MiB above the network's own, ours / peer: {said} at depths {_listed(depths)}",
        "sizes": list(depths),
        "ours_mib": mib["ours"],
        "peer_mib": mib["memory"],
        "exponent": slopes["ours"],
        "exponent_goal": 0.1,
        "peer_exponent": slopes["memory"],
    }


def _patches(image: np.ndarray, patch: Sequence[int]) -> list[Tensor]:
    """Every patch of the window as a batch of one."""
    boxes: list[tuple[slice, ...]] = [()]
    for size, length in zip(image.shape, patch, strict=True):
        starts = AxisTiles(size, length, OVERLAP).starts
        boxes = [(*box, slice(start, start + length)) for box in boxes for start in starts]
    return [torch.from_numpy(image[box].copy())[None, None] for box in boxes]


def _peak_in_process(side_name: str, depth: int, side: int) -> float:
    command = [sys.executable, "-m", __name__, side_name, str(depth), str(side)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["mib"]


class _NoiseVolume:
    """A volume that is nowhere: every box is drawn when it is read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def read(self, box: tuple[slice, ...]) -> tuple[np.ndarray, None]:
        sizes = [part.stop - part.start for part in box]
        return np.random.default_rng(box[0].start).random(sizes, dtype=np.float32), None


def _print_peak(side_name: str, depth: int, side: int) -> None:
    """Peak memory (MiB) of one window above what the process held with the network warmed up."""
    from monai.inferers import sliding_window_inference

    patch, shape = (16, 48, 48), (depth, side, side)
    network = nn.Conv3d(1, CHANNELS, 3, padding=1).eval()
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:

        def ours(planes: int) -> object:
            volume = _NoiseVolume((planes, side, side))
            return sliding_window(network, volume, patch, path=Path(folder) / "out.zarr")

        def in_memory(planes: int) -> object:
            image = torch.rand(1, 1, planes, side, side)
            return sliding_window_inference(image, patch, 1, network, overlap=OVERLAP, mode="gaussian")

        run: Callable[[int], object] = ours if side_name == "ours" else in_memory
        network(torch.rand(1, 1, *patch))
        before = peak_mib()
        run(shape[0])
        print(json.dumps({"mib": peak_mib() - before}))


def peak_mib() -> float:
    """Largest resident memory of this program so far.

    From the kernel's own count where there is one: ``getrusage`` also counts what the process held that
    started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        [kib] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(kib) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values)


if __name__ == "__main__":
    _print_peak(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
