"""What is compared: click arms and ablations, each a few parameters that differ from the run's.

All variants of a run make the same number of steps on the same training part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AUTOMATIC_ONLY, PROOFREAD_ONLY = "automatic_only", "proofread_only"

#: How clicks reach the network.
ARMS: dict[str, dict[str, Any]] = {
    name: {"injection": name} for name in ("late", "input", "multiscale", "embedding", "target_head")
}
#: What the first arm is trained without, or with less of.
ABLATIONS: dict[str, dict[str, Any]] = {
    AUTOMATIC_ONLY: {"training_modes": "automatic"},
    PROOFREAD_ONLY: {"training_modes": "proofread"},
    "no_geometry": {"weight_geometry": 0.0},
    "no_direction": {"weight_dir": 0.0},
    "no_tensor": {"weight_cov": 0.0},
    "no_raw": {"weight_raw": 0.0},
    "no_edge_weight": {"weight_edge": 1.0},
    "no_bone_weight": {"weight_bone": 1.0},
    "labels_50": {"label_fraction": 0.5},
    "labels_20": {"label_fraction": 0.2},
}
#: Parameters without effect where there is no geometry head.
GEOMETRY = {"weight_geometry", "weight_dir", "weight_cov", "weight_raw"}
#: What each of them asks, for tables.
DESCRIPTIONS = {
    AUTOMATIC_ONLY: "the automatic mode alone",
    PROOFREAD_ONLY: "the proofread mode alone",
    "no_geometry": "without the geometry head",
    "no_direction": "without directions",
    "no_tensor": "without structure tensors",
    "no_raw": "without reconstructing image and foreground",
    "no_edge_weight": "boundaries weighted like any other voxel",
    "no_bone_weight": "object centres weighted like any other voxel",
    "labels_50": "half of the objects labelled",
    "labels_20": "a fifth of the objects labelled",
}
#: Parts of the names of tasks, arms and ablations that are read otherwise than they are written.
SHOWN = {
    "instance": "embedding",
    "target": "mask",
    "labels_50": "50% of labels",
    "labels_20": "20% of labels",
}
#: What ablations change, in words.
CHANGED = {
    "training_modes": "modes",
    "weight_geometry": "weight of the geometry loss",
    "weight_dir": "weight of the directions",
    "weight_cov": "weight of the structure tensors",
    "weight_raw": "weight of image and foreground",
    "weight_edge": "weight of boundary voxels",
    "weight_bone": "weight of object centres",
    "label_fraction": "chance of an object to be labelled",
}


def shown_name(name: str) -> str:
    """A task, arm or ablation as a reader wants it: ``automatic/instance`` -> "automatic · embedding"."""
    return " · ".join(SHOWN.get(part, part.replace("_", " ")) for part in name.split("/"))


def shown_changes(ablation: str, parameters: Mapping[str, Any]) -> str:
    """What an ablation sets to what, of a run with ``parameters``: "weight of boundary voxels: 10 → 1"."""
    return "; ".join(
        f"{CHANGED[name]}: {_shown_value(parameters[name])} → {_shown_value(value)}"
        for name, value in ABLATIONS[ablation].items()
    )


def _shown_value(value: str | float) -> str:
    return " and ".join(value.split(",")) if isinstance(value, str) else f"{value:g}"


def changes(variant: str, first_arm: str) -> dict[str, Any]:
    """Parameters of a variant that differ from the run's; ablations vary ``first_arm``."""
    return ARMS[variant] if variant in ARMS else ARMS[first_arm] | ABLATIONS[variant]


def changes_nothing(ablation: str, parameters: Mapping[str, Any]) -> bool:
    """Whether an ablation leaves out what a run with these parameters is without anyway.

    The arm ``embedding`` has no weights for clicks: its proofread losses are its automatic ones once more.
    """
    change = ABLATIONS[ablation]
    if parameters.get("injection") == "embedding" and ablation in (AUTOMATIC_ONLY, PROOFREAD_ONLY):
        return True
    if parameters.get("weight_geometry") == 0 and set(change) & GEOMETRY:
        return True
    return all(parameters.get(name) == value for name, value in change.items())


def trained_by(variant: str) -> str:
    """The notebook that trains a variant."""
    return "02_training" if variant in ARMS or variant == AUTOMATIC_ONLY else "05_ablations"
