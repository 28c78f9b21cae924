r"""One encoder, a segmentation decoder and a classification head.

.. math:: h = \mathrm{GAP}(x_\mathrm{bottleneck}), \qquad
          \mathrm{logits} = W_2\,\mathrm{dropout}(\mathrm{ReLU}(W_1 h + b_1)) + b_2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from mtl.errors import CheckpointError, ParameterError
from mtl.models.parts import PartitionedModel
from mtl.models.unet import UNetDecoder, UNetEncoder


class ClassificationHead(nn.Module):
    """Global average pooling and a two-layer perceptron: ``(B, C, h, w)`` to ``(B, num_classes)``."""

    def __init__(
        self, in_channels: int, num_classes: int = 2, hidden: int = 256, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Linear(in_channels, hidden)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(hidden, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Bottleneck ``(B, C, h, w)`` to class logits ``(B, num_classes)``."""
        pooled = self.pool(features).flatten(1)
        return self.logits(self.dropout(self.hidden(pooled).relu()))


class MultiTaskModel(PartitionedModel, PyTorchModelHubMixin):
    """Tumour mask and tumour yes/no from one slice.

    The arguments are saved beside the weights (``config.json``), so that ``from_pretrained(folder)``
    needs nothing else. Another backbone is a subclass with its own :meth:`make_encoder`: code stays code, and
    ``config.json`` names the class. See :mod:`mtl.models.backbones` for what an encoder has to offer.

    A subclass may name heads of tasks of its own in ``added_heads``; see there.

    Args:
        in_channels: channels of the image.
        base_filters, depth: size of the U-Net; the bottleneck has ``base_filters * 2**depth`` channels.
        num_classes: classes of the head; index 1 is "tumour".
        dropout: rate in the head.
        image_size: pixels along each side of the square that the network was trained on.
        normalisation: how images were prepared (``BrainNormalisation.to_dict()``), carried for the
            predictor; the network itself does not use it.
    """

    part_names = ("encoder", "decoder", "cls_head")
    shared_parts = ("encoder",)
    #: Task to what makes its head from the encoder (whose ``channels`` are those of its levels). The head
    #: gets the list of features, bottleneck last; it is the part ``<task>_head``, its output is ``<task>``.
    added_heads: ClassVar[Mapping[str, Callable[[nn.Module], nn.Module]]] = {}

    def __init__(
        self,
        in_channels: int = 1,
        base_filters: int = 64,
        depth: int = 4,
        num_classes: int = 2,
        dropout: float = 0.5,
        image_size: int = 256,
        normalisation: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.image_size = image_size
        self.normalisation = normalisation
        self.encoder = self.make_encoder(in_channels, base_filters, depth)
        self.decoder = UNetDecoder(channels=self.encoder.channels, stride=getattr(self.encoder, "stride", 1))
        self.cls_head = ClassificationHead(self.encoder.channels[-1], num_classes, dropout=dropout)
        # Last, so that the other parts draw the same initial weights as in a network without them.
        for task, make_head in self.added_heads.items():
            self._add_head(task, make_head(self.encoder))

    def make_encoder(self, in_channels: int, base_filters: int, depth: int) -> nn.Module:
        """The network that image features come from; a subclass returns another one."""
        return UNetEncoder(in_channels, base_filters, depth)

    def _add_head(self, task: str, head: nn.Module) -> None:
        part = f"{task}_head"
        if not part.isidentifier() or task in ("seg", "cls", "features"):
            raise ParameterError(
                f"added_heads: {task!r} cannot name a task; expected are letters, digits and _, "
                "but not seg, cls or features"
            )
        self.add_module(part, head)
        self.part_names = (*self.part_names, part)

    def forward(
        self, x: Tensor, do_seg: bool = True, do_cls: bool = True, do_added: bool = True
    ) -> dict[str, Any]:
        """One encoder pass, then the heads that are asked for.

        Args:
            x: ``(B, in_channels, H, W)`` float.
            do_seg, do_cls, do_added: which heads run; the key of a head that does not run is absent.

        Returns:
            ``seg``: mask logits ``(B, 1, H, W)``; ``cls``: class logits ``(B, num_classes)``;
            ``features``: the encoder's list, bottleneck last; and what each added head gives, by its task.
        """
        features = self.encoder(x)
        output: dict[str, Any] = {"features": features}
        if do_seg:
            output["seg"] = self.decoder(features)
        if do_cls:
            output["cls"] = self.cls_head(features[-1])
        for task in self.added_heads if do_added else ():
            output[task] = getattr(self, f"{task}_head")(features)
        return output


def infer_architecture(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Arguments of the ``MultiTaskModel`` that a bare state dict belongs to, from its tensor shapes.

    Raises:
        CheckpointError: names the first tensor that is missing or does not fit.
    """
    levels = {int(key.split(".")[2]) for key in state if key.startswith("encoder.levels.")}
    first, last = "encoder.levels.0.0.weight", "cls_head.logits.weight"
    for key in (first, last):
        if key not in state:
            raise CheckpointError(
                f"no tensor {key!r} in the state dict, as a brain_mri model has; "
                f"found {', '.join(sorted(state)[:4])}, ..."
            )
    arguments = {
        "in_channels": state[first].shape[1],
        "base_filters": state[first].shape[0],
        "depth": len(levels) - 1,
        "num_classes": state[last].shape[0],
    }
    _require_same_shapes(state, MultiTaskModel(**arguments).state_dict(), arguments)
    return arguments


def _require_same_shapes(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], arguments: Mapping[str, int]
) -> None:
    said = ", ".join(f"{name}={value}" for name, value in arguments.items())
    for key, tensor in expected.items():
        if key not in state:
            raise CheckpointError(f"tensor {key!r} is missing for a brain_mri model with {said}")
        if state[key].shape != tensor.shape:
            found, wanted = tuple(state[key].shape), tuple(tensor.shape)
            raise CheckpointError(f"tensor {key!r} has shape {found}; a model with {said} has {wanted}")
    for key in state:
        if key not in expected:
            raise CheckpointError(f"tensor {key!r} does not belong to a brain_mri model with {said}")
