# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Annotate nuclei, and train on them
#
# **Question.** A network proposes nuclei and a person accepts, rejects and adds: what does a handful of actions and a bounded
# training change, and how long does the person wait?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/demos/*.yaml` holds whole sets of them. `params` names the parameter file of the
# `histology` study whose network proposes; what that run has not trained yet is trained first.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/demos/
params: str = "quick"  # parameter file of the study, params/histology/<this>.yaml
study_run: str = ""  # folder of the run to stand on; empty: the run of that file
output_root: str = "outputs"  # folder of all runs
data_root: str = ""  # folder of the data sets, where that file wants them
histology_actions: int = 8  # actions of the simulated annotator

# %% [markdown]
# The next cell checks them. A name that is not known here is refused, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("demos", globals())

# %% [markdown]
# ## The tiles and the network
# The tiles are of the first fold's training part. The network that proposes first has learnt from the few nuclei that
# notebook 03 of the study reveals; every *Train* goes on from the network before it.

# %%
import pandas as pd
from mtl.interactive.histology_annotation import AnnotationDesk
from mtl.interactive.stills import still
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.demo_answers import annotation_answer
from mtl.studies.histology.annotation_by_hand import AnnotationByHand
from mtl.studies.histology.annotation_clicks import act_as_annotator, mean_pq
from mtl.studies.histology.study import HistologyStudy
from mtl.studies.provenance import hardware, record_provenance
from mtl.studies.run_directory import RunDirectory

use_report_style()
run_directory = RunDirectory(parameters.run_directory).prepare()
study = HistologyStudy(parameters.of_study("histology"))
study.train_one(study.first)
record_provenance(parameters, study.data_fingerprint)
simulated = AnnotationByHand(study, "simulation", anew=True)
desk = AnnotationDesk(simulated)
before = mean_pq(study, simulated)
facts = {"tiles": len(simulated.tiles), "steps of a training": study.parameters.loop_steps}
show_table(pd.DataFrame([facts]), source="provenance.json", caption="What there is to annotate", index=False)

# %% [markdown]
# ## A simulated annotator
# It knows the truth and clicks: on proposals that fit a nucleus, with the right button on those that fit none, and where
# nothing is proposed it draws the outline. Then it presses *Train*.

# %%
seen = act_as_annotator(desk, parameters.histology_actions)
desk.press("Train")
after = mean_pq(study, simulated)
run_directory.write_predictions("histology_annotation", seen)
show_table(
    seen.rename(columns={"ms": "median ms"}),
    source="predictions/histology_annotation.parquet",
    caption="Actions, and how long each took to be saved and shown",
    index=False,
)

# %% [markdown]
# The tile after it: what is outlined in green, what the network now proposes in orange.

# %%
figure, alt = still(desk.canvas)
show_figure(
    figure,
    alt=alt,
    source="metrics.json#/histology_annotation",
    caption="Green: outlined. Orange: proposed after the training.",
)

# %% [markdown]
# ## Your turn
# The same desk, with your own annotations: they lie in the run's folder, `annotations/by_hand/`, before the next click, and
# are there when this page is opened again, whatever became of the kernel. *Save files* writes a TIFF and a GeoJSON file of
# every tile beside them; QuPath imports the latter (drag it onto the open tile).

# %%
mine = AnnotationDesk(AnnotationByHand(study))
display(mine)

# %% [markdown]
# ## What it means
# The simulated annotator never errs, and its few actions are one draw: another tile, or another seed, may gain or lose. A
# training of so few steps changes the score in either direction. How reviewing proposals compares with outlining in random
# order is measured in notebook 06 of the study. The answer would be wrong if the same actions again changed the score the
# other way.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
section = {
    "actions": int(seen["actions"].sum()),
    "steps": study.parameters.loop_steps,
    "images": len(study.part(0, "test")),
    "pq": {"before": before, "after": after},
    "rows": seen.to_dict("records"),
    "machine": hardware()["gpu"] or f"{hardware()['cores']} cores of {hardware()['cpu']}",
}
section["headline"] = [
    {"label": "PQ before", "value": before},
    {"label": f"PQ after {section['actions']} actions and a training", "value": after},
]
write_metrics(run_directory.path, "histology_annotation", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(annotation_answer(section), run_directory.metrics))
show_figure(still(desk.canvas).figure, alt=alt, source="metrics.json#/histology_annotation")
