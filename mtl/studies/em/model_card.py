"""The model card beside every checkpoint of the em study."""

from __future__ import annotations

from mtl.datasets.em import EMVolume
from mtl.studies.em.parameters import VariantParameters
from mtl.studies.em.variants import DESCRIPTIONS

_PHANTOM = "it has seen no tissue and no microscope; expect nothing of it on real sections."
_TISSUE = (
    "one volume, so one microscope and one species; blocks of one volume say nothing about other tissue."
)


def model_card(variant: str, parameters: VariantParameters, volume: EMVolume) -> str:
    """Markdown: what the network is for, what it learnt from, what it was not tried on."""
    p = parameters
    spacing = " x ".join(f"{step:g}" for step in volume.spacing)
    made_up = p.volume == "phantom"
    data = "a phantom, a volume made by a program" if made_up else f"volume `{volume.name}`"
    labels = (
        "all that the volume has" if p.label_fraction == 1 else f"about {p.label_fraction:.0%} of the objects"
    )
    what, crop = DESCRIPTIONS.get(variant, "a click arm"), " x ".join(map(str, p.crop))
    return f"""# em: {variant}

Instance segmentation of neurons in electron microscopy, {p.dims}-D; {what}.
Clicks reach the network by `{p.injection}`; trained in the modes {", ".join(p.modes)}.

- **Data**: the training planes of {data}, {spacing} nm per voxel; `split.json` of the run says which.
- **Labels**: {labels}.
- **Steps**: {p.epochs} epochs of {p.crops_per_epoch} crops of {crop} voxels.
- **Scores**: `metrics.json` of the run; figures per clicked object and per block in `predictions/`.
- **Limits**: {_PHANTOM if made_up else _TISSUE} Other voxel sizes were not tried.
  Proofread what you publish.
- Research use only.
"""
