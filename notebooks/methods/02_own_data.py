# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Bring your own data: a study on a folder of yours
#
# **Question.** You have a folder of brain MRI slices, some with tumour masks, some with a yes or no only. What is
# wrong with it, how does the `brain_mri` study run on it, and what do the scores say, source by source?

# %% [markdown]
# ## Parameters
# `data_root` is your folder. Where it is empty, a folder is made, with two faults in it, so that everything below
# can be tried first. papermill replaces these values; `params/methods/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/methods/
data_root: str = ""  # folder with one's own data; empty: made data
image_size: int = 48  # pixels along a side
phantom_patients: int = 120  # made patients, over both scanners
phantom_slices: int = 2  # slices per made patient
base_filters: int = 8  # channels of the first level
depth: int = 3  # poolings of the U-Net
batch_size: int = 16  # samples per batch
epochs: int = 8  # of the warm-up and of the joint stage
learning_rate: float = 3e-3  # AdamW
n_bootstrap: int = 1000  # resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that is not known here is refused, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("methods", globals())

# %% [markdown]
# The tools of this notebook: the study itself and what the command line calls, nothing special.

# %%
import pandas as pd
from IPython.display import Markdown
from mtl.datasets.brain_mri import check_folder
from mtl.datasets.phantoms.brain_folder import write_example_folder
from mtl.datasets.phantoms.brain_mri import SCANNERS, BrainPhantom
from mtl.errors import DataError, ParameterError
from mtl.evaluation.brain_mri import by_stage_and_source, classification_table, readable_rows
from mtl.evaluation.brain_mri import segmentation_table, table_alarms
from mtl.inference.brain_mri import MultiTaskPredictor
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import image_grid, show_figure, use_report_style
from mtl.reporting.figures_brain_mri import slice_grid
from mtl.reporting.figures_results import forest_plot, training_curves
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.brain_mri.data import require_filled_masks
from mtl.studies.brain_mri.forecast import forecast
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.brain_mri.predictions import (
    read_predictions,
    write_baseline_predictions,
    write_test_predictions,
)
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.studies.parameter_file import write_parameter_file
from mtl.studies.parameters import inside_project, project_path
from mtl.studies.provenance import record_provenance

# %% [markdown]
# ## How to lay files out
# One folder, with one or several data sets below it; each keeps the layout that it has:
#
# | layout | files | what is known |
# |:---|:---|:---|
# | pictures | `brain_tumor_dataset/yes/*` and `no/*`; beside it `masks/` with the same names, `groups.csv` | yes or no; masks and groups where given |
# | LGG | `kaggle_3m/<case>/<case>_<slice>.tif` with `_mask.tif` | masks, patients |
# | BraTS, MSD | `<patient>/<patient>_flair.nii.gz` with `_seg`, or `imagesTr/` with `labelsTr/` | masks, patients |
# | arrays | `<patient>_slice_<number>.npz` with `image`, and `mask` or `cls` | what is in them |
#
# Pictures may have any mode and any extension. Where there are no patients, near-duplicates are found and kept
# together: they must not stand on both sides of a split.

# %%
use_report_style()
planted = None
folder = project_path(parameters.data_root or parameters.run_directory / "made_folder")
if not parameters.data_root:
    patients, slices = parameters.phantom_patients, parameters.phantom_slices
    phantom = BrainPhantom(patients, slices, size=96, seed=parameters.seed, masked_sources=tuple(SCANNERS))
    planted = write_example_folder(folder, phantom)
files = pd.DataFrame(
    [
        (path.parent.relative_to(folder).as_posix(), path.name)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ],
    columns=["folder", "file"],
)
show_table(
    files.groupby("folder")["file"].agg(files="size", first="min", last="max"),
    source="the data folder",
    caption=f"Files in {inside_project(folder)}",
)

# %% [markdown]
# ## What `mtl data check` says
# Every file is opened and read, as training will read it. An **error** would stop training, a **warning** says that
# something was left out or looks wrong, a **note** is good to know.

# %%
report = check_folder(folder)
show_table(report.findings_table(), source="mtl data check", caption="What was found", index=False)

# %% [markdown]
# An error has to be put right by a person: restore the file, or take it out. In the made folder the damaged picture
# is taken out here; nothing in a folder of yours is ever touched. Then the folder is looked at again, because what
# stopped the reader may have hidden other things: here a mask whose shape cannot be that of its picture. Nobody
# knows how the two lie on each other, so that mask counts as *unknown* and the picture keeps its yes.

# %%
first_look = report
if planted:
    planted.truncated.unlink()
    report = check_folder(folder)
if not report.ok:
    raise DataError(f"{folder}: put the errors above right, then run this notebook again")
display(
    show_table(report.findings_table(), source="mtl data check", caption="On the second look", index=False)
)
show_table(report.facts_table(), source="mtl data check", caption="What the folder holds", index=False)

# %% [markdown]
# ## The parameter file
# A parameter file is flat YAML: `name: value`, only what differs from the defaults, and a comment on top that says
# what it is for. `mtl run` and every notebook of the study read the same file.

# %%
chosen = parameters.for_brain_mri(
    run="own",
    data_root=inside_project(folder),
    warm_up_epochs=parameters.epochs,
    head_epochs=max(1, parameters.epochs // 4),
    joint_epochs=parameters.epochs,
    warm_up_lr=parameters.learning_rate,
    masked_ratio=0.5,
)
own_file = parameters.run_directory / "own.yaml"
header = [
    "Our folder: a short training, to see that everything works.",
    f"Command: mtl run brain_mri --params {inside_project(own_file)}",
    "Expected: see mtl preflight. Expected scores: not known yet.",
]
unused = ("output_root", "phantom_patients", "phantom_slices", "phantom_rho")
text = write_parameter_file(own_file, chosen, header, leave_out=unused)
Markdown(f"```yaml\n{text}```")

# %% [markdown]
# Values are checked before anything runs. A wrong file is refused with the names of *all* that is wrong in it:

# %%
try:
    BrainMriParameters.from_yaml(own_file, {"image_sise": 64, "depth": 9, "balancer": "pcgard"})
except ParameterError as error:
    print(str(error).replace(str(own_file), own_file.name))

# %% [markdown]
# ## What it will take
# `mtl preflight` makes a few real steps of every stage and says what the whole run will cost: better to know this
# before a night of training than after it.

# %%
in_this_run = {"output_root": chosen.output_root, "run": parameters.inner_run("own")}
study = BrainMriStudy(BrainMriParameters.from_yaml(own_file, in_this_run))
require_filled_masks(study.dataset, study.split)
place = f"runs/brain_mri/{study.parameters.run}"
cost = forecast(study)
rows = pd.DataFrame(cost["stages"]).assign(seconds=lambda t: 60 * t["minutes"])
show_table(
    rows[["stage", "steps", "seconds_per_step", "seconds"]].rename(
        columns={"seconds_per_step": "seconds per step"}
    ),
    source="mtl preflight",
    caption="Forecast of the training",
    index=False,
)

# %% [markdown]
# ## What the network sees
# A few slices of every source, prepared as training prepares them: cropped to the head, normalised within it. The
# outline is the mask, where one is known. Look here for heads cut off, wrong orientation, masks beside their tumour.

# %%
table = study.dataset.table.sort_values(["source", "cls", "has_mask"], ascending=[True, False, True])
some = pd.concat(
    [rows.head(2) for _, rows in table.groupby(["source", "cls"], sort=False)], ignore_index=True
)
titles = [
    f"{row.source}: {'tumour' if row.cls else 'no tumour'}{'' if row.has_mask else ', mask unknown'}"
    for row in some.itertuples()
]
show_figure(
    slice_grid(study.samples(list(some["id"])), titles),
    alt="Slices of every source with and without tumour, known masks outlined.",
    source="made_folder" if planted else "the data folder",
)

# %% [markdown]
# ## A short training
# The three stages of the study, as `mtl run brain_mri` would train them: outlines from the slices with masks, then
# the head on frozen features, then everything together. Interrupted, it goes on where it was.

# %%
results = {stage: study.train(stage)[0] for stage in study.training_order()}
joint = results["joint"].history.pivot_table(index="epoch", columns="key", values="value").reset_index()
joint = joint.rename(columns={"val/dice": "validation Dice", "val/roc_auc": "validation ROC-AUC"})
show_figure(
    training_curves(joint, ["validation Dice", "validation ROC-AUC"]),
    alt="Validation Dice and ROC-AUC over the epochs of the joint stage.",
    source=f"{place}/checkpoints/fold_0/joint/history.parquet",
)

# %% [markdown]
# ## Scores per source
# On the frozen test part, patients (or near-duplicate groups) disjoint from training, with intervals over them.
# `source_only` knows nothing but the source, `histogram` only the grey values: a network that does not beat them has
# learnt nothing worth having. Read the rows of the single sources first; the pooled row can be flattered by
# whatever tells sources apart.

# %%
write_test_predictions(study, "joint")
write_baseline_predictions(study)
predictions = read_predictions(study, ["joint", "baselines"])
settings = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed}
classification = classification_table(predictions, **settings)
classified = by_stage_and_source(classification)
wanted = {
    "roc_auc": "ROC-AUC",
    "balanced_accuracy": "balanced accuracy",
    "recall": "recall",
    "specificity": "specificity",
}
kept = {stage: classified[stage] for stage in ("joint", "histogram", "source_only")}
show_table(
    pd.DataFrame(readable_rows(kept, wanted)),
    source=f"{place}/predictions/*.parquet",
    caption="Classification on the test part",
    index=False,
)

# %% [markdown]
# Outlines, on the slices whose true mask is known and not empty, beside the average mask of the training part.

# %%
segmented = by_stage_and_source(segmentation_table(predictions, **settings))
masks = {"dice_nonempty": "Dice", "hd95": "HD95 (px)", "empty_falsely_marked": "empty falsely marked"}
show_table(
    pd.DataFrame(readable_rows(segmented, masks)),
    source=f"{place}/predictions/*.parquet",
    caption="Segmentation on the test part",
    index=False,
)

# %% [markdown]
# Patterns that make a good-looking figure worthless ring an alarm. A small folder rings "too few units": its
# intervals are wide and may still be too narrow. `n_folds: 5` with `cross_validated: all` tests every slice once.

# %%
rung = table_alarms(classification[classification["stage"] == "joint"], predictions)
display(show_table(rung, source=f"{place}/predictions/joint.parquet", index=False, if_empty="No alarm."))

# %% [markdown]
# ## The network at work
# The checkpoint knows its architecture, its normalisation and its thresholds; a path is all that is needed. These
# are pictures of the test part that the decoder was asked about, with what it outlines.

# %%
predictor = MultiTaskPredictor(results["joint"].folder / "best")
test = study.rows(0, "test").sort_index().sort_values("cls", ascending=False, kind="stable")
shown = pd.concat([rows.head(2) for _, rows in test.groupby(["source", "cls"], sort=False)])
images = [study.dataset.native(name)[0] for name in shown["id"]]
found = [predictor.predict_conditional(image) for image in images]
titles = [
    f"{row.source}, truth {row.cls}: p = {one.tumor_prob:.2f}"
    for row, one in zip(shown.itertuples(), found, strict=True)
]
show_figure(
    image_grid(images, titles=titles, overlays=[one.mask for one in found]),
    alt="Test slices with tumour probability and predicted outline.",
    source=f"{place}/checkpoints/fold_0/joint/best",
)

# %% [markdown]
# ## The same from the command line
# For everything that the study has (stages compared, source audit, explanations), these are the commands;
# `NEW_SLICES` is a folder of pictures, `.npz` or NIfTI. Deleting `image_size`, `base_filters` and the epochs from the file gives the study's own sizes back.

# %%
shown_file, shown_folder = inside_project(own_file), inside_project(folder)
Markdown(
    f"```shell\nmtl data check {shown_folder}\n"
    f"mtl preflight brain_mri --params {shown_file}\n"
    f"mtl run brain_mri --params {shown_file}\n"
    "mtl predict brain_mri NEW_SLICES \\\n"
    "    --checkpoint outputs/brain_mri/own/checkpoints/fold_0/joint/best\n```"
)

# %% [markdown]
# ## Limitations
# - The warm-up learns from masks: where a part of the split has no filled one, the notebook stops and says so.
# - Where there are no patient ids, slices of one person may stand on both sides of the split.
# - A source that has nearly all of the tumours lets a network read the class off the source; notebook
#   `06_source_shortcut` of the study looks for that.
# - One seed, one split, few steps. On the made folder the scores are about the machinery, not about patients.
#
# The answer below would be wrong if a file that `mtl data check` passes stopped the training, or if the scores of
# the single sources were at chance while the pooled one stood.

# %% [markdown]
# ## Results
# The figures go to `metrics.json`, with the parameters' file beside it.

# %%
record_provenance(parameters, study.data_fingerprint)
sources = [name for name in classified["joint"] if name != "pooled"]
pooled = classified["joint"]["pooled"]
section = {
    "folder": shown_folder,
    "data_sets": len(report.parts),
    "slices": len(study.dataset.table),
    "errors": int((first_look.findings_table()["severity"] == "error").sum()),
    "warnings": int((report.findings_table()["severity"] == "warning").sum()),
    "forecast": cost,
    "classification": classified,
    "segmentation": segmented,
    "alarms": len(rung),
    "headline": [
        {"label": f"ROC-AUC, {name}", "value": classified["joint"][name]["roc_auc"]} for name in sources
    ]
    + [{"label": "Dice", "value": segmented["joint"]["pooled"]["dice_nonempty"]}],
}
write_metrics(parameters.run_directory, "own_data", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(
    claim(
        "The folder holds {own_data.slices} readable slices in {own_data.data_sets} data set(s); the check found "
        "{own_data.errors} error(s) that would have stopped training and {own_data.warnings} warning(s). After a short "
        "training the joint network tells tumour from none with a pooled ROC-AUC of "
        "{own_data.classification.joint.pooled.roc_auc:full} (grey values alone: "
        "{own_data.classification.histogram.pooled.roc_auc}) and outlines with a Dice of "
        "{own_data.segmentation.joint.pooled.dice_nonempty}.",
        parameters.run_directory / "metrics.json",
    )
)
bars = [
    {"label": stage.replace("_", "-"), "estimate": classified[stage][source]["roc_auc"], "group": source}
    for source in [*sources, "pooled"]
    for stage in ("joint", "histogram", "source_only")
]
show_figure(
    forest_plot(bars, xlabel="ROC-AUC on the test part", reference=0.5, reference_label="chance"),
    alt="ROC-AUC with intervals of the joint network and two baselines, per source and pooled.",
    source="metrics.json#/own_data",
)
