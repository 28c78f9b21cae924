"""The model card beside every checkpoint of the em study."""

from __future__ import annotations

from mtl.datasets.em import EMVolume
from mtl.studies.em.parameters import VariantParameters
from mtl.studies.em.variants import DESCRIPTIONS


def model_card(variant: str, parameters: VariantParameters, volume: EMVolume) -> str:
    """Markdown: what the network is for, what it learnt from, what it was not tried on."""
    p = parameters
    spacing = " x ".join(f"{step:g}" for step in volume.spacing)
    data = "a made-up volume" if p.volume == "phantom" else f"volume `{volume.name}`"
    what, crop = DESCRIPTIONS.get(variant, "a click arm"), " x ".join(map(str, p.crop))
    return f"""# em: {variant}

Instance segmentation of neurons in electron microscopy, {p.dims}-D; {what}.
Clicks reach the network by `{p.injection}`; trained in the modes {", ".join(p.modes)}.

- **Data**: the training planes of {data}, {spacing} nm per voxel; `split.json` of the run says which.
- **Steps**: {p.epochs} epochs of {p.crops_per_epoch} crops of {crop} voxels.
- **Scores**: `metrics.json` of the run; figures per object and per block in `predictions/`.
- **Limits**: one volume, one microscope, one species. Blocks of one volume say nothing about other tissue,
  and other voxel sizes were not tried. Proofread what you publish.
- Research use only.
"""
