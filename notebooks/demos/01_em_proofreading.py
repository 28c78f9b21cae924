# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Proofread an EM volume by clicking
#
# **Question.** How much of a segmentation do a few clicks put right, and how long does a person wait for an answer?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/demos/*.yaml` holds whole sets of them. `params` names the parameter file of the
# `em` study whose network answers; what that run has not trained yet is trained first.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/demos/
params: str = "quick"  # parameter file of the study, params/em/<this>.yaml
study_run: str = ""  # folder of the run to stand on; empty: the run of that file
output_root: str = "outputs"  # folder of all runs
data_root: str = ""  # folder of the data sets, where that file wants them
em_planes: int = 32  # planes of the piece that is proofread
em_side: int = 128  # pixels along a side of that piece
em_objects: int = 5  # objects that the simulated proofreader puts right
em_clicks: int = 5  # its clicks per object, at most

# %% [markdown]
# The next cell checks them. A name that is not known here is refused, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("demos", globals())

# %% [markdown]
# ## The volume and the network
# The piece lies in the middle of the test part: the network has not seen it. Its automatic instances are where the work
# begins.

# %%
import pandas as pd
from mtl.datasets.em import UNKNOWN
from mtl.evaluation.em.segmentation import adapted_rand_error
from mtl.interactive.em_proofreading import ProofreadingDesk
from mtl.interactive.stills import still
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.demo_answers import proofreading_answer
from mtl.studies.em.proofreading import proofread_by_simulation, proofreading_scene, worst_objects
from mtl.studies.em.study import EMStudy
from mtl.studies.provenance import hardware, record_provenance
from mtl.studies.run_directory import RunDirectory

use_report_style()
run_directory = RunDirectory(parameters.run_directory).prepare()
study = EMStudy(parameters.of_study("em"))
arm = study.parameters.arms[0]
scene = proofreading_scene(study, arm, parameters.em_planes, parameters.em_side)
record_provenance(parameters, study.data_fingerprint)
facts = {"volume": scene.label, "click arm": arm, "automatic instances": len(set(scene.automatic.flat) - {0})}
show_table(pd.DataFrame([facts]), source="provenance.json", caption="What is proofread", index=False)

# %% [markdown]
# ## A simulated proofreader
# It knows the truth and works on the objects that the automatic instances get least right. Each is clicked at its worst
# error, through the same widget that a person has, until its Dice is good enough or the clicks are used up; then it is
# accepted, if it is better than the automatic instance was.

# %%
desk = ProofreadingDesk(
    scene.image, scene.session, scene.work("simulation", anew=True), scene.label, scene.corner
)

chosen = worst_objects(scene, study.parameters.min_object_voxels, parameters.em_objects)
done = proofread_by_simulation(desk, scene, chosen, parameters.em_clicks)
run_directory.write_predictions("em_proofreading", done)
desk.canvas.reset()
names = {"automatic": "Dice before", "clicked": "Dice after the clicks", "ms": "slowest click, ms"}
show_table(
    done.assign(ms=1000 * done["seconds"]).drop(columns="seconds").rename(columns=names),
    source="predictions/em_proofreading.parquet",
    caption="Objects that were clicked, worst first",
    index=False,
)

# %% [markdown]
# What the piece looks like after it: accepted objects in other colours than yellow, the other segments yellow.

# %%
figure, alt = still(desk.canvas)
show_figure(
    figure, alt=alt, source="metrics.json#/em_proofreading", caption="After the simulated proofreader."
)

# %% [markdown]
# ## Your turn
# The same desk, with your own labels: what you accept lies in the run's folder, `proofreading/`, before the next click, and
# is there when this page is opened again, whatever became of the kernel. *Save files* writes a TIFF and an OME-Zarr folder
# beside it; neuroglancer opens the latter over HTTP (`zarr://http://HOST/labels.zarr`).

# %%
mine = ProofreadingDesk(scene.image, scene.session, scene.work("by_hand"), scene.label, scene.corner)
display(mine)

# %% [markdown]
# ## What it means
# The simulated proofreader is exact and knows the truth; a person needs more clicks and more time between them. It works on
# the worst objects only, so its gain per object is larger than the next one's would be. The error is that of one piece of
# one volume. The answer would be wrong if other pieces gained nothing.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
error = {
    name: adapted_rand_error(labels, scene.truth, background="exclude", ignore_index=UNKNOWN)
    for name, labels in (("before", scene.automatic), ("after", desk.work.labels))
}
section = {
    "objects": len(done),
    "accepted": desk.work.counts()["done_accept"],
    "clicks": int(done["clicks"].sum()),
    "median_ms": float(1000 * pd.Series(desk.seconds).median()),
    "n_timed": len(desk.seconds),
    "machine": hardware()["gpu"] or f"{hardware()['cores']} cores of {hardware()['cpu']}",
    "error": error,
    "rows": done.to_dict("records"),
}
section["headline"] = [
    {"label": "adapted Rand error before", "value": error["before"]},
    {"label": f"after {section['clicks']} clicks", "value": error["after"]},
]
write_metrics(run_directory.path, "em_proofreading", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(proofreading_answer(section), run_directory.metrics))
show_figure(still(desk.canvas).figure, alt=alt, source="metrics.json#/em_proofreading")
