"""The model card beside every checkpoint of the em study."""

from __future__ import annotations

from mtl.datasets.em import EMVolume
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.variants import DESCRIPTIONS


def model_card(variant: str, parameters: EMParameters, volume: EMVolume) -> str:
    """Markdown: what the network is for, what it learnt from, what it was not tried on."""
    p = parameters
    spacing = " x ".join(f"{step:g}" for step in volume.spacing)
    data = "a made-up volume" if p.volume == "phantom" else f"volume `{volume.name}`"
    return f"""# em: {variant}

Instance segmentation of neurons in electron microscopy, {p.dims}-D; {DESCRIPTIONS.get(variant, "a click arm")}.
Clicks reach the network by `{p.injection}`; trained in the modes {", ".join(p.modes)}.

- **Data**: the training part (planes) of {data}, {spacing} nm per voxel. The split lies in `split.json` of the run.
- **Steps**: {p.epochs} epochs of {p.crops_per_epoch} crops of {" x ".join(map(str, p.crop))} voxels.
- **Scores**: `metrics.json` of the run; per-object and per-block figures in `predictions/`.
- **Limits**: one volume, one microscope, one species. Boundaries between blocks of one volume say nothing about
  other tissue; other voxel sizes were not tried. Proofread what you publish.
- Research use only.
"""
