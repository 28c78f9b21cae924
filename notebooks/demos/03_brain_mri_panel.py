# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Brain MRI: one slice, and what the network says of it
#
# **Question.** What does one network say of a slice (tumour or not, where, how sure, because of what), and how far may it be
# believed?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/demos/*.yaml` holds whole sets of them. `params` names the parameter file of the
# `brain_mri` study whose network answers; what that run has not trained yet is trained first.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/demos/
params: str = "quick"  # parameter file of the study, params/brain_mri/<this>.yaml
study_run: str = ""  # folder of the run to stand on; empty: the run of that file
output_root: str = "outputs"  # folder of all runs
data_root: str = ""  # folder of the data sets, where that file wants them

# %% [markdown]
# The next cell checks them. A name that is not known here is refused, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("demos", globals())

# %% [markdown]
# ## The network, and what it is worth
# The network is that of the study's first fold; the slices to choose from are of patients that it did not see.

# %%
import pandas as pd
from mtl.inference.brain_mri import MultiTaskPredictor
from mtl.interactive.brain_mri_panel import BrainMriPanel
from mtl.reporting.claims import claim, format_figure, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.brain_mri.panel_cases import measured_performance, panel_slices, trained_network
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.studies.demo_answers import panel_answer
from mtl.studies.provenance import record_provenance
from mtl.studies.run_directory import RunDirectory

use_report_style()
run_directory = RunDirectory(parameters.run_directory).prepare()
study = BrainMriStudy(parameters.of_study("brain_mri"))
predictor = MultiTaskPredictor(trained_network(study), device=parameters.device)
record_provenance(parameters, study.data_fingerprint)
cases = panel_slices(study)

# %% [markdown]
# What it is worth was measured by notebook 05 of the study, over all folds; where that was not run, the panel says so.

# %%
measured = measured_performance(study)
worth = [row | {"value": format_figure(row["estimate"])} for row in measured]
show_table(
    pd.DataFrame(
        [{"source": r["source"], "metric": r["metric"], "measured": r["estimate"]} for r in measured]
    ),
    source="../../brain_mri/",
    caption="Measured for networks of this stage, one per fold, each on patients that it did not see",
    index=False,
    if_empty="Notebook 05 of the study was not run: nothing was measured.",
)

# %% [markdown]
# ## Your turn
# Choose a slice, or upload one (PNG, JPEG, TIFF, `.npz`) or a NIfTI volume. The outline is shown only where the probability
# reaches the threshold; the Grad-CAM always. Nothing of an upload is kept.

# %%
panel = BrainMriPanel(predictor, cases, worth)
display(panel)

# %% [markdown]
# ## All slices of the list
# The same network on each of them. The last column is its doubt: the spread of the probability when parts of the head are
# dropped at random.

# %%
found = {name: predictor.predict_full(image, uncertainty=panel.uncertainty) for name, image in cases.items()}
table = pd.DataFrame(
    {
        "slice": name,
        "tumour probability": one.tumor_prob,
        "said": one.predicted_label,
        "outlined, %": one.tumor_percentage,
        "standard deviation": one.uncertainty.std_probability,
    }
    for name, one in found.items()
)
run_directory.write_predictions("brain_mri_panel", table)
show_table(
    table.astype({"outlined, %": object}).replace({float("nan"): None}),
    source="predictions/brain_mri_panel.parquet",
    caption="What the network says",
    index=False,
)

# %% [markdown]
# ## What it means
# A handful of slices shows how the panel works, not how good the network is: that is what the measured figures are for, and
# they hold for the sources that they were measured on. The spread knows of the head's doubt alone. Research use only. The
# answer would be wrong if the list had other slices.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
true = pd.Series([int(name.endswith("(tumour)")) for name in cases], index=table.index)
said = (table["said"] == "tumour").astype(int)
section = {
    "slices": len(table),
    "right": int((said == true).sum()),
    "tumours": int(true.sum()),
    "found": int((said & true).sum()),
    "threshold": predictor.classification_threshold,
}
section["headline"] = [{"label": f"of {section['slices']} slices rightly named", "value": section["right"]}]
write_metrics(run_directory.path, "brain_mri_panel", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(panel_answer(section), run_directory.metrics))
show_figure(*panel.still(), source="metrics.json#/brain_mri_panel")
