"""``MultiTaskPredictor``: a checkpoint's folder, and then images in and predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from mtl.datasets.brain_mri.normalisation import BrainNormalisation, Geometry
from mtl.errors import CheckpointError, DataError, ParameterError
from mtl.inference.brain_mri.calibration import Calibration
from mtl.inference.brain_mri.grad_cam import upsampled
from mtl.inference.brain_mri.images import ImageLike, read_slice
from mtl.inference.brain_mri.network import NetworkOutput, OnePass
from mtl.inference.brain_mri.prediction import Prediction
from mtl.inference.brain_mri.uncertainty import (
    Uncertainty,
    UncertaintyOptions,
    changed_copies,
    dropout_logits,
    summarise,
)
from mtl.model_folder import load_model
from mtl.models.brain_mri import MultiTaskModel


@dataclass(frozen=True, eq=False)
class PreparedSlice:
    """A native slice, float32 ``(H, W)``, the network's input made of it, ``(S, S)``, and where that lies."""

    image: NDArray[np.float32]
    square: NDArray[np.float32]
    geometry: Geometry


class MultiTaskPredictor:
    """Tumour probability, mask, Grad-CAM and uncertainty of brain MRI slices; one encoder pass per image.

    Architecture, size and normalisation come with the checkpoint, and so do temperature and classification
    threshold where they have been chosen on validation data (``calibration.json``).

    Args:
        checkpoint: a model folder (``config.json`` and ``model.safetensors``).
        mask_threshold: a pixel is in the mask where its probability is above this.
        classification_threshold: a slice is positive, and is decoded by ``predict_conditional``, from this
            tumour probability on; ``None``: as stored with the checkpoint, else 0.3.
        temperature: divides the class logits; ``None``: as stored with the checkpoint, else 1.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ...
        precision: ``float32`` or ``bfloat16`` convolutions.
        fold_batch_norm, channels_last: the fast path of :class:`OnePass`; outputs agree to 1e-5.
        batch_size: images that go through the network together.
        model_class: the class that wrote the folder, where it is a subclass on another backbone.

    Raises:
        CheckpointError: not a model folder of this class, or a damaged one.
        ParameterError: an argument is out of range.

    Images are paths (JPEG, PNG, TIFF, ``.npz``), PIL pictures, or arrays ``(H, W)`` or ``(H, W, 3)``; a file
    that cannot be read raises ``DataError``. Volumes go to ``predict_volume``, folders to ``predict_folder``.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        mask_threshold: float = 0.5,
        classification_threshold: float | None = None,
        temperature: float | None = None,
        device: str = "auto",
        precision: str = "float32",
        fold_batch_norm: bool = True,
        channels_last: bool = True,
        batch_size: int = 16,
        model_class: type[MultiTaskModel] = MultiTaskModel,
    ) -> None:
        self.checkpoint = Path(checkpoint)
        model = load_model(model_class, self.checkpoint)
        self.normalisation, self.image_size = _normalisation_of(model, self.checkpoint), model.image_size
        stored = Calibration.of(self.checkpoint)
        self.temperature = stored.temperature if temperature is None else temperature
        if classification_threshold is None:
            classification_threshold = stored.classification_threshold
        self.classification_threshold, self.mask_threshold = classification_threshold, mask_threshold
        self.batch_size = batch_size
        self._check_ranges()
        options = {"precision": precision, "fold_batch_norm": fold_batch_norm}
        self.network = OnePass(model, _device(device), channels_last=channels_last, **options)
        self.model = self.network.model

    # ------------------------------------------------------------------ the five methods
    def predict_single(self, image: ImageLike, do_seg: bool = True, do_cls: bool = True) -> Prediction:
        """One image, the tasks that are asked for, decoded whatever the classification says."""
        return self.predict_batch([image], do_seg, do_cls)[0]

    def predict_batch(
        self,
        images: Sequence[ImageLike | PreparedSlice],
        do_seg: bool = True,
        do_cls: bool = True,
        *,
        conditional: bool = False,
        grad_cam: bool = False,
        uncertainty: UncertaintyOptions | None = None,
    ) -> list[Prediction]:
        """Several images, in their order; what the other four methods are made of.

        Args:
            images: of any sizes; or what ``prepare`` made of them.
            do_seg, do_cls: which tasks.
            conditional: decode only the images at or above the classification threshold.
            grad_cam: explain "tumour", from the same encoder pass.
            uncertainty: what to repeat for it; the head only, unless augmentation is asked for.

        Raises:
            ParameterError: nothing is asked for, or what needs the classification is asked for without it.
        """
        _check_request(do_seg, do_cls, {"conditional": conditional, "grad_cam": grad_cam,
                                        "uncertainty": uncertainty is not None})  # fmt: skip
        found: list[Prediction] = []
        for start in range(0, len(images), self.batch_size):
            some = [self.prepare(image) for image in images[start : start + self.batch_size]]
            batch = torch.from_numpy(np.stack([one.square for one in some])[:, None])
            output = self.network(
                batch,
                do_seg=do_seg,
                do_cls=do_cls,
                grad_cam=grad_cam,
                gate=self.classification_threshold if conditional else None,
                temperature=self.temperature,
            )
            doubts = None if uncertainty is None else self._doubts(batch, output, uncertainty)
            found += self._predictions(some, output, doubts)
        return found

    def predict_conditional(self, image: ImageLike, do_seg: bool = True, do_cls: bool = True) -> Prediction:
        """Classify, and run the decoder only if the tumour probability reaches the threshold.

        For several images: ``predict_batch(images, conditional=True)``.
        """
        return self.predict_batch([image], do_seg, do_cls, conditional=True)[0]

    def predict_with_gradcam(self, image: ImageLike, do_seg: bool = True, do_cls: bool = True) -> Prediction:
        """As ``predict_single``, with the Grad-CAM of "tumour" from the same encoder pass."""
        return self.predict_batch([image], do_seg, do_cls, grad_cam=True)[0]

    def predict_full(self, image: ImageLike, uncertainty: UncertaintyOptions | None = None) -> Prediction:
        """Both tasks, Grad-CAM and uncertainty (``None``: 30 draws of MC dropout).

        One encoder pass; with test-time augmentation one more for each of the three changed copies.
        """
        options = uncertainty or UncertaintyOptions()
        return self.predict_batch([image], grad_cam=True, uncertainty=options)[0]

    # ------------------------------------------------------------------ their parts
    def prepare(self, image: ImageLike | PreparedSlice) -> PreparedSlice:
        """Read an image and prepare it as training did. Raises ``DataError`` naming a file that is bad."""
        if isinstance(image, PreparedSlice):
            return image
        native = read_slice(image)
        try:
            square, geometry = self.normalisation.prepare(native, self.image_size)
        except DataError as error:
            raise DataError(f"{image}: {error}" if isinstance(image, str | Path) else str(error)) from error
        return PreparedSlice(native, square, geometry)

    @torch.inference_mode()
    def _doubts(
        self, batch: torch.Tensor, output: NetworkOutput, options: UncertaintyOptions
    ) -> list[Uncertainty]:
        bottlenecks = [output.bottleneck]
        if options.test_time_augmentation:
            copies = changed_copies(batch, self.normalisation.background)
            bottlenecks += [self.network.encode(copy)[-1] for copy in copies]
        draws = (options.dropout_samples, options.seed)
        logits = torch.cat(
            [dropout_logits(self.model.cls_head, features, *draws) for features in bottlenecks]
        )
        return summarise((logits / self.temperature).softmax(dim=-1))

    def _predictions(
        self, prepared: list[PreparedSlice], output: NetworkOutput, doubts: list[Uncertainty] | None
    ) -> list[Prediction]:
        arrays: list[dict] = [{} for _ in prepared]
        if output.cls_logits is not None:
            pairs = zip(output.tumor_prob.cpu().tolist(), output.cls_logits.cpu().numpy(), strict=True)
            for row, (probability, logits) in zip(arrays, pairs, strict=True):
                row |= {"tumor_prob": probability, "cls_logits": logits}
        if output.seg_logits is not None:
            for i, logits in zip(output.decoded.tolist(), output.seg_logits[:, 0].cpu().numpy(), strict=True):
                arrays[i] |= self._masks(logits, prepared[i].geometry)
        if output.grad_cam is not None:
            maps = upsampled(output.grad_cam, (self.image_size, self.image_size)).cpu().numpy()
            for row, one, heat in zip(arrays, prepared, maps, strict=True):
                row["grad_cam"] = self.normalisation.restore(heat, one.geometry)
        if doubts is not None:
            for row, doubt in zip(arrays, doubts, strict=True):
                row["uncertainty"] = doubt
        used = (self.classification_threshold, self.mask_threshold)
        return [
            Prediction(one.image, one.geometry, *used, **row)
            for one, row in zip(prepared, arrays, strict=True)
        ]

    def _masks(self, logits: NDArray[np.float32], geometry: Geometry) -> dict[str, NDArray]:
        probability = expit(logits)
        native = self.normalisation.restore(probability, geometry)
        found = {"mask": native > self.mask_threshold, "prepared_mask": probability > self.mask_threshold}
        return {"seg_logits": logits, **found}

    def _check_ranges(self) -> None:
        for name in ("mask_threshold", "classification_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ParameterError(f"{name}={getattr(self, name)} must lie within 0 and 1")
        if not self.temperature > 0 or self.batch_size < 1:
            raise ParameterError(
                f"temperature={self.temperature} must be positive, batch_size={self.batch_size} at least 1"
            )


def _check_request(do_seg: bool, do_cls: bool, needs_classification: dict[str, bool]) -> None:
    if not (do_seg or do_cls):
        raise ParameterError("do_seg and do_cls are both False: there is nothing to predict")
    wanted = [name for name, asked in needs_classification.items() if asked]
    if wanted and not do_cls:
        raise ParameterError(f"do_cls=False, but {', '.join(wanted)} needs the classification")


def _normalisation_of(model: MultiTaskModel, folder: Path) -> BrainNormalisation:
    channels = model.in_channels
    if model.normalisation is None or channels != 1:
        raise CheckpointError(
            f"{folder / 'config.json'}: normalisation={model.normalisation}, in_channels={channels}; "
            "expected the normalisation that it was trained with, and one channel"
        )
    return BrainNormalisation.from_dict(model.normalisation)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ParameterError(f"device={name!r} cannot be used here ({reason}); cpu always can") from error
    return torch.device(name)
