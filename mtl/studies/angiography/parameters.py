"""Parameters of the angiography study; one flat file serves all of its notebooks."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from mtl.studies.angiography.variants import ALL, OBJECTIVES, SETTINGS, WEIGHTS, changes
from mtl.studies.parameters import BalancerName, StudyParameters

PHANTOM, ARCADE = "phantom", "arcade"


class AngiographyParameters(StudyParameters):
    """See the field descriptions; defaults are those of the quick run on phantom videos."""

    study: ClassVar[str] = "angiography"
    #: What decides which studies are tested: no arm of a sweep may change it.
    test_set: ClassVar[tuple[str, ...]] = (
        "data_root", "videos", "phantom_studies", "phantom_test_studies", "phantom_views", "phantom_noise",
        "phantom_normal", "phantom_findings", "data_seed", "test_fraction", "validation_fraction", "frames",
        "size",
    )  # fmt: skip

    # data
    data_root: str = Field("", description="folder of the data sets; relative to the project")
    videos: str = Field(PHANTOM, min_length=1, description="phantom, or a table or folder below data_root")
    phantom_studies: int = Field(1500, ge=8, description="studies of the phantom to learn from and choose on")
    phantom_test_studies: int = Field(60, ge=4, description="studies of the phantom that are tested")
    phantom_views: int = Field(1, ge=1, le=2, description="most views of a study of the phantom")
    phantom_noise: float = Field(0.5, ge=0, le=4, description="noise and clutter of the phantom's videos")
    phantom_normal: float = Field(0.1, ge=0, lt=1, description="share of its studies without a finding")
    phantom_findings: int = Field(2, ge=1, le=5, description="most findings in a report of the phantom")
    duplicate_rate: float = Field(
        0.0, ge=0, lt=1, description="training studies of the phantom that copy another's report"
    )
    data_seed: int = Field(-1, ge=-1, description="of the phantom; -1: as seed")
    test_fraction: float = Field(0.2, gt=0, lt=0.8, description="of the patients; the phantom says how many")
    validation_fraction: float = Field(0.05, gt=0, lt=0.8, description="of the patients that are not tested")
    report_fraction: float = Field(1.0, gt=0, le=1, description="training studies whose report is known")
    # clips
    frames: int = Field(8, ge=1, description="frames of a clip; shorter ones are repeated")
    size: int = Field(64, ge=16, description="pixels along a side of a clip")
    augment: bool = Field(False, description="shifts, intensities and other frames; never mirrored")
    tokenizer: str = Field("", description="folder of a tokeniser below data_root; empty: trained on reports")
    vocabulary: int = Field(1000, ge=150, description="tokens of a tokeniser that is trained on the reports")
    context: int = Field(80, ge=8, description="most tokens of a report")
    # networks
    tubelet_frames: int = Field(8, ge=1, description="frames of a tubelet")
    tubelet_side: int = Field(16, ge=2, description="pixels along a side of a tubelet")
    pool: Literal["attention", "mean", "places"] = Field("places", description="of tokens to one vector")
    width: int = Field(128, ge=16, description="channels of video and text encoder and of the captioner")
    video_depth: int = Field(4, ge=1, description="transformer blocks of the video encoder")
    text_depth: int = Field(2, ge=1, description="transformer blocks of the text encoder")
    caption_depth: int = Field(2, ge=1, description="transformer blocks of the captioner")
    heads: int = Field(4, ge=1, description="attention heads everywhere")
    text_model: str = Field("", description="Hugging Face text encoder by name or folder; empty: our own")
    mask_ratio: float = Field(0.75, gt=0, lt=1, description="share of the tubelets that are masked")
    mask_shape: Literal["random", "tube", "block"] = Field("random", description="of what is masked")
    mask_target: Literal["pixels", "features"] = Field("pixels", description="what is predicted there")
    # objectives
    weight_contrastive: float = Field(1.0, ge=0, description="of the contrastive loss; 0 leaves it out")
    weight_captioning: float = Field(
        4.0, ge=0, description="of captions and locations; described: 1; 0 leaves it out"
    )
    weight_masked: float = Field(0.1, ge=0, description="of masked video modelling; 0 leaves it out")
    weight_distillation: float = Field(0.0, ge=0, description="of self-distillation; 0 leaves it out")
    contrastive: Literal["sigmoid", "softmax"] = Field("softmax", description="SigLIP or CLIP")
    duplicate_aware: bool = Field(True, description="identical reports of a batch count as positives")
    location_tasks: bool = Field(True, description="finding -> box and box -> finding beside captions")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="of the captioning loss")
    distilled: Literal["contrastive", "captioning", "both"] = Field(
        "contrastive", description="what a teacher hands on: who belongs to whom, the next tokens, or both"
    )
    distillation_temperature: float = Field(2.0, gt=0, description="of teacher and student")
    teacher: str = Field("", description="folder of a trained network to distil; empty: the own average")
    teacher_decay: float = Field(
        0.99, gt=0, lt=1, description="of the averaged weights that teach, per batch"
    )
    # training
    variants: str = Field(
        "all,only_contrastive,only_captioning",
        description="sets of objectives to train and compare, by comma",
    )
    settings: str = Field("siglip", description="other settings to train and compare, by comma; or none")
    seeds: int = Field(1, ge=1, description="trainings of each variant")
    batch_size: int = Field(64, ge=2, description="clips per batch, over all ranks")
    accumulate: int = Field(1, ge=1, description="batches per optimiser step; contrast stays within a batch")
    clips_per_epoch: int = Field(1280, ge=1, description="clips of an epoch; full batches only")
    epochs: int = Field(10, ge=1, description="passes")
    lr_video: float = Field(3e-3, gt=0, description="AdamW, of the video encoder")
    lr_text: float = Field(2e-3, gt=0, description="AdamW, of the text encoder, temperature and bias")
    lr_caption: float = Field(2e-3, gt=0, description="AdamW, of the captioner")
    lr_masked: float = Field(3e-3, gt=0, description="AdamW, of the decoder of masked video")
    warm_up: float = Field(0.1, ge=0, lt=1, description="share of the steps in which rates rise")
    min_lr: float = Field(1e-6, ge=0, description="where the cosine schedule ends")
    weight_decay: float = Field(0.05, ge=0, description="of AdamW")
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of the average of weights that is kept; 0: none"
    )
    clip: float = Field(1.0, ge=0, description="largest gradient norm; 0: no clipping")
    workers: int = Field(0, ge=0, description="processes that load data; 0: none")
    balancer: BalancerName = Field("fixed", description="how the objectives are combined")
    scheduled: str = Field(
        "", description="balancer=schedule: factors at both ends, as masked=1:0.1, by comma; empty: none"
    )
    schedule: Literal["linear", "cosine", "step"] = Field("cosine", description="how it gets there")
    schedule_warm_up: float = Field(0.0, ge=0, lt=1, description="share of the steps before it starts")
    probe_every: int = Field(60, ge=0, description="steps between gradient diagnostics; 0: only both ends")
    probe_batches: int = Field(4, ge=3, description="batches of the gradient diagnostics")
    # evaluation
    generation: Literal["greedy", "top_k", "top_p", "beam"] = Field("greedy", description="of reports")
    beams: int = Field(4, ge=1, description="of beam search")
    codebook: int = Field(64, ge=2, description="codewords that masked patches are told apart by")
    n_bootstrap: int = Field(1000, ge=100, description="bootstrap resamples of every interval")
    recall_margin: float = Field(0.05, gt=0, lt=1, description="loss of R@1 that matters, fixed beforehand")
    f1_margin: float = Field(0.05, gt=0, lt=1, description="loss of field F1 that matters, fixed beforehand")

    @property
    def objective_variants(self) -> tuple[str, ...]:
        """``variants``, one by one."""
        return _names(self.variants)

    @property
    def setting_variants(self) -> tuple[str, ...]:
        """``settings``, one by one."""
        return () if self.settings == "none" else _names(self.settings)

    @property
    def weights(self) -> dict[str, float]:
        """Objective to its weight."""
        return {objective: getattr(self, name) for objective, name in WEIGHTS.items()}

    @property
    def schedules(self) -> dict[str, tuple[float, float]]:
        """``scheduled``: objective to the factors of its weight at the start and at the end."""
        found: dict[str, tuple[float, float]] = {}
        for entry in _names(self.scheduled):
            name, _, factors = entry.partition("=")
            try:
                start, end = (float(factor) for factor in factors.split(":"))
            except ValueError:
                start = end = math.nan
            if name not in WEIGHTS or name in found or not (0 <= start < math.inf and 0 <= end < math.inf):
                raise ValueError(
                    f"scheduled: {entry!r} is not NAME=START:END with a NAME of {', '.join(WEIGHTS)} (each "
                    "once) and factors from 0 on"
                )
            found[name] = start, end
        return found

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tubelets of a clip along time, height and width."""
        return (self.frames // self.tubelet_frames, *(self.size // self.tubelet_side,) * 2)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for parameter, names, known in (
            ("variants", self.objective_variants, OBJECTIVES),
            ("settings", self.setting_variants, SETTINGS),
        ):
            if unknown := [name for name in names if name not in known]:
                raise ValueError(f"{parameter}: unknown {unknown[0]}; there is {', '.join(known)}")
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"{parameter}: {twice} is named twice")
        if ALL not in self.objective_variants:
            raise ValueError(f"variants: {ALL!r} must be among them, everything is compared with it")
        if not any(self.weights.values()):
            raise ValueError("all weights are 0: nothing would be learnt")
        if self.schedules and self.balancer != "schedule":
            raise ValueError(f"scheduled={self.scheduled!r} has no effect without balancer='schedule'")
        self._check_source()
        self._check_variants()
        self._check_sizes()
        return self

    def _check_source(self) -> None:
        if self.videos == PHANTOM:
            return
        if not self.data_root:
            raise ValueError(f"videos={self.videos!r} needs data_root, the folder that it lies in")
        copied = [name for name in self.setting_variants if "duplicate_rate" in SETTINGS[name]]
        if self.duplicate_rate or copied:
            raise ValueError(
                f"{copied[0] if copied else 'duplicate_rate'}: only reports of videos=phantom can be copied"
            )

    def _check_variants(self) -> None:
        """A variant must have something to learn, and two pairs to tell apart."""
        values = self.model_dump()
        for name in self.objective_variants:
            if not any((values | changes(name, values))[weight] for weight in WEIGHTS.values()):
                raise ValueError(f"variants: {name} has no objective left, all of its weights are 0")
        for name in self.setting_variants:
            if (values | changes(name, values))["batch_size"] < 2:
                raise ValueError(f"settings: {name} of batch_size={self.batch_size} is less than two clips")

    def _check_sizes(self) -> None:
        for what, length, step in (
            ("frames", self.frames, self.tubelet_frames),
            ("size", self.size, self.tubelet_side),
        ):
            if length % step:
                raise ValueError(f"{what}={length} is no multiple of the tubelet's {step}")
        if self.width % self.heads:
            raise ValueError(f"width={self.width} is no multiple of heads={self.heads}")
        if self.clips_per_epoch < self.probe_batches * self.batch_size:
            raise ValueError(
                f"clips_per_epoch={self.clips_per_epoch} is less than probe_batches={self.probe_batches} "
                f"batches of batch_size={self.batch_size}"
            )


class VariantParameters(AngiographyParameters):
    """A run's parameters as one variant has them; a variant may be what the run's own must not be."""

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self._check_sizes()
        return self


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
