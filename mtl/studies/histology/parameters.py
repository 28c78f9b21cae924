"""Parameters of the histology study; one flat file serves all of its notebooks."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from mtl.studies.histology.loss_sets import ALL, ALPHAS, LOSS_SETS
from mtl.studies.parameters import BalancerName, StudyParameters

PHANTOM = "phantom"


class HistologyParameters(StudyParameters):
    """See the field descriptions; defaults are those of the quick run on phantom tissue."""

    study: ClassVar[str] = "histology"
    #: What decides which images are tested: no arm of a sweep may change it.
    test_set: ClassVar[tuple[str, ...]] = (
        "data_root", "tiles", "outside", "appearances", "phantom_tiles", "phantom_side", "phantom_groups",
        "phantom_density", "phantom_touching", "phantom_stain_shift", "phantom_outside_shift",
        "phantom_clutter", "data_seed", "pooled_groups", "folds", "validation_fraction",
    )  # fmt: skip

    # data
    data_root: str = Field("", description="folder of the data sets; relative to the project")
    tiles: str = Field(PHANTOM, min_length=1, description="phantom, or a folder below data_root")
    outside: str = Field(
        PHANTOM, description="outside test set: phantom, a folder below data_root; empty: none"
    )
    appearances: str = Field("", description="only tiles of these appearances, by comma; empty: all")
    phantom_tiles: int = Field(32, ge=4, description="tiles of the phantom")
    phantom_side: int = Field(128, ge=48, description="pixels along a side of its tiles")
    phantom_groups: int = Field(4, ge=2, description="slides of the phantom, each with its own stain")
    phantom_density: float = Field(1.0, gt=0, le=3, description="nuclei per area; 1: a fifth is covered")
    phantom_touching: float = Field(0.35, ge=0, le=1, description="share of nuclei set against another")
    phantom_stain_shift: float = Field(0.15, ge=0, le=1, description="how far its slides' stains differ")
    phantom_outside_shift: float = Field(0.4, ge=0, le=1, description="the same of the outside phantom")
    phantom_clutter: float = Field(1.0, ge=0, description="amount of what is no nucleus")
    data_seed: int = Field(-1, ge=-1, description="of the phantom; -1: as seed")
    # split by groups
    pooled_groups: int = Field(1, ge=1, description="so many of the smallest groups are tested together")
    folds: int = Field(1, ge=0, description="folds to run, largest test group first; 0: one per group")
    validation_fraction: float = Field(0.2, gt=0, lt=0.8, description="of the tiles that are not tested")
    # labels and patches
    fractions: str = Field("0.1,1", description="shares of the nuclei that are outlined, by comma, rising")
    min_positive_pixels: int = Field(100, ge=1, description="outlined pixels that a patch has at least")
    patch: int = Field(64, ge=16, description="pixels along a side of a patch")
    augment: bool = Field(True, description="flips, quarter turns, other stains")
    # network
    backbone: Literal["unet", "flexible_unet", "unet_plus_plus"] = Field("unet", description="of the network")
    base_filters: int = Field(8, ge=4, description="channels at full resolution")
    depth: int = Field(3, ge=1, le=6, description="poolings of the backbone unet")
    embedding_channels: int = Field(16, ge=2, description="channels of both embeddings")
    normalisation: Literal["light", "none"] = Field("light", description="images are divided by their light")
    prior: float = Field(0.1, gt=0, lt=1, description="probability of a nucleus before anything is learnt")
    # losses
    hv: Literal["distance", "hover"] = Field("distance", description="what the second decoder regresses")
    alpha_seg: float = Field(2.0, ge=0, description="of the segmentation loss")
    alpha_edge: float = Field(0.0, ge=0, description="of the edge loss; described: 10")
    alpha_hv: float = Field(1.0, ge=0, description="of the map inside nuclei")
    alpha_recon: float = Field(0.5, ge=0, description="of the reconstruction")
    alpha_obj_emb: float = Field(0.5, ge=0, description="of the prototype loss")
    alpha_pixel_con: float = Field(0.1, ge=0, description="of the pixel contrast")
    alpha_var: float = Field(0.1, ge=0, description="of the total variation")
    alpha_small_hole: float = Field(0.1, ge=0, description="of the local disagreement")
    warm_up_epochs: int = Field(2, ge=0, description="epochs over which pseudo-labels are ramped in")
    clean_up: bool = Field(False, description="drop crumbs and fill holes of pseudo-labels")
    closing: bool = Field(False, description="small holes by a soft closing instead of disagreement")
    # training
    sets: str = Field("all,segmentation_only", description="sets of losses, at every fraction, by comma")
    sparse_sets: str = Field(
        "without_recon,without_hv", description="sets at one fraction only, by comma; empty: none"
    )
    sparse_fraction: float = Field(
        0.0, ge=0, le=1, description="the fraction of sparse_sets, one of fractions; 0: the smallest"
    )
    seeds: int = Field(1, ge=1, description="trainings of each set, fraction and fold")
    batch_size: int = Field(8, ge=1, description="patches per batch, over all ranks")
    accumulate: int = Field(1, ge=1, description="batches per optimiser step")
    patches_per_epoch: int = Field(128, ge=1, description="patches of an epoch")
    epochs: int = Field(4, ge=1, description="passes")
    learning_rate: float = Field(3e-3, gt=0, description="AdamW, of every part")
    weight_decay: float = Field(1e-2, ge=0, description="of AdamW")
    min_lr: float = Field(1e-5, ge=0, description="where the cosine schedule ends")
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of the average of weights that is kept; 0: none"
    )
    clip: float = Field(1.0, ge=0, description="largest gradient norm; 0: no clipping")
    workers: int = Field(0, ge=0, description="processes that load data; 0: none")
    balancer: BalancerName = Field("fixed", description="how the losses are combined")
    probe_every: int = Field(32, ge=0, description="steps between gradient diagnostics; 0: only both ends")
    probe_batches: int = Field(4, ge=3, description="batches of the gradient diagnostics")
    # evaluation
    min_nucleus_pixels: int = Field(20, ge=1, description="smaller instances are not given out")
    detection_radius: float = Field(6.0, gt=0, description="pixels between centres that still match, for F1")
    tuning_tiles: int = Field(8, ge=1, description="validation tiles that decodings are tuned on")
    n_bootstrap: int = Field(1000, ge=100, description="bootstrap resamples of every interval")
    pq_margin: float = Field(0.02, gt=0, lt=1, description="loss of PQ that matters, fixed beforehand")
    # annotation loop
    loop_rounds: int = Field(3, ge=1, description="rounds of annotating and training")
    loop_actions: int = Field(20, ge=1, description="actions of the annotator in a round")
    loop_steps: int = Field(24, ge=1, description="training steps after a round")
    loop_start: int = Field(10, ge=1, description="nuclei that are outlined before the first round")
    loop_tiles: int = Field(6, ge=1, description="tiles that are annotated")

    @property
    def label_fractions(self) -> tuple[float, ...]:
        """``fractions`` as numbers."""
        return tuple(float(text) for text in _names(self.fractions))

    @property
    def full_sets(self) -> tuple[str, ...]:
        """Sets that are trained at every fraction."""
        return _names(self.sets)

    @property
    def extra_sets(self) -> tuple[str, ...]:
        """Sets that are trained at the smallest fraction only."""
        return _names(self.sparse_sets)

    @property
    def extra_fraction(self) -> float:
        """Share of the labels that ``sparse_sets`` are trained on."""
        return self.sparse_fraction or self.label_fractions[0]

    @property
    def wanted_appearances(self) -> tuple[str, ...]:
        """``appearances``, one by one."""
        return _names(self.appearances)

    @property
    def alphas(self) -> dict[str, float]:
        """Loss to its weight."""
        return {loss: getattr(self, name) for loss, name in ALPHAS.items()}

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for parameter, names in (("sets", self.full_sets), ("sparse_sets", self.extra_sets)):
            if unknown := [name for name in names if name not in LOSS_SETS]:
                raise ValueError(f"{parameter}: unknown {unknown[0]}; there is {', '.join(LOSS_SETS)}")
        trained = [*self.full_sets, *self.extra_sets]
        if len(set(trained)) < len(trained):
            twice = next(name for name in trained if trained.count(name) > 1)
            raise ValueError(f"sets and sparse_sets: {twice} is named twice")
        if ALL not in self.full_sets:
            raise ValueError(f"sets: {ALL!r} must be among them, everything is compared with it")
        self._check_fractions()
        if self.tiles != PHANTOM and not self.data_root:
            raise ValueError(f"tiles={self.tiles!r} needs data_root, the folder that it lies in")
        if self.outside not in ("", PHANTOM) and not self.data_root:
            raise ValueError(f"outside={self.outside!r} needs data_root, the folder that it lies in")
        if self.alpha_seg == 0:
            raise ValueError("alpha_seg is 0: without the segmentation loss nothing says what a nucleus is")
        if self.patches_per_epoch < self.probe_batches * self.batch_size:
            raise ValueError(
                f"patches_per_epoch={self.patches_per_epoch} is less than probe_batches="
                f"{self.probe_batches} batches of batch_size={self.batch_size}"
            )
        if self.tiles == PHANTOM and self.patch > self.phantom_side:
            raise ValueError(f"patch={self.patch} is larger than phantom_side={self.phantom_side}")
        return self

    def _check_fractions(self) -> None:
        try:
            fractions = self.label_fractions
        except ValueError:
            raise ValueError(f"fractions={self.fractions!r}: numbers separated by commas") from None
        rising = all(a < b for a, b in zip(fractions, fractions[1:], strict=False))
        if not fractions or not rising or not (fractions[0] > 0 and fractions[-1] <= 1):
            raise ValueError(f"fractions={self.fractions!r}: rising numbers above 0 and up to 1 are expected")
        if self.extra_fraction not in fractions:
            raise ValueError(
                f"sparse_fraction={self.sparse_fraction:g} is none of fractions={self.fractions!r}: "
                "the sets are compared with all losses at the same share"
            )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
