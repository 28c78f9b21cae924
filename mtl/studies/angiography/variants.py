"""What is compared: objectives and settings that networks are trained with; one network of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Objective to the parameter that weighs it; the order and names of ``mtl.losses.angiography``, which
#: imports torch.
WEIGHTS = {
    "contrastive": "weight_contrastive",
    "captioning": "weight_captioning",
    "masked": "weight_masked",
    "distillation": "weight_distillation",
}
ALL = "all"
HANDED_ON = {
    "contrastive": ("contrastive",),
    "captioning": ("captioning",),
    "both": ("contrastive", "captioning"),
}
#: Variant to the parameters that it changes: leave-one-objective-out, and one objective alone.
OBJECTIVES: dict[str, dict[str, Any]] = {
    ALL: {},
    **{f"without_{name}": {weight: 0.0} for name, weight in WEIGHTS.items()},
    **{
        f"only_{name}": {weight: 0.0 for other, weight in WEIGHTS.items() if other != name}
        for name in ("contrastive", "captioning")
    },
}
#: Variant to the parameters that it changes: how the contrastive loss sees a batch, and what is masked.
#: Batches of another size see as many clips.
SETTINGS: dict[str, dict[str, Any]] = {
    "clip": {"contrastive": "softmax"},
    "siglip": {"contrastive": "sigmoid"},
    "half_batch": {"batch_size": 0.5},
    "half_batch_clip": {"batch_size": 0.5, "contrastive": "softmax"},
    "half_batch_siglip": {"batch_size": 0.5, "contrastive": "sigmoid"},
    "quarter_batch": {"batch_size": 0.25},
    "quarter_batch_clip": {"batch_size": 0.25, "contrastive": "softmax"},
    "quarter_batch_siglip": {"batch_size": 0.25, "contrastive": "sigmoid"},
    "duplicates_30": {"duplicate_rate": 0.3},
    "duplicates_60": {"duplicate_rate": 0.6},
    "duplicates_60_unaware": {"duplicate_rate": 0.6, "duplicate_aware": False},
    "mask_50": {"mask_ratio": 0.5},
    "mask_90": {"mask_ratio": 0.9},
    "tube_masks": {"mask_shape": "tube"},
}
VARIANTS = OBJECTIVES | SETTINGS
#: Parameter to the weight of the objective that it is a setting of: without it, it has no effect.
BELONGS_TO = {
    "contrastive": "weight_contrastive",
    "duplicate_aware": "weight_contrastive",
    "mask_ratio": "weight_masked",
    "mask_shape": "weight_masked",
}
#: What variants are compared by, per test study, higher is better: metric to what it is.
COMPARED = {
    "to_report": "R@1, report of a film",
    "to_video": "R@1, film of a report",
    "fields": "field F1 by study",
}
#: Further measures in words.
SHOWN_MEASURES = {
    "iou": "overlap with the true box (IoU)",
    "hit": "overlap of a half and more",
    "centre_error": "distance of the centres, in sides of the picture",
    "missing": "no box named",
    "frame_error": "frames beside the best one",
    "frame_error_chance": "the same, by chance",
    "mse": "mean squared error",
    "mse_of_mean": "mean squared error of the mean patch",
    "explained": "variance explained",
    "token_accuracy": "nearest codeword right",
    "commonest_share": "share of the commonest codeword",
    "pointing": "largest attention lies in the box",
    "pointing_chance": "the same, by chance",
    "mass": "share of the attention in the box",
    "area": "share of the picture in the box",
    "mass_gain": "attention in the box over its area",
    "on_whole": "attention to the clip as a whole",
}
#: Scores of written reports, for a table of the network and its controls.
SHOWN_SCORES = {
    "field_f1": "field F1",
    "segment_f1": "segment F1",
    "exact_findings": "all findings right",
    "percent_mae": "error of percent, matched",
    "percent_mae_all": "error of percent, all",
    "severe_auroc": "AUROC, severe",
    "view_accuracy": "view right",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "cider_d": "CIDEr-D",
    "exact": "word for word",
}
SHOWN_PERCENTS = {"written": "the network", "usual": "always the mean of training reports"}
#: Variants in words, for tables and figures.
SHOWN = {
    ALL: "all objectives",
    "clip": "CLIP loss",
    "siglip": "SigLIP loss",
    "half_batch": "half the batch",
    "half_batch_clip": "half the batch, CLIP loss",
    "half_batch_siglip": "half the batch, SigLIP loss",
    "quarter_batch": "a quarter of the batch",
    "quarter_batch_clip": "a quarter of the batch, CLIP loss",
    "quarter_batch_siglip": "a quarter of the batch, SigLIP loss",
    "duplicates_30": "some reports copied",
    "duplicates_60": "most reports copied",
    "duplicates_60_unaware": "most reports copied, taken for mismatches",
    "mask_50": "half of the video masked",
    "mask_90": "nine tenths of the video masked",
    "tube_masks": "masked in tubes",
}


def changes(variant: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that a variant changes; ``values`` are the run's own, of which batch sizes are shares."""
    changed = dict(VARIANTS[variant])
    if "batch_size" in changed:
        changed["batch_size"] = round(changed["batch_size"] * values["batch_size"])
    return changed


def changes_nothing(variant: str, values: Mapping[str, Any]) -> bool:
    """Whether a variant changes only what the run does not have, such as the masks of a loss of weight 0.

    Tubes are masks that are the same at every time step: with one step, all masks are.
    """
    without = {name for name, weight in BELONGS_TO.items() if values[weight] == 0}
    if values["frames"] == values["tubelet_frames"]:
        without.add("mask_shape")
    effective = {name: value for name, value in changes(variant, values).items() if name not in without}
    return variant != ALL and all(values[name] == value for name, value in effective.items())


def shown_variant(variant: str) -> str:
    """A variant as a reader wants it: "without captioning", "only contrastive"."""
    return SHOWN.get(variant, variant.replace("_", " "))


@dataclass(frozen=True)
class Training:
    """One network of a run: a variant and a seed."""

    variant: str
    seed: int = 0


def trained_by(training: Training) -> str:
    """The notebook that trains a network."""
    if training == Training(ALL):
        return "02_training"
    return "04_which_objective_helps" if training.variant in OBJECTIVES else "05_contrast_and_masking"


def learnt(tasks: Iterable[str], distilled: str) -> tuple[str, ...]:
    """What a network of these objectives learns, each once: of distillation, what a teacher hands on.

    distilled: ``contrastive``, ``captioning`` or ``both``.
    """
    found = (one for task in tasks for one in (HANDED_ON[distilled] if task == "distillation" else (task,)))
    return tuple(dict.fromkeys(found))
