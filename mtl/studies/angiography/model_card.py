"""The model card beside every checkpoint of the angiography study."""

from __future__ import annotations

from collections.abc import Sequence

from mtl.datasets.angiography import Clip
from mtl.studies.angiography.parameters import PHANTOM, AngiographyParameters
from mtl.studies.angiography.variants import WEIGHTS, shown_variant

_PHANTOM = "it has seen no patient; every claim about it is a claim about phantoms."
_REAL = "how patients were chosen is not known here; near copies may lie on both sides of a split."


def model_card(variant: str, parameters: AngiographyParameters, clips: Sequence[Clip]) -> str:
    """Markdown: what the network is for, what it learnt from, what it was not tried on."""
    p, made_up = parameters, parameters.videos == PHANTOM
    data = "a phantom, films made by a program" if made_up else f"`{p.videos}`"
    learnt = ", ".join(f"{task} ({p.weights[task]:g})" for task in WEIGHTS if p.weights[task] > 0)
    studies = len({clip.study for clip in clips})
    return f"""# angiography: {shown_variant(variant)}

Coronary angiograms and their reports in one space, reports written from films; objectives: {learnt}.

- **Data**: {len(clips)} training clips of {studies} studies of {data}; `split.json` of the run says which.
- **Clips**: {p.frames} frames of {p.size} x {p.size} pixels; reports of up to {p.context} tokens.
- **Steps**: {p.epochs} epochs of {p.clips_per_epoch} clips.
- **Scores**: `metrics.json` of the run; figures per pair in `predictions/`.
- **Limits**: {_PHANTOM if made_up else _REAL}
- Research use only; not for diagnosis.
"""
