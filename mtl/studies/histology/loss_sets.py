"""What is compared: which of the eight losses a network learns from, and with how many of the labels.

All trainings of a fold and seed start from the same weights and make the same number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Loss to the parameter that weighs it; the order and names of ``mtl.losses.histology``, which imports torch.
ALPHAS = {
    "segmentation": "alpha_seg",
    "edge": "alpha_edge",
    "hv": "alpha_hv",
    "recon": "alpha_recon",
    "obj_emb": "alpha_obj_emb",
    "pixel_con": "alpha_pixel_con",
    "total_var": "alpha_var",
    "small_hole": "alpha_small_hole",
}
ALL, SEGMENTATION_ONLY = "all", "segmentation_only"
WITHOUT = "without_"
#: Every set: the losses that it leaves out.
LOSS_SETS: dict[str, frozenset[str]] = {
    ALL: frozenset(),
    SEGMENTATION_ONLY: frozenset(ALPHAS) - {"segmentation"},
    **{f"{WITHOUT}{loss}": frozenset({loss}) for loss in ALPHAS},
}
#: Losses in words, for tables and figures.
SHOWN = {
    "segmentation": "segmentation",
    "edge": "edge",
    "hv": "inner map",
    "recon": "reconstruction",
    "obj_emb": "prototypes",
    "pixel_con": "pixel contrast",
    "total_var": "total variation",
    "small_hole": "small holes",
}


@dataclass(frozen=True)
class Training:
    """One network of a run: a set of losses, the share of labels that it sees, a fold, a seed."""

    losses: str
    fraction: float
    fold: int
    seed: int


def arm_name(losses: str, fraction: float) -> str:
    """``without_edge`` at 0.1 -> ``without_edge_10``."""
    return f"{losses}_{100 * fraction:g}"


def shown_set(losses: str) -> str:
    """A set as a reader wants it: "without edge", "all losses", "segmentation only"."""
    if losses == ALL:
        return "all losses"
    if losses.startswith(WITHOUT):
        return f"without {SHOWN[losses.removeprefix(WITHOUT)]}"
    return losses.replace("_", " ")


def shown_arm(losses: str, fraction: float) -> str:
    """ "all losses, 10% of labels"."""
    return f"{shown_set(losses)}, {100 * fraction:g}% of labels"
