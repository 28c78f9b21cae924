"""The model card beside every checkpoint of the histology study."""

from __future__ import annotations

from collections.abc import Sequence

from mtl.datasets.histology import NucleiTile
from mtl.studies.histology.loss_sets import Training, shown_set
from mtl.studies.histology.parameters import PHANTOM, HistologyParameters

_PHANTOM = "it has seen no tissue; expect nothing of it on real slides."
_TISSUE = "tiles without patient or slide ids: fields of one slide may lie on both sides of a split."


def model_card(training: Training, parameters: HistologyParameters, tiles: Sequence[NucleiTile]) -> str:
    """Markdown: what the network is for, what it learnt from, what it was not tried on."""
    p, made_up = parameters, parameters.tiles == PHANTOM
    data = "a phantom, tiles made by a program" if made_up else f"tiles of `{p.tiles}`"
    groups = len({tile.group for tile in tiles})
    return f"""# histology: {training.losses}, {100 * training.fraction:g}% of labels

Nuclei in stained tissue, learnt from a share of their outlines; losses: {shown_set(training.losses)}.

- **Data**: {len(tiles)} training tiles of {groups} group(s) of {data}; `split.json` of the run says which.
- **Labels**: about {training.fraction:.0%} of the nuclei, other pixels have none; seed {training.seed}.
- **Steps**: {p.epochs} epochs of {p.patches_per_epoch} patches of {p.patch} x {p.patch} pixels.
- **Scores**: `metrics.json` of the run; figures per image in `predictions/`.
- **Limits**: {_PHANTOM if made_up else _TISSUE} 
  On other tissue and magnifications: the outside set in `metrics.json`.
- Research use only; not for diagnosis.
"""
