r"""One backbone, three spatially local heads, and five ways for clicks to take part.

.. math:: f = \mathrm{backbone}(x), \qquad y_h = W_h\,\mathrm{ReLU}(\mathrm{norm}(V_h * (f + r))) + b_h,
          \qquad h \in \{\text{semantic}, \text{instance}, \text{geometry}\}

with the residual :math:`r` of the prompts (0 without them). Heads normalise the channels of each voxel by
itself, so that a click changes nothing beyond its reach.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from mtl.errors import ParameterError
from mtl.models.click_patches import ClickPatches
from mtl.models.dense_features import BACKBONES, widen
from mtl.models.local_layers import LocalHead
from mtl.models.parts import PartitionedModel
from mtl.models.prompts import (
    PointPromptEncoder,
    PointPrompts,
    ball_offsets,
    check_prompts,
    click_balls,
    embedding_logits,
)
from mtl.models.target_head import TargetHead

INJECTIONS = ("late", "input", "multiscale", "embedding", "target_head")


class EMModel(PartitionedModel, PyTorchModelHubMixin):
    """Automatic and proofread segmentation of EM volumes.

    Arguments are saved beside the weights (``config.json``), so that ``from_pretrained(folder)`` needs
    nothing else.

    Args:
        spatial_dims: 2 or 3; in_channels: of the image.
        features: channels of the backbone at full resolution, and of the heads' hidden layer.
        n_classes: of the semantic head, background (0) included; embedding_channels: of the instance head.
        geometry: whether there is a geometry head (direction, structure tensor, RGBA).
        injection: how prompts take part: ``late`` (residual before the heads), ``input`` (click balls as
            channels of the image), ``multiscale`` (residual at every level of the encoder), ``embedding``
            (distances in embedding space, no weights), ``target_head`` (a mask head for the prompted object).
        backbone: ``SegResNet`` or ``VISTA3D`` (its encoder); blocks_down, blocks_up: residual blocks per
            level of the former.
        ball_radius: of click balls, in voxels of the finest axis.
        delta_d: margin of the embedding, for ``embedding`` and ``target_head``.
        spacing: nm per voxel along each axis: for the balls, and carried for predictors.
        intensity: how images were prepared, carried for predictors; the network does not use it.

    Raises:
        ParameterError: names the argument that is out of range.
    """

    part_names = ("backbone", "semantic_head", "instance_head")
    shared_parts = ("backbone",)

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        features: int = 16,
        n_classes: int = 2,
        embedding_channels: int = 16,
        geometry: bool = True,
        injection: str = "late",
        backbone: str = "SegResNet",
        blocks_down: Sequence[int] = (1, 2, 2, 4),
        blocks_up: Sequence[int] = (1, 1, 1),
        ball_radius: float = 3.0,
        delta_d: float = 1.5,
        spacing: Sequence[float] | None = None,
        intensity: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        _check_choice("injection", injection, INJECTIONS)
        _check_choice("backbone", backbone, tuple(BACKBONES))
        if spatial_dims not in (2, 3):
            raise ParameterError(f"spatial_dims = {spatial_dims}: 2 or 3 is expected")
        sizes = {"in_channels": in_channels, "features": features, "embedding_channels": embedding_channels}
        for name, value, least in (*((*size, 1) for size in sizes.items()), ("n_classes", n_classes, 2)):
            if value < least:
                raise ParameterError(f"{name} = {value}: at least {least} is expected")
        if not (0 <= ball_radius < math.inf and 0 < delta_d < math.inf):
            raise ParameterError(
                f"ball_radius = {ball_radius}, delta_d = {delta_d}: 0 up, and above 0, expected"
            )
        if spacing is not None and (
            len(spacing) != spatial_dims or not all(0 < step < math.inf for step in spacing)
        ):
            raise ParameterError(f"spacing = {tuple(spacing)}: {spatial_dims} positive numbers are expected")
        if injection == "multiscale" and backbone != "SegResNet":
            raise ParameterError(f"injection 'multiscale' needs the backbone SegResNet, not {backbone}")
        self.spatial_dims, self.n_classes, self.injection, self.delta_d = (
            spatial_dims,
            n_classes,
            injection,
            delta_d,
        )
        self.spacing, self.intensity = spacing, intensity
        blocks = {"blocks_down": blocks_down, "blocks_up": blocks_up} if backbone == "SegResNet" else {}
        self.backbone = BACKBONES[backbone](spatial_dims, in_channels, features, **blocks)
        self.semantic_head = LocalHead(features, features, n_classes, spatial_dims)
        self.instance_head = LocalHead(features, features, embedding_channels, spatial_dims)
        if geometry:
            n_geometry = spatial_dims + spatial_dims**2 + 4
            self._add_part("geometry_head", LocalHead(features, features, n_geometry, spatial_dims))
        offsets = ball_offsets(ball_radius, tuple(spacing or [1.0] * spatial_dims))
        self.register_buffer("offsets", offsets, persistent=False)
        # Last, so that all arms draw the same initial weights for what they have in common.
        self._add_prompt_path(features)

    def _add_prompt_path(self, features: int) -> None:
        if self.injection == "late":
            encoder = PointPromptEncoder(self.n_classes, features, self.spatial_dims)
            self._add_part("prompt_encoder", encoder)
        elif self.injection == "multiscale":
            widths = self.backbone.level_channels
            encoders = (PointPromptEncoder(self.n_classes, width, self.spatial_dims) for width in widths)
            self._add_part("prompt_encoder", nn.ModuleList(encoders))
        elif self.injection == "target_head":
            self._add_part("target_head", TargetHead(features, self.spatial_dims, self.offsets, self.delta_d))
        elif self.injection == "input":
            # As quiet at first as the residual's convolution.
            for layer in self.backbone.image_layers:
                widen(layer, 2)

    def _add_part(self, name: str, module: nn.Module) -> None:
        self.add_module(name, module)
        self.part_names = (*self.part_names, name)

    @property
    def heads(self) -> dict[str, LocalHead]:
        """The three local heads (two without geometry) by the name of their output."""
        names = ("semantic", "instance", "geometry")
        return {name: getattr(self, f"{name}_head") for name in names if f"{name}_head" in self.part_names}

    @property
    def reruns_encoder(self) -> bool:
        """Whether prompts pass through the backbone, so that no click can reuse its features."""
        return self.injection in ("input", "multiscale")

    @property
    def prompts_reach_heads(self) -> bool:
        """Whether prompts change the outputs of the three heads at all."""
        return self.injection in ("late", "input", "multiscale")

    @property
    def click_reach(self) -> int | None:
        """Voxels along each axis around a click within which the three heads can change; None: anywhere."""
        if self.reruns_encoder:
            return None
        return PointPromptEncoder.reach + LocalHead.reach if self.injection == "late" else 0

    def encode(
        self, images: Tensor, point_prompts: PointPrompts | None = None, semantic_ids: Tensor | None = None
    ) -> Tensor:
        """Images ``(B, in_channels, *sp)`` to features ``(B, F, *sp)``.

        Prompts only count if ``reruns_encoder``.

        Raises:
            ParameterError: points outside the volume, or an image of another dimension.
        """
        if images.dim() != self.spatial_dims + 2:
            raise ParameterError(
                f"images have shape {tuple(images.shape)}; (B, channels, *sp) with {self.spatial_dims} "
                "spatial axes is expected"
            )
        if self.reruns_encoder and point_prompts is not None:
            check_prompts(point_prompts, semantic_ids, images, self.n_classes)
        if self.injection == "input":
            return self.backbone(torch.cat([images, self._balls(images, point_prompts)], dim=1))
        if self.injection != "multiscale" or point_prompts is None:
            return self.backbone(images)
        ids = _or_foreground(semantic_ids, point_prompts)

        def residual(level: int, grid: tuple[int, ...]) -> Tensor:
            coarse = PointPrompts(
                point_prompts.points.div(2**level, rounding_mode="floor"), point_prompts.labels
            )
            return self.prompt_encoder[level](coarse, ids, grid)

        return self.backbone(images, residual)

    def decode(
        self,
        features: Tensor,
        point_prompts: PointPrompts | None = None,
        semantic_ids: Tensor | None = None,
        previous_mask: Tensor | None = None,
        automatic: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Features ``(B, F, *sp)`` to the outputs.

        Args:
            point_prompts: None for automatic mode.
            semantic_ids: ``(B,)`` int64, the class that the points mean; 1 where not given.
            previous_mask: ``(B, 1, *sp)`` in [0, 1], for ``target_head``.
            automatic: outputs of the same features without prompts, where there are any: then only what
                the clicks reach is computed anew, with the same result and the same gradients.

        Returns:
            ``semantic`` logits ``(B, C, *sp)``, ``instance`` ``(B, E, *sp)``, ``geometry`` ``(B, S + S^2 +
            4, *sp)`` if there is that head, ``features``; prompted, with ``embedding`` and ``target_head``,
            also ``target``: logits ``(B, 1, *sp)`` of the prompted object.

        Raises:
            ParameterError: points outside the volume, or a class that there is not.
        """
        prompted = point_prompts is not None
        if prompted:
            check_prompts(point_prompts, semantic_ids, features, self.n_classes)
        if prompted and self.injection == "late":
            ids = _or_foreground(semantic_ids, point_prompts)
            if automatic is not None:
                return self._around_clicks(features, point_prompts, ids, automatic)
            injected = features + self.prompt_encoder(point_prompts, ids, tuple(features.shape[2:]))
            output = {name: head(injected) for name, head in self.heads.items()}
        elif prompted and automatic is not None:
            output = dict(automatic)
        else:
            output = {name: head(features) for name, head in self.heads.items()}
        if prompted and not self.prompts_reach_heads:
            output["target"] = self.target(features, output, point_prompts, previous_mask)
        return output | {"features": features}

    def _around_clicks(
        self, features: Tensor, prompts: PointPrompts, semantic_ids: Tensor, automatic: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """:meth:`decode` of the arm ``late``, where the clicks reach; elsewhere ``automatic`` stands."""
        shape, reach = tuple(features.shape[2:]), self.click_reach
        changed, seen, painted = (
            ClickPatches(prompts.points, reach + grown, shape)
            for grown in (0, LocalHead.reach, LocalHead.reach + PointPromptEncoder.reach)
        )
        indicator = painted.cut(self.prompt_encoder.indicator(prompts, semantic_ids, shape))
        residual = seen.within(self.prompt_encoder.residual(indicator, padded=False))
        injected = seen.cut(features) + residual
        output = {
            name: changed.put(automatic[name], head.finish(head.convolve(injected, padded=False)))
            for name, head in self.heads.items()
        }
        return output | {"features": features}

    def target(
        self,
        features: Tensor,
        automatic: Mapping[str, Tensor],
        point_prompts: PointPrompts,
        previous_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits ``(B, 1, *sp)`` of the prompted object, of the arms ``embedding`` and ``target_head``.

        ``automatic``: what the heads made of the features, which in these arms no click changes.
        """
        if self.injection == "embedding":
            return embedding_logits(automatic["instance"], point_prompts, self.delta_d)
        return self.target_head(
            features, automatic["instance"], automatic["semantic"], point_prompts, previous_mask
        )

    def forward(
        self,
        images: Tensor,
        point_prompts: PointPrompts | None = None,
        semantic_ids: Tensor | None = None,
        previous_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """:meth:`encode`, then :meth:`decode`."""
        features = self.encode(images, point_prompts, semantic_ids)
        return self.decode(features, point_prompts, semantic_ids, previous_mask)

    def _balls(self, images: Tensor, prompts: PointPrompts | None) -> Tensor:
        shape = tuple(images.shape[2:])
        if prompts is None:
            return images.new_zeros(len(images), 2, *shape)
        return click_balls(prompts, shape, self.offsets).to(images.dtype)


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ParameterError(f"{name}: {value!r} is not one of {', '.join(known)}")


def _or_foreground(semantic_ids: Tensor | None, prompts: PointPrompts) -> Tensor:
    return prompts.points.new_ones(len(prompts.points)) if semantic_ids is None else semantic_ids
