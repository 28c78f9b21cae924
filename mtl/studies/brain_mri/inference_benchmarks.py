"""Benchmarks of a prediction: mask, class and Grad-CAM from one encoder pass (B1), decoder skipped (B2)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from monai.visualize import GradCAM
from torch import Tensor, nn

from mtl.datasets.brain_mri import BrainNormalisation, MultiSourceDataset, collate
from mtl.datasets.phantoms.brain_mri import BrainPhantom
from mtl.inference.brain_mri.grad_cam import bottleneck_grad_cam
from mtl.inference.brain_mri.network import NetworkOutput, OnePass
from mtl.models.brain_mri import MultiTaskModel
from mtl.studies.brain_mri.training_benchmarks import Batch, SeparateNetworks, training_step
from mtl.timing import Case

CPU = torch.device("cpu")


def phantom_slices(n: int, size: int, seed: int = 0) -> Batch:
    """A batch of ``n`` prepared phantom slices with their masks."""
    phantom = BrainPhantom(n_patients=n, slices_per_patient=1, rho=0.0, size=size, seed=seed)
    dataset = MultiSourceDataset([phantom], size, BrainNormalisation(), seed=seed)
    return collate([dataset[i] for i in range(min(n, len(dataset)))])


def briefly_trained(
    base_filters: int = 32, depth: int = 3, steps: int = 60, size: int = 64
) -> MultiTaskModel:
    """A network whose weights and statistics have left their initial values; no more is claimed of it."""
    torch.manual_seed(0)
    model = MultiTaskModel(base_filters=base_filters, depth=depth, image_size=size)
    model = model.to(memory_format=torch.channels_last)
    data = phantom_slices(64, size)
    keys = ("image", "mask", "cls", "has_mask")
    batches = [{key: data[key][start : start + 8] for key in keys} for start in range(0, 64, 8)]
    steppers = [training_step(model, batch) for batch in batches]
    for number in range(steps):
        steppers[number % len(steppers)]()
    return model.eval()


def inference_cases(model: MultiTaskModel, image: Tensor, checked: Tensor) -> list[Case]:
    """B1 and B2 on one prepared image.

    Args:
        model: in eval mode, its weights trained: what bfloat16 does to random ones says little.
        image: ``(1, 1, H, W)``, timed.
        checked: ``(B, 1, H, W)``, for the gates.
    """
    size = image.shape[-1]
    workload = f"mask, class and Grad-CAM of one {size} px image"
    # Peers keep PyTorch's standard layout: channels-last weights alone would give them channels-last speed.
    plain = deepcopy(model).eval().to(memory_format=torch.contiguous_format)
    two = SeparateNetworks(plain).eval()
    fast = OnePass(deepcopy(model), CPU)
    half = OnePass(deepcopy(model), CPU, precision="bfloat16")
    above = float(fast(image).tumor_prob) + 1e-3  # the network itself decides that this image is not decoded

    def everything(network: OnePass) -> Callable[[], NetworkOutput]:
        return lambda: network(image, grad_cam=True)

    def whole(network: OnePass, precision: str, peer: str, theirs: Callable[[], object], goal: float) -> Case:
        tolerance = 1e-5 if network is fast else 2e-3
        gate = partial(_closeness, network, plain, checked, tolerance)
        return Case("B1", f"{workload}, {precision}", peer, everything(network), theirs, gate, goal)

    separate = "prediction, then MONAI's GradCAM, float32"
    twice = _prediction_then_cam(plain, image)
    both = torch.inference_mode()(lambda: two(image))
    return [
        whole(fast, "float32", "two networks, without Grad-CAM, float32", both, 1.8),
        whole(fast, "float32", separate, twice, 2.5),
        whole(half, "bfloat16", separate, twice, 4.5),
        Case(
            "B2",
            f"one {size} px image below the threshold, decoder skipped",
            "mask, class and Grad-CAM of the same image",
            ours=lambda: fast(image, gate=above),
            theirs=everything(fast),
            gate=lambda: _skipped(fast, image, above),
            goal=1 / 0.37,
        ),
    ]


class _ClassLogits(nn.Module):
    """MONAI explains modules that return one tensor."""

    def __init__(self, model: MultiTaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image, do_seg=False)["cls"]


def _prediction_then_cam(model: MultiTaskModel, image: Tensor) -> Callable[[], object]:
    """What is usually done: one pass for the outputs, another with gradients for the map."""
    bottleneck = f"model.encoder.levels.{len(model.encoder.levels) - 1}"
    explain = GradCAM(_ClassLogits(deepcopy(model)), bottleneck)
    predict = torch.inference_mode()(lambda: model(image))
    return lambda: (predict(), explain.compute_map(image, class_idx=1))


@torch.inference_mode()
def _closeness(network: OnePass, plain: MultiTaskModel, images: Tensor, tolerance: float) -> str:
    """No tumour or mask probability changes by more than ``tolerance``."""
    found: NetworkOutput = network(images, grad_cam=True)
    expected = plain(images)
    masks = expected["seg"].sigmoid()
    cams = bottleneck_grad_cam(plain.cls_head, expected["features"][-1])
    of_class = float((found.tumor_prob - expected["cls"].softmax(1)[:, 1]).abs().max())
    of_mask = (found.seg_logits.sigmoid() - masks).abs()
    of_cam = float((found.grad_cam - cams).abs().max() / cams.max())
    turned = float(((found.seg_logits > 0) != (expected["seg"] > 0)).float().mean())
    text = (
        f"tumour probability off by {of_class:.1e}, mask probability by {float(of_mask.mean()):.1e} on "
        f"average, {float(of_mask.max()):.1e} at most, {turned:.1e} of the pixels turned, "
        f"Grad-CAM off by {of_cam:.1e} of its maximum"
    )
    assert max(of_class, float(of_mask.max())) <= tolerance, text
    return text


def _skipped(network: OnePass, image: Tensor, gate: float) -> str:
    full, gated = network(image), network(image, gate=gate)
    assert len(gated.decoded) == 0, "the decoder ran although the image is below the threshold"
    assert torch.equal(full.cls_logits, gated.cls_logits), "class logits differ without the decoder"
    return "class logits equal, no image decoded"
