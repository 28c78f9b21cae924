"""Clicks on one volume: features once, then a mask after every click, with undo, redo and a history.

A click answers quickly because only what it changes is computed again: what that is in each injection arm is
told in :mod:`mtl.inference.em.click_fields`. The answers are those of a full run of the model on the same
clicks, to rounding (on a GPU: where TF32 is off).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mtl.errors import DataError, ParameterError
from mtl.inference.em.click_fields import Click, Fields, KeptFields, RerunFields, as_prompts
from mtl.inference.em.clicks_to_mask import FOREGROUND, checked_points, checked_threshold, clicks_to_mask
from mtl.inference.em.target_masks import TargetMasks
from mtl.models.em import EMModel


class ClickSession:
    """One object clicked out of one volume; for the next object, :meth:`clear` it: the features stay.

    Args:
        model: put into eval mode; runs where it is. Its weights must not change while the session lives.
        image: ``(*sp)`` float in [0, 1]; or a volume with ``shape`` and ``read(box) -> (image, labels)``.
        box: part of the volume that the session is about, default all of it; points count from its corner.
        semantic_id: class of the object that is clicked.
        threshold: of the rule from clicks to a mask: the one that suits the model's automatic instances.

    Raises:
        ParameterError: the image has other axes than the model; ``semantic_id`` is no foreground class;
            ``threshold`` is outside of [0.5, 1).
        DataError: grey values outside of [0, 1].
    """

    def __init__(
        self,
        model: EMModel,
        image: Any,
        box: tuple[slice, ...] | None = None,
        semantic_id: int = 1,
        threshold: float = FOREGROUND,
    ) -> None:
        voxels = _voxels(image, box)
        if voxels.dim() != model.spatial_dims:
            raise ParameterError(
                f"the image has shape {tuple(voxels.shape)}; the model wants {model.spatial_dims} axes"
            )
        if not 1 <= semantic_id < model.n_classes:
            raise ParameterError(f"semantic_id = {semantic_id}: 1 to {model.n_classes - 1} is expected")
        checked_threshold(threshold)
        self.shape = tuple(voxels.shape)
        self.injection = model.injection
        self._answers = _answers_of(model.eval(), voxels, semantic_id, threshold)
        self._clicks: list[Click] = []
        self._masks = [_fixed(np.zeros(self.shape, dtype=bool))]
        self._undone: list[tuple[Click, np.ndarray]] = []

    @property
    def reruns_encoder(self) -> bool:
        """Whether every click runs the whole network again, as in the arms ``input`` and ``multiscale``."""
        return self._answers.reruns_encoder

    @property
    def history(self) -> tuple[Click, ...]:
        """The clicks that count, oldest first."""
        return tuple(self._clicks)

    @property
    def points(self) -> Tensor:
        """``(P, S)`` int64: where the clicks that count are, oldest first."""
        return as_prompts(self._clicks, len(self.shape)).points[0]

    @property
    def labels(self) -> Tensor:
        """``(P,)`` int64: 1 positive, 0 negative."""
        return as_prompts(self._clicks, len(self.shape)).labels[0]

    @property
    def mask(self) -> np.ndarray:
        """``(*sp)`` bool, read-only; empty without positive clicks."""
        return self._masks[-1]

    def add(self, point: Sequence[int], positive: bool = True) -> np.ndarray:
        """One more click at a voxel, (z, y, x) or (y, x); what was undone is forgotten. Returns the mask.

        Raises:
            ParameterError: the point is outside the volume; the session stays what it was.
        """
        [place] = checked_points([point], self.shape)
        click = Click(place, bool(positive))
        with torch.inference_mode():
            mask = self._answers.mask([*self._clicks, click], self.mask)
        self._undone.clear()
        return self._put(click, _fixed(mask))

    def answer(self, points: Sequence[Sequence[int]], labels: Sequence[int]) -> np.ndarray:
        """The mask after exactly these clicks in this order; what the session has of them is kept.

        Args:
            points: ``(P, S)`` integers; ``labels``: ``(P,)``, 1 positive, 0 negative. No points: as `clear`.

        Raises:
            ParameterError: a point is outside the volume, a label is neither 1 nor 0, or there are not as
                many labels as points.
        """
        if len(points) != len(labels):
            raise ParameterError(f"{len(points)} points with {len(labels)} labels; as many are expected")
        if strange := [label for label in labels if label not in (0, 1)]:
            raise ParameterError(f"label {strange[0]}: 1 (positive) or 0 (negative) is expected")
        places = checked_points(points, self.shape)
        wanted = [Click(place, label == 1) for place, label in zip(places, labels, strict=True)]
        same = [now == then for now, then in zip(self._clicks, wanted, strict=False)]
        kept = same.index(False) if False in same else len(same)
        del self._clicks[kept:], self._masks[kept + 1 :]
        self._undone.clear()
        for point, positive in wanted[kept:]:
            self.add(point, positive)
        return self.mask

    def undo(self) -> np.ndarray:
        """Take the last click back, if there is one. Returns the mask."""
        if self._clicks:
            self._undone.append((self._clicks.pop(), self._masks.pop()))
        return self.mask

    def redo(self) -> np.ndarray:
        """Bring back the click that was last taken back, if there is one. Returns the mask."""
        return self._put(*self._undone.pop()) if self._undone else self.mask

    def clear(self) -> np.ndarray:
        """Take all clicks back for good. Returns the mask, which is empty."""
        self._clicks.clear()
        self._undone.clear()
        del self._masks[1:]
        return self.mask

    def predictions(self) -> dict[str, Tensor]:
        """What the heads say: ``semantic`` ``(C, *sp)`` logits and ``instance`` ``(E, *sp)``."""
        with torch.inference_mode():
            fields = self._answers.fields(self._clicks)
            return {"semantic": fields.semantic.clone(), "instance": fields.instance.clone()}

    def _put(self, click: Click, mask: np.ndarray) -> np.ndarray:
        self._clicks.append(click)
        self._masks.append(mask)
        return mask


class Answers(Protocol):
    """From clicks to a mask, in one injection arm."""

    reruns_encoder: bool

    def mask(self, clicks: Sequence[Click], previous: np.ndarray) -> np.ndarray: ...

    def fields(self, clicks: Sequence[Click]) -> Fields: ...


class RuleAnswers:
    """The rule of :mod:`mtl.inference.em.clicks_to_mask` on what the heads say with the clicks."""

    def __init__(self, fields: KeptFields | RerunFields, threshold: float) -> None:
        self._fields, self.threshold = fields, threshold
        self.reruns_encoder = isinstance(fields, RerunFields)

    def mask(self, clicks: Sequence[Click], previous: np.ndarray) -> np.ndarray:
        """``(*sp)`` bool; ``previous`` does not matter."""
        fields, model = self.fields(clicks), self._fields.model
        points, labels = as_prompts(clicks, fields.foreground.dim())
        return clicks_to_mask(
            fields.instance, fields.foreground, points[0], labels[0],
            model.delta_d, self.threshold, model.spacing, self._fields.unprompted(points[0]),
        )  # fmt: skip

    def fields(self, clicks: Sequence[Click]) -> Fields:
        """The heads' outputs with these clicks."""
        return self._fields.at(clicks)


@torch.inference_mode()
def _answers_of(model: EMModel, voxels: Tensor, semantic_id: int, threshold: float) -> Answers:
    image = voxels[None, None].to(next(model.parameters()).device)
    if model.reruns_encoder:
        return RuleAnswers(RerunFields(model, image, semantic_id), threshold)
    kept = KeptFields(model, image, semantic_id)
    if model.injection == "target_head":
        return TargetMasks(kept)
    return RuleAnswers(kept, threshold)


def _fixed(mask: np.ndarray) -> np.ndarray:
    mask.setflags(write=False)
    return mask


def _voxels(image: Any, box: tuple[slice, ...] | None) -> Tensor:
    """The image, or its part in ``box``, as float32.

    Raises DataError unless its values are in [0, 1], ParameterError for a box that does not lie in it.
    """
    box = tuple(slice(0, size) for size in image.shape) if box is None else tuple(box)
    inside = [
        0 <= (part.start or 0) < (size if part.stop is None else part.stop) <= size
        for part, size in zip(box, image.shape, strict=False)
    ]
    if len(box) != len(image.shape) or not all(inside):
        raise ParameterError(
            f"box {box}: expected one slice per axis, not empty, inside of the shape {tuple(image.shape)}"
        )
    voxels = np.asarray(image.read(box)[0] if hasattr(image, "read") else image[box])
    lowest, highest = (float(end) for end in (voxels.min(), voxels.max()))
    if not 0 <= lowest <= highest <= 1:  # also where one is NaN
        raise DataError(f"the image has values from {lowest:g} to {highest:g}; [0, 1] is expected")
    return torch.as_tensor(voxels.astype(np.float32))
