"""Parameters of the brain_mri study; one flat file serves all of its notebooks."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from mtl.studies.parameters import BalancerName, StudyParameters


class BrainMriParameters(StudyParameters):
    """See the field descriptions; defaults are those of the quick run on phantoms."""

    study: ClassVar[str] = "brain_mri"
    #: What decides which cases are tested and how their pixels look: no arm of a sweep may change it.
    test_set: ClassVar[tuple[str, ...]] = (
        "data_root", "data_seed", "image_size", "min_tumor_pixels", "phantom_patients", "phantom_slices",
        "phantom_rho", "phantom_duplicates", "n_folds", "cross_validated", "test_fraction", "split_file",
        "split_seed",
    )  # fmt: skip

    # data
    data_root: str = Field("", description="folder with the real data sets; empty: phantoms")
    image_size: int = Field(64, ge=16, le=1024, multiple_of=2, description="pixels along a side")
    min_tumor_pixels: int = Field(10, ge=1, description="a slice is positive from so many mask pixels on")
    phantom_patients: int = Field(240, ge=4, description="patients of the phantom, over both scanners")
    phantom_slices: int = Field(2, ge=1, description="slices per phantom patient")
    phantom_rho: float = Field(0.5, ge=0, le=1, description="source-label correlation of the phantom")
    phantom_duplicates: float = Field(0.05, ge=0, le=1, description="rate of planted near-duplicates")
    data_seed: int = Field(-1, ge=-1, description="of the phantom; -1: as seed")
    # split
    n_folds: int = Field(1, ge=1, le=20, description="folds of the cross-validated sources; 1: one split")
    cross_validated: str = Field("", description="sources, by comma, tested out of fold; or all")
    test_fraction: float = Field(0.25, gt=0, lt=0.9, description="of the groups of the other sources")
    validation_fraction: float = Field(0.2, gt=0, lt=0.9, description="of the groups that are not tested")
    split_file: str = Field("", description="frozen split to use; empty: made from seed and fractions")
    split_seed: int = Field(-1, ge=-1, description="of the split; -1: as seed")
    # network
    base_filters: int = Field(16, ge=1, description="channels of the first level")
    depth: int = Field(3, ge=1, le=6, description="poolings of the U-Net")
    dropout: float = Field(0.5, ge=0, lt=1, description="in the classification head")
    channels_last: bool = Field(True, description="memory layout of the network")
    # training
    batch_size: int = Field(16, ge=1, description="samples per batch, over all ranks")
    accumulate: int = Field(1, ge=1, description="batches per optimiser step")
    workers: int = Field(0, ge=0, description="processes that load data; 0: none")
    augment: bool = Field(True, description="random flips, affine maps and intensity changes")
    warm_up_epochs: int = Field(12, ge=1, description="epochs of the warm-up stage")
    head_epochs: int = Field(4, ge=1, description="epochs of the head stage")
    joint_epochs: int = Field(10, ge=1, description="epochs of the joint stage")
    warm_up_lr: float = Field(1e-3, gt=0, description="encoder and decoder in the warm-up")
    head_lr: float = Field(1e-3, gt=0, description="classification head in the head stage")
    joint_encoder_lr: float = Field(1e-4, gt=0, description="encoder in the joint stage")
    joint_heads_lr: float = Field(3e-4, gt=0, description="decoder and head in the joint stage")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
    min_lr: float = Field(1e-6, ge=0, description="where the cosine schedule ends")
    clip: float = Field(1.0, ge=0, description="largest gradient norm; 0: no clipping")
    skip_stages: str = Field("", description="stages to leave out, by comma: warm_up, head; for sweeps")
    frozen_normalisation: bool = Field(False, description="joint stage keeps the normalisation statistics")
    masked_ratio: float = Field(0.3, ge=0, le=1, description="share of masked sources in the joint stage")
    sampling: Literal["mixing", "source_balanced"] = Field(
        "mixing", description="joint stage: masked_ratio, or every (source, class) cell equally often"
    )
    # losses and balancing
    w_dice: float = Field(0.5, ge=0, description="soft Dice in the segmentation loss")
    w_bce: float = Field(0.5, ge=0, description="cross-entropy in the segmentation loss")
    lambda_cls: float = Field(1.0, ge=0, description="weight of the classification loss")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="of the classification loss")
    balancer: BalancerName = Field("fixed", description="how the joint stage combines the tasks")
    schedule_initial: float = Field(0.1, ge=0, description="schedule: weight of classification at the start")
    schedule_kind: Literal["linear", "cosine", "step"] = Field("cosine", description="schedule: its form")
    probe_every: int = Field(20, ge=0, description="steps between gradient diagnostics; 0: only both ends")
    probe_batches: int = Field(6, ge=3, description="batches of the gradient diagnostics")
    # evaluation
    reference_folds: int = Field(0, ge=0, description="folds in which a MONAI BasicUNet is trained as well")
    n_bootstrap: int = Field(1000, ge=100, description="bootstrap resamples of every interval")
    dice_margin: float = Field(
        0.02, gt=0, lt=1, description="non-inferiority margin of Dice, fixed beforehand"
    )
    auc_margin: float = Field(
        0.05, gt=0, lt=1, description="non-inferiority margin of ROC-AUC, fixed beforehand"
    )
    # shortcut laboratory (06), a small network of its own
    rho_values: str = Field("0,0.25,0.5,0.75,1", description="positions of the source-label dial, by comma")
    shortcut_patients: int = Field(120, ge=8, description="phantom patients that each network learns from")
    shortcut_test_patients: int = Field(120, ge=8, description="phantom patients of its common test set")
    shortcut_size: int = Field(32, ge=16, le=256, multiple_of=8, description="pixels along a side")
    shortcut_filters: int = Field(8, ge=1, description="channels of the first level")
    shortcut_epochs: int = Field(8, ge=1, description="epochs of each network")
    shortcut_seeds: int = Field(1, ge=1, le=20, description="networks trained per arm, each on new patients")
    reversal_weight: float = Field(1.0, gt=0, description="lambda of the gradient-reversal arm")

    @property
    def dial(self) -> tuple[float, ...]:
        """``rho_values`` as rising numbers, each once."""
        return tuple(sorted({float(value) for value in self.rho_values.split(",")}))

    @field_validator("rho_values")
    @classmethod
    def _is_dial(cls, text: str) -> str:
        try:
            values = [float(value) for value in text.split(",")]
        except ValueError:
            values = []
        if len(set(values)) < 2 or not all(0 <= value <= 1 for value in values):
            raise ValueError("at least two numbers from 0 to 1 are expected, separated by commas")
        return text

    @model_validator(mode="after")
    def _check_together(self) -> BrainMriParameters:
        if self.image_size % 2**self.depth:
            raise ValueError(f"image_size={self.image_size} must be a multiple of 2**depth={2**self.depth}")
        if self.image_size < 2 ** (self.depth + 1):
            raise ValueError(
                f"image_size={self.image_size} leaves a bottleneck of one pixel at depth={self.depth}"
            )
        if self.reference_folds and self.image_size < 32:
            raise ValueError("the reference network needs image_size of 32 or more")
        if self.reference_folds > self.n_folds:
            raise ValueError(f"reference_folds={self.reference_folds} is more than n_folds={self.n_folds}")
        if self.w_dice + self.w_bce == 0:
            raise ValueError("w_dice and w_bce are both 0: the segmentation would have no loss")
        if unknown := set(self.skipped) - {"warm_up", "head"}:
            raise ValueError(
                f"skip_stages: {', '.join(sorted(unknown))}; only warm_up and head can be left out"
            )
        if self.frozen_normalisation and "warm_up" in self.skipped:
            raise ValueError("frozen_normalisation needs the warm-up: statistics would never be measured")
        if self.n_folds > 1 and not self.cross_validated:
            raise ValueError("n_folds > 1 needs cross_validated, e.g. kaggle")
        return self

    @property
    def skipped(self) -> tuple[str, ...]:
        """Stages that ``skip_stages`` names."""
        return tuple(name.strip() for name in self.skip_stages.split(",") if name.strip())
