r"""The network made fast, and run once for everything that is asked of an image.

A batch norm in eval mode is an affine map per channel, so it goes into the convolution before it:

.. math:: W' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}\, W, \qquad
          b' = \beta - \frac{\gamma\,\mu}{\sqrt{\sigma^2 + \epsilon}}
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mtl.errors import ParameterError
from mtl.inference.brain_mri.grad_cam import bottleneck_grad_cam
from mtl.models.brain_mri import MultiTaskModel

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class NetworkOutput:
    """What one encoder pass over ``B`` images gave; ``None`` where it was not asked for.

    ``bottleneck``: ``(B, C, h, w)`` in the network's precision; the rest is float32: ``cls_logits``
    ``(B, classes)``, ``tumor_prob`` ``(B,)``, ``seg_logits`` ``(n, 1, H, W)`` for the images numbered in
    ``decoded`` ``(n,)``, ``grad_cam`` ``(B, h, w)``.
    """

    bottleneck: Tensor
    cls_logits: Tensor | None
    tumor_prob: Tensor | None
    decoded: Tensor
    seg_logits: Tensor | None
    grad_cam: Tensor | None


class OnePass:
    """Encoder once, then the heads that are wanted, where they are wanted.

    Args:
        model: taken over: put into eval mode, changed in place and moved to ``device``.
        fold_batch_norm: batch norms go into the convolutions, worked out in float64.
        precision: of the convolutions; batch norms that stay and the classification head are float32.
        channels_last: memory layout that CPU and GPU convolutions like best.

    Raises:
        ParameterError: unknown precision.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        device: torch.device,
        *,
        fold_batch_norm: bool = True,
        precision: str = "float32",
        channels_last: bool = True,
    ) -> None:
        if precision not in PRECISIONS:
            raise ParameterError(f"precision={precision!r} must be one of {', '.join(PRECISIONS)}")
        model.eval().requires_grad_(False)
        if fold_batch_norm:
            fold_batch_norms(model)
        self.device, self.dtype = device, PRECISIONS[precision]
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.to(self.dtype)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(device, memory_format=self.layout)

    @torch.inference_mode()
    def __call__(
        self,
        images: Tensor,
        *,
        do_seg: bool = True,
        do_cls: bool = True,
        grad_cam: bool = False,
        gate: float | None = None,
        temperature: float = 1.0,
    ) -> NetworkOutput:
        """Run the network on prepared images ``(B, 1, H, W)``.

        Args:
            do_seg, do_cls: which heads run.
            grad_cam: explain the class "tumour" at the bottleneck.
            gate: the decoder runs only for images of at least this tumour probability; ``None``: for all.
            temperature: divides the class logits before the softmax.
        """
        features = self.encode(images)
        head, bottleneck = self.model.cls_head, features[-1]
        logits = head(bottleneck.float()) if do_cls else None
        probability = (logits / temperature).softmax(dim=1)[:, 1] if logits is not None else None
        decoded = torch.arange(len(images) if do_seg else 0, device=self.device)
        if do_seg and gate is not None and probability is not None:
            decoded = (probability >= gate).nonzero()[:, 0]
        with self._arithmetic():
            masks = self._decode(features, decoded) if do_seg else None
        cam = bottleneck_grad_cam(head, bottleneck) if grad_cam else None
        return NetworkOutput(bottleneck, logits, probability, decoded, masks, cam)

    def encode(self, images: Tensor) -> list[Tensor]:
        """The encoder's features of prepared images ``(B, 1, H, W)``: one pass."""
        with self._arithmetic():
            return self.model.encoder(images.to(self.device, self.dtype, memory_format=self.layout))

    def _arithmetic(self) -> AbstractContextManager:
        """float32 means float32: a GPU's TF32 would round convolutions to ten bits."""
        if self.device.type != "cuda":
            return nullcontext()
        now = torch.backends.cudnn
        kept = {"enabled": now.enabled, "benchmark": now.benchmark, "deterministic": now.deterministic}
        return now.flags(**kept, allow_tf32=False)

    def _decode(self, features: list[Tensor], rows: Tensor) -> Tensor:
        batch, _, height, width = features[0].shape
        if len(rows) == 0:
            return torch.empty(0, 1, height, width, device=self.device)
        chosen = features if len(rows) == batch else [feature[rows] for feature in features]
        return self.model.decoder(chosen).float()


def fold_batch_norms(module: nn.Module) -> None:
    """Put every batch norm after a convolution of a ``Sequential`` into it, in place; for eval mode only."""
    for block in [part for part in module.modules() if isinstance(part, nn.Sequential)]:
        for place in range(len(block) - 1):
            convolution, norm = block[place], block[place + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                dtype = convolution.weight.dtype
                block[place] = fuse_conv_bn_eval(convolution.double(), norm.double()).to(dtype)
                block[place + 1] = nn.Identity()
