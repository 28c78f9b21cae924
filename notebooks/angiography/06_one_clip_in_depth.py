# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Angiography: one clip in depth
#
# **Question.** What does the network write about one film, where and when does it look meanwhile, and which reports does it
# take for similar?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/angiography/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/angiography/
data_root: str = ""  # folder of the data sets
videos: str = "phantom"  # phantom, or a table or folder below data_root
generation: str = "greedy"  # of reports: greedy, top_k, top_p, beam
n_bootstrap: int = 1000  # bootstrap resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("angiography", globals())

# %% [markdown]
# ## Method
# One clip of the test part: the first with a narrowing whose place is known. It is not chosen by its score. Attention is the
# captioner's cross-attention, averaged over heads and layers, one map per word. The captioner also reads the clip's pooled
# vector; what goes there has no place, and maps are of the rest. Attention says where information was read, not why; how
# often the largest lies in the true box, over all test clips, stands at the end.

# %%
import numpy as np
import pandas as pd
from mtl.evaluation.angiography import summarise_grounding
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_angiography import attention_over_clip, clip_sheet
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.angiography.answers import clip_answer
from mtl.studies.angiography.clip_in_depth import attention_table, look_at, nearest_reports_to
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import SHOWN_MEASURES

use_report_style()
study = AngiographyStudy(parameters)
tests = study.parts.test
clip = next((clip for clip in tests if clip.stenoses), tests[0])
seen = look_at(study, study.first, clip)
boxes = [(s.segment or "", s.frame, s.box) for s in seen.boxes]
show_figure(
    clip_sheet(
        [seen.video], [clip.study.split("/")[-1]], [{"true": clip.report, "written": seen.report}], [boxes],
        n_frames=min(6, parameters.frames),
    ),
    alt="Frames of the clip with the true boxes, the true and the written report.",
    source="checkpoints/fold_0/",
)  # fmt: skip

# %% [markdown]
# ## Where and when it looks
# Attention of the whole report over the clip's time steps (one, where a tubelet spans the clip), then of the first segment
# and the first percentage that are written, if there are any. Dashed: the true box; solid on the step that holds the frame
# where it is best seen.

# %%
looks = [("the whole report", seen.attention.average)]
looks += [(f"the word {seen.attention.words[n]!r}", seen.attention.maps[n]) for n in seen.told_words]
for name, cells in looks:
    show_figure(
        attention_over_clip(seen.video, cells, boxes, name),
        alt=f"Frames of the clip under the attention of {name}, and that attention over time.",
        source="checkpoints/fold_0/",
    )

# %% [markdown]
# ## Nearest reports
# Training reports that lie nearest to the clip in the common space.

# %%
nearest = nearest_reports_to(study, study.first, clip)
show_table(
    nearest, source="checkpoints/fold_0/", caption=f"True report: {clip.report}", index=False,
    if_empty="No contrastive objective in this run.",
)  # fmt: skip

# %% [markdown]
# ## All test clips
# *Pointing*: the largest attention of the report lies in the first true box (frame not counted); beside it the share of
# the attention's cells that count as inside, which a blind guess would reach. *Mass*: attention inside the box; *mass
# gain*: as a multiple of the box's area. *The clip as a whole*: what went to the pooled vector.

# %%
table = attention_table(study, study.first)
study.run.write_predictions("attention", table)
pointing = (
    summarise_grounding(table, n_resamples=parameters.n_bootstrap, seed=parameters.seed) if len(table) else {}
)
rows = [{"measure": SHOWN_MEASURES[name], "value": estimate} for name, estimate in pointing.items()]
show_table(
    pd.DataFrame(rows), source="metrics.json#/one_clip_in_depth", caption="Attention against true boxes",
    index=False, if_empty="No box in the test clips, or no captioning objective.",
)  # fmt: skip

# %% [markdown]
# ## What it means
# One clip shows how the network can be looked at, not how good it is (notebook 03). Attention that misses the box does not
# prove that the network guesses, and attention inside it not that it sees the narrowing. The reading would be wrong if
# attention over all clips lay in the boxes no more often than their area.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
average = seen.attention.average
section = {
    "clip": clip.id,
    "true": clip.report,
    "written": seen.report,
    "peak_step": int(np.argmax(average.sum(axis=(1, 2)))) + 1,
    "steps": int(average.shape[0]),
    "grounding": pointing,
    "clips": len(table),
    "made_up": parameters.videos == "phantom",
}
section["headline"] = [
    {"label": SHOWN_MEASURES[name].capitalize(), "value": estimate}
    for name, estimate in list(pointing.items())[:2]
]
write_metrics(study.run.path, "one_clip_in_depth", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(clip_answer(section), study.run.metrics))
show_figure(
    attention_over_clip(seen.video, average, boxes, "whole report"),
    alt="Frames of the clip under the average attention of the written report, and attention over time.",
    source="checkpoints/fold_0/",
)
