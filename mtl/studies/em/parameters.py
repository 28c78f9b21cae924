"""Parameters of the em study; one flat file serves all of its notebooks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from mtl.studies.em.variants import ABLATIONS, ARMS, AUTOMATIC_ONLY
from mtl.studies.parameters import BalancerName, StudyParameters

#: Voxels along an axis that VISTA3D's encoder makes one of, at its coarsest.
VISTA3D_STRIDE = 16
FEWEST_PIXELS = 8  # along a side of a tile
Injection = Literal["late", "input", "multiscale", "embedding", "target_head"]


class EMParameters(StudyParameters):
    """See the field descriptions; defaults are those of the quick run on a phantom volume."""

    study: ClassVar[str] = "em"
    #: What decides which voxels are tested: no arm of a sweep may change it.
    test_set: ClassVar[tuple[str, ...]] = (
        "data_root", "volume", "labels", "spacing", "hdf5_key", "hdf5_labels_key", "ngff_level",
        "intensity_range", "dims", "phantom_planes", "phantom_side", "phantom_neurites", "phantom_spacing",
        "phantom_unannotated", "phantom_noise", "phantom_missing_section", "data_seed", "test_fraction",
        "validation_fraction", "gap_planes", "min_object_voxels",
    )  # fmt: skip

    # data
    data_root: str = Field("", description="folder of the data sets; relative to the project")
    volume: str = Field("phantom", description="phantom, or a file or folder below data_root")
    labels: str = Field("", description="file of the labels below data_root, where they lie apart")
    spacing: str = Field("", description="nm per voxel as z,y,x, where the file does not say")
    hdf5_key: str = Field("stack", min_length=1, description="data set of a plain HDF5 image")
    hdf5_labels_key: str = Field("", description="data set of the labels' HDF5 file; empty: hdf5_key")
    ngff_level: int = Field(0, ge=0, description="scale level of an OME-NGFF volume; 0 is the finest")
    intensity_range: str = Field(
        "", description="grey values that become 0 and 1, as low,high; empty: the type's own range"
    )
    dims: Literal[2, 3] = Field(3, description="2: every plane is a sample of its own; 3: volumes")
    phantom_planes: int = Field(112, ge=8, description="planes of the phantom")
    phantom_side: int = Field(80, ge=24, description="pixels along a side of its planes")
    phantom_neurites: int = Field(70, ge=2, description="neurites of the phantom")
    phantom_spacing: str = Field("16,8,8", description="nm per voxel of the phantom as z,y,x")
    phantom_unannotated: float = Field(0.2, ge=0, lt=0.9, description="share of the phantom without labels")
    phantom_noise: float = Field(2.8, ge=0, description="its noise; 1: a careful recording, 3: a fast one")
    phantom_missing_section: bool = Field(False, description="one plane of the phantom is black")
    data_seed: int = Field(-1, ge=-1, description="of the phantom; -1: as seed")
    # split by planes
    test_fraction: float = Field(0.25, gt=0, lt=0.8, description="of the planes, at the end of the volume")
    validation_fraction: float = Field(0.15, gt=0, lt=0.8, description="of the planes, before the test part")
    gap_planes: int = Field(
        -1, ge=-1, description="unused planes between two parts; -1: 16, or a sixth of a thin volume"
    )
    # crops
    crop_planes: int = Field(12, ge=1, description="planes of a crop; not used with dims=2")
    crop_side: int = Field(32, ge=8, description="pixels along a side of a crop")
    augment: bool = Field(True, description="flips, quarter turns and intensity changes")
    split_components: bool = Field(True, description="parts of an object that a crop cuts get their own ids")
    contact_membrane: int = Field(
        1, ge=0, le=20, description="voxels between touching objects, learnt as none"
    )
    label_fraction: float = Field(1.0, gt=0, le=1, description="chance of an object to be labelled")
    min_target_voxels: int = Field(1, ge=1, description="prompts in training prefer objects of at least this")
    # network
    features: int = Field(16, ge=2, description="channels at full resolution")
    backbone: Literal["SegResNet", "VISTA3D"] = Field("SegResNet", description="VISTA3D: its encoder")
    levels: int = Field(3, ge=1, le=6, description="resolutions of SegResNet; VISTA3D has five")
    embedding_channels: int = Field(8, ge=2, description="channels of the instance embedding")
    # losses
    weight_semantic: float = Field(1.0, ge=0, description="of the semantic loss; above 0: decoding needs it")
    weight_instance: float = Field(1.0, ge=0, description="of the embedding loss; above 0: clicks need it")
    weight_geometry: float = Field(0.1, ge=0, description="of the geometry loss (described: 1); 0: no head")
    weight_ce: float = Field(1.0, ge=0, description="cross-entropy in the semantic loss")
    weight_iou: float = Field(1.0, ge=0, description="soft IoU in the semantic loss")
    weight_dice: float = Field(1.0, ge=0, description="soft Dice in the semantic loss")
    weight_pull: float = Field(1.0, ge=0, description="pull in the embedding loss")
    weight_push: float = Field(1.0, ge=0, description="push in the embedding loss")
    weight_norm: float = Field(0.001, ge=0, description="norm of the means in the embedding loss")
    delta_v: float = Field(0.5, gt=0, description="embeddings are pulled to within this of their mean")
    delta_d: float = Field(1.5, gt=0, description="means are pushed to twice this apart")
    weight_edge: float = Field(10.0, ge=0, description="of boundary voxels in the embedding loss")
    weight_bone: float = Field(10.0, ge=0, description="of an object's innermost voxels there")
    weight_dir: float = Field(1.0, ge=0, description="direction in the geometry loss")
    weight_cov: float = Field(1.0, ge=0, description="structure tensor in the geometry loss")
    weight_raw: float = Field(1.0, ge=0, description="image and foreground in the geometry loss")
    dir_target: Literal["centroid", "skeleton"] = Field("centroid", description="where directions point")
    geometry_kind: Literal["mse", "smooth_l1"] = Field("mse", description="difference in the geometry loss")
    raw_region: Literal["known", "foreground"] = Field("known", description="voxels of the raw term")
    # the two modes
    training_modes: str = Field("automatic,proofread", description="modes of a step, by comma")
    num_pos_points: int = Field(5, ge=1, le=10_000, description="positive points of a prompt in training")
    num_neg_points: int = Field(5, ge=0, le=10_000, description="negative points of a prompt in training")
    point_sample_mode: Literal["instance", "class"] = Field("instance", description="what a prompt means")
    # training
    variants: str = Field("late,embedding", description="click arms to train and compare, by comma")
    ablations: str = Field(f"{AUTOMATIC_ONLY},no_geometry", description="what the first arm goes without")
    batch_size: int = Field(2, ge=1, description="crops per batch, over all ranks")
    accumulate: int = Field(1, ge=1, description="batches per optimiser step")
    crops_per_epoch: int = Field(96, ge=1, description="crops of an epoch")
    epochs: int = Field(3, ge=1, description="passes")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW, of every part")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
    min_lr: float = Field(1e-6, ge=0, description="where the cosine schedule ends")
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of the average of weights that is kept; 0: none"
    )
    clip: float = Field(1.0, ge=0, description="largest gradient norm; 0: no clipping")
    workers: int = Field(0, ge=0, description="processes that load data; 0: none")
    balancer: BalancerName = Field("fixed", description="how the six tasks are combined")
    probe_every: int = Field(72, ge=0, description="steps between gradient diagnostics; 0: only both ends")
    probe_batches: int = Field(4, ge=3, description="batches of the gradient diagnostics")
    # decoding and evaluation
    window_planes: int = Field(32, ge=1, description="planes that the network sees at once in prediction")
    window_side: int = Field(96, ge=8, description="pixels along a side that it sees at once")
    window_overlap: float = Field(0.25, ge=0, lt=1, description="of neighbouring windows")
    decode_tile_planes: int = Field(0, ge=0, description="planes decoded at once, then stitched; 0: all")
    decode_tile_side: int = Field(0, ge=0, description="pixels along a side decoded at once; 0: all")
    decode_tile_overlap: float = Field(
        0.5, gt=0, le=0.5, description="of neighbouring tiles: less is faster, and joins objects less well"
    )
    min_object_voxels: int = Field(50, ge=1, description="smaller ones are neither truth nor found")
    n_bootstrap: int = Field(1000, ge=100, description="bootstrap resamples of every interval")
    click_objects: int = Field(30, ge=2, description="objects of the test part that are clicked")
    max_clicks: int = Field(10, ge=1, le=50, description="clicks of the simulated user per object")
    click_planes: int = Field(12, ge=1, description="planes of the window in which an object is clicked")
    click_side: int = Field(48, ge=8, description="pixels along a side of that window")
    click_jitter: float = Field(0.0, ge=0, le=1, description="0: the user hits the middle; 1: anywhere")
    rand_margin: float = Field(0.02, gt=0, lt=1, description="non-inferiority margin of adapted Rand error")

    @property
    def modes(self) -> tuple[str, ...]:
        """``training_modes``, one by one."""
        return _names(self.training_modes)

    @property
    def arms(self) -> tuple[str, ...]:
        """The click arms to train, the first of which ablations vary."""
        return _names(self.variants)

    @property
    def ablated(self) -> tuple[str, ...]:
        """The ablations to train."""
        return _names(self.ablations)

    @property
    def crop(self) -> tuple[int, ...]:
        """Voxels of a crop along its axes."""
        return (self.crop_side,) * 2 if self.dims == 2 else (self.crop_planes, self.crop_side, self.crop_side)

    @property
    def window(self) -> tuple[int, ...]:
        """Voxels that the network sees at once in prediction."""
        return (self.window_side,) * 2 if self.dims == 2 else (self.window_planes, *(self.window_side,) * 2)

    @property
    def given_spacing(self) -> tuple[float, float, float] | None:
        """``spacing`` as numbers, if it is given."""
        return _spacing(self.spacing) if self.spacing else None

    @property
    def grey_range(self) -> tuple[float, float] | None:
        """``intensity_range`` as numbers, if it is given."""
        return _range(self.intensity_range) if self.intensity_range else None

    @field_validator("spacing", "phantom_spacing")
    @classmethod
    def _is_spacing(cls, text: str) -> str:
        if text:
            _spacing(text)
        return text

    @field_validator("intensity_range")
    @classmethod
    def _is_range(cls, text: str) -> str:
        if text:
            _range(text)
        return text

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        _refuse_unknown("training_modes", self.modes, ("automatic", "proofread"))
        _refuse_unknown("variants", self.arms, ARMS)
        _refuse_unknown("ablations", self.ablated, ABLATIONS)
        if self.volume == "phantom" and not self.phantom_spacing:
            raise ValueError("phantom_spacing is empty: three numbers are expected, nm along z,y,x")
        if self.volume != "phantom" and not self.data_root:
            raise ValueError(f"volume={self.volume!r} needs data_root, the folder that it lies in")
        if self.weight_semantic == 0 or self.weight_instance == 0:
            raise ValueError(
                "weight_semantic and weight_instance must be above 0: decoding and clicks need both heads"
            )
        if not (self.weight_pull or self.weight_push or self.weight_norm):
            raise ValueError("weight_pull, weight_push and weight_norm are all 0: the embedding needs one")
        if "target_head" in self.arms and self.weight_ce == 0 and self.weight_dice == 0:
            raise ValueError("weight_ce and weight_dice are both 0: a clicked mask would have no loss")
        if "target_head" in self.arms and self.point_sample_mode == "class":
            raise ValueError("the arm target_head draws one object: point_sample_mode=class does not fit it")
        if self.crops_per_epoch < self.probe_batches * self.batch_size:
            raise ValueError(
                f"crops_per_epoch={self.crops_per_epoch} is less than probe_batches={self.probe_batches} "
                f"batches of batch_size={self.batch_size}"
            )
        if self.min_lr > self.learning_rate:
            raise ValueError(f"min_lr={self.min_lr:g} is above learning_rate={self.learning_rate:g}")
        self._check_backbone()
        if self.dims == 3 and self.decode_tile_planes == 1:
            raise ValueError("decode_tile_planes=1: neighbouring tiles have no plane in common; 0 or 2 up")
        if 0 < self.decode_tile_side < FEWEST_PIXELS:
            raise ValueError(
                f"decode_tile_side={self.decode_tile_side}: 0, or {FEWEST_PIXELS} pixels or more"
            )
        return self

    def _check_backbone(self) -> None:
        if self.backbone == "VISTA3D":
            if "multiscale" in self.arms:
                raise ValueError("the arm multiscale needs backbone=SegResNet")
            for what, size in (("crops", self.crop), ("windows", self.window)):
                if max(size) <= VISTA3D_STRIDE:
                    raise ValueError(
                        f"{what} of {size} voxels are too small for backbone=VISTA3D, which makes one voxel "
                        f"of {VISTA3D_STRIDE} along each axis: a longer side is expected"
                    )
        elif any(length < 2 ** (self.levels - 1) for length in self.crop):
            raise ValueError(f"crops of {self.crop} voxels are too small for levels={self.levels}")

    @model_validator(mode="after")
    def _check_variants(self) -> Self:
        if "target_head" in self.arms and "proofread" not in self.modes:
            raise ValueError(
                "the arm target_head learns its mask in the proofread mode: add it to training_modes, or "
                "leave the arm out of variants"
            )
        for name in self.ablated:
            share = ABLATIONS[name].get("label_fraction", 0)
            if share >= self.label_fraction:
                raise ValueError(
                    f"ablations: {name} labels {share:g} of the objects, which is not less than "
                    f"label_fraction={self.label_fraction:g} of the run itself"
                )
        return self


class VariantParameters(EMParameters):
    """A run's parameters as one variant has them."""

    injection: Injection = Field(description="how clicks reach the network")

    @model_validator(mode="after")
    def _check_variants(self) -> Self:
        return self  # a variant may be what the run's own parameters must not be


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _spacing(text: str) -> tuple[float, float, float]:
    try:
        z, y, x = (float(value) for value in text.split(","))
    except ValueError:
        raise ValueError("three numbers are expected, nm along z,y,x, separated by commas") from None
    if not all(0 < step < math.inf for step in (z, y, x)):
        raise ValueError("nm per voxel must be above 0 and finite")
    return z, y, x


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in text.split(","))
    except ValueError:
        raise ValueError("two numbers are expected, the grey values of 0 and 1, as low,high") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError("low,high must be finite numbers, low below high")
    return low, high


def _refuse_unknown(parameter: str, names: tuple[str, ...], known: Iterable[str]) -> None:
    unknown = [name for name in names if name not in known]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{parameter}: {twice} is named twice")
    if unknown or not names:
        wrong = f"unknown {', '.join(unknown)}" if unknown else "none is given"
        raise ValueError(f"{parameter}: {wrong}; there is {', '.join(known)} (several by comma)")
