# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Angiography: play a clip, read what the network writes
#
# **Question.** What does the network write of a clip, where does it look meanwhile, and which reports does it hold for near?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/demos/*.yaml` holds whole sets of them. `params` names the parameter file of the
# `angiography` study whose network writes; what that run has not trained yet is trained first.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/demos/
params: str = "quick"  # parameter file of the study, params/angiography/<this>.yaml
study_run: str = ""  # folder of the run to stand on; empty: the run of that file
output_root: str = "outputs"  # folder of all runs
data_root: str = ""  # folder of the data sets, where that file wants them
angiography_clips: int = 8  # test clips to choose from

# %% [markdown]
# The next cell checks them. A name that is not known here is refused, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("demos", globals())

# %% [markdown]
# ## The clips and the network
# Test clips, first those with a narrowing whose place is known. The network is the one that the study shows in depth.

# %%
import pandas as pd
from mtl.evaluation.angiography import same_words
from mtl.interactive.angiography_player import ATTENTION, AngiographyPlayer
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.angiography.player_clips import PlayerClips
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.demo_answers import player_answer
from mtl.studies.provenance import record_provenance
from mtl.studies.run_directory import RunDirectory

use_report_style()
run_directory = RunDirectory(parameters.run_directory).prepare()
study = AngiographyStudy(parameters.of_study("angiography"))
study.train_one(study.first)
record_provenance(parameters, study.parts.data_hash)
chosen = PlayerClips(study, parameters.angiography_clips)

# %% [markdown]
# ## Your turn
# Choose a clip and play it (the wheel turns it frame by frame). *Attention* lays over the frames where the writing looked: on
# the whole, or while it wrote one word.

# %%
player = AngiographyPlayer(chosen.clips, chosen.look, chosen.true_report, chosen.nearest, chosen.note)
player.view.value = ATTENTION
display(player)

# %% [markdown]
# ## All clips of the list
# What is written beside what is true.

# %%
table = pd.DataFrame(
    {"clip": name, "written": chosen.look(clip).report or "(nothing)", "true": chosen.true_report(clip)}
    for name, clip in chosen.clips.items()
)
run_directory.write_predictions("angiography_player", table)
show_table(table, source="predictions/angiography_player.parquet", caption="Reports", index=False)

# %% [markdown]
# ## What it means
# A handful of clips shows how the player works, not how good the reports are: notebook 03 of the study measures that against
# controls. Attention that lies on a narrowing does not prove that the network saw it. The answer would be wrong if the list
# had other clips.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
section = {
    "clips": len(table),
    "distinct": int(table["written"].nunique()),
    "right": sum(same_words(row.written, row.true) for row in table.itertuples()),
    "note": chosen.note,
}
section["headline"] = [
    {"label": f"different reports written of {section['clips']} clips", "value": section["distinct"]}
]
write_metrics(run_directory.path, "angiography_player", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(player_answer(section), run_directory.metrics))
show_figure(*player.still(), source="metrics.json#/angiography_player")
