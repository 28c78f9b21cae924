# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Brain MRI: does sharing help?
#
# **Question.** Three stages, one frozen test set: does the joint network classify better than the head on
# frozen features, without paying for it in segmentation, and do the figures hold within each source?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/brain_mri/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/brain_mri/
data_root: str = ""  # folder with the real data sets; empty: phantoms
n_bootstrap: int = 1000  # resamples of every interval
reference_folds: int = 0  # folds in which the reference network was trained
dice_margin: float = 0.02  # how much Dice the joint stage may cost; fixed beforehand
auc_margin: float = 0.05  # the same for ROC-AUC
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("brain_mri", globals())

# %% [markdown]
# The tools of this notebook: tables, comparisons and figures, all computed from the saved predictions.

# %%
import pandas as pd
from mtl.evaluation.brain_mri import (
    average_over_folds,
    by_stage_and_source,
    classification_table,
    readable_rows,
    segmentation_table,
    table_alarms,
)
from mtl.evaluation.calibration import reliability_table
from mtl.reporting.claims import claim, reference, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_brain_mri import answer_failures, outline_failures
from mtl.reporting.figures_results import forest_plot, reliability_plot
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.brain_mri.comparisons import compare_arms, difference
from mtl.studies.brain_mri.failures import confident_errors, lowest_dice
from mtl.studies.brain_mri.predictions import read_predictions
from mtl.studies.brain_mri.published import published_rows
from mtl.studies.brain_mri.study import BrainMriStudy

# %% [markdown]
# ## One test set for all
# The predictions of every stage carry the hash of the test set they were made on; a comparison across
# different hashes is refused. The unit is the group (patient or near-duplicate group): slices of one group are
# resampled together. A slice that several folds test is averaged first, so that it counts once.

# %%
use_report_style()
study = BrainMriStudy(parameters)
stages = ["warm_up", "head", "joint"]
arms = [*stages, "reference"] if parameters.reference_folds else stages
predictions = read_predictions(study, [*arms, "baselines"])
trained = predictions[predictions["stage"] != "reference"]
settings = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed}
units = average_over_folds(predictions[predictions["stage"] == "joint"]).groupby("source")
counts = units.agg(
    slices=("id", "size"), groups=("group", "nunique"), tumour=("cls", "sum"), masks=("has_mask", "sum")
)
show_table(counts, source="predictions/joint.parquet", caption="The frozen test set")

# %% [markdown]
# ## Classification
# Thresholds were chosen on validation, fold by fold (the baselines keep one half). `warm_up` has no trained head: its score is the mean of
# the most confident mask pixels. The pooled row mixes sources and is flattered by whatever tells them apart;
# `within source` counts pairs of one source only. Scores of several folds are averaged for a slice that all of
# them test, which makes a small ensemble of it; `mean of folds` is the ROC-AUC of single networks.

# %%
classification = classification_table(trained, **settings)
classified = by_stage_and_source(classification)
wanted = {
    "roc_auc": "ROC-AUC",
    "roc_auc_within_source": "within source",
    "balanced_accuracy": "balanced accuracy",
    "recall": "recall",
    "specificity": "specificity",
}
if len(study.folds) > 1:
    wanted["roc_auc_mean_of_folds"] = "mean of folds"
show_table(
    pd.DataFrame(readable_rows(classified, wanted)),
    source="predictions/*.parquet",
    caption="Classification per stage and source",
    index=False,
)

# %% [markdown]
# The rest of the usual figures, pooled. Accuracy is there for comparison with published figures only.

# %%
more = {
    "accuracy": "accuracy",
    "precision": "precision",
    "f1": "F1",
    "mcc": "MCC",
    "pr_auc": "PR-AUC",
    "brier": "Brier",
    "ece": "ECE",
}
rows = [
    {"stage": stage, **{label: sources["pooled"].get(name) for name, label in more.items()}}
    for stage, sources in classified.items()
]
show_table(
    pd.DataFrame(rows),
    source="predictions/*.parquet",
    caption="More classification figures, pooled",
    index=False,
)

# %% [markdown]
# ## Segmentation
# Means over slices whose true mask is not empty; empty slices are counted apart.

# %%
segmentation = segmentation_table(trained, **settings)
segmented = by_stage_and_source(segmentation)
masks = {
    "dice_nonempty": "Dice",
    "iou_nonempty": "IoU",
    "hd95": "HD95 (px)",
    "empty_falsely_marked": "empty falsely marked",
}
show_table(
    pd.DataFrame(readable_rows(segmented, masks)),
    source="predictions/*.parquet",
    caption="Segmentation per stage and source",
    index=False,
)

# %% [markdown]
# ## The stages compared
# Differences are paired by slice and clustered by group; p values are corrected over the whole table (Holm). The
# list of comparisons is fixed in the code and the margins in the parameters, not chosen by a run's scores. The last
# column reads the plain interval, not the corrected p value, and is about *these trained networks* only: one seed
# was trained, and what training again would change is not in the intervals. Whether sharing helps as such gets
# **no verdict** from fewer than five seeds. The detectable difference says what this test set could have shown at
# all. The reference is compared on the folds that it was trained in.

# %%
compared = compare_arms(predictions, parameters)
names = {"roc_auc": "ROC-AUC", "roc_auc_within_source": "ROC-AUC within source", "dice_nonempty": "Dice"}
rows = [
    {
        "metric": names[row.metric],
        "source": row.source,
        "comparison": f"{row.second} against {row.first}".replace("_", "-"),
        "difference": {"value": row.value, "low": row.low, "high": row.high},
        "detectable": row.minimal_detectable,
        "p (Holm)": row.p_holm,
        "margin": row.margin,
        "these networks": row.verdict,
    }
    for row in compared.itertuples()
]
show_table(
    pd.DataFrame(rows),
    source="predictions/*.parquet",
    caption="Paired differences on the same test set",
    index=False,
)

# %% [markdown]
# ## Alarms
# Patterns that make a good-looking figure worthless: recall of one with no specificity, a constant
# prediction, precision equal to accuracy, an AUC below chance, too few units. Baselines are expected to ring.

# %%
rung = table_alarms(classification, trained)
own = rung[rung["stage"].isin(stages)]
display(
    show_table(
        own,
        source="predictions/*.parquet",
        caption="Alarms of the trained stages",
        index=False,
        if_empty="No alarm for any trained stage.",
    )
)

# %% [markdown]
# ## Calibration
# Does a probability mean what it says? Bins of equal size; their intervals take slices as independent, which is
# kind to them.

# %%
joint = average_over_folds(predictions[predictions["stage"].isin(["head", "joint"])])
reliability = {
    stage: reliability_table(rows["cls"], rows["tumor_prob"]) for stage, rows in joint.groupby("stage")
}
show_figure(
    reliability_plot(reliability),
    alt="Observed tumour frequency against predicted probability for the head and the joint stage.",
    source="predictions/joint.parquet",
)

# %% [markdown]
# ## Failure gallery
# The joint network's worst slices: lowest Dice first (true mask solid, prediction dashed) ...

# %%
drawn = lowest_dice(study, "joint", predictions)
figure = outline_failures(study.samples(list(drawn["id"])), drawn)
show_figure(
    figure,
    alt="Slices with the lowest Dice of the joint stage, masks outlined.",
    source="predictions/joint.parquet",
)

# %% [markdown]
# ... then the most confident wrong answers: missed tumours first, then false alarms.

# %% tags=["optional-figure"]
wrong = confident_errors(predictions, "joint")
if len(wrong):
    figure = answer_failures(study.samples(list(wrong["id"])), wrong)
    show_figure(
        figure, alt="Most confident wrong answers of the joint stage.", source="predictions/joint.parquet"
    )
else:
    print("no slice is on the wrong side of the threshold")

# %% [markdown]
# ## Literature
# The parts are old acquaintances: the U-Net (Ronneberger, Fischer and Brox, MICCAI 2015), soft Dice (Milletari,
# Navab and Ahmadi, 3DV 2016), hard parameter sharing (Caruana, Machine Learning 1997). Published scores for this
# very design were weakly evaluated as far as one can tell: other splits, small test sets, no intervals. They are
# what a reader will compare with, not what was measured here.

# %%
for key in (
    "lgg_dice_buda",
    "shared_network_accuracy",
    "shared_network_auc",
    "shared_network_recall",
    "shared_network_dice",
    "warm_up_dice",
):
    display(reference(key))

# %% [markdown]
# ## Limitations
# - One seed, one split: intervals cover the choice of test patients, not of training runs.
# - Single slices; neighbours, other sequences and clinical context are ignored.
# - A phantom run says that the machinery works, nothing about patients.
# - In the Kaggle set there are no patient ids: slices of one patient may stand on both sides.
# - Labels carry noise: exact copies of one picture have hand-drawn masks that differ.
#
# The answer below would be wrong if the within-source figures fell to chance while the pooled ones stood.

# %% [markdown]
# ## Results
# The figures of all stages go to `metrics.json`; the published rows are what the README's table is made of.

# %%
differences = {
    "dice": difference(compared, "dice_nonempty", "warm_up", "joint"),
    "auc": difference(compared, "roc_auc", "head", "joint"),
}
of_joint = own[own["stage"] == "joint"]
section = {
    "classification": classified,
    "segmentation": segmented,
    "joint_minus": differences,
    "comparisons": compared.to_dict("records"),
    "alarms": len(own),
    "alarms_joint": ", ".join(
        f"{row.code.replace('_', ' ')} on {row.source}" for row in of_joint.itertuples()
    )
    or "none",
    "headline": [
        {"label": "ROC-AUC, joint, mixed", "value": classified["joint"]["pooled"]["roc_auc"]},
        {"label": "ROC-AUC within source", "value": classified["joint"]["pooled"]["roc_auc_within_source"]},
        {"label": "Dice, joint", "value": segmented["joint"]["pooled"]["dice_nonempty"]},
    ],
}
write_metrics(study.run.path, "evaluation", section)
write_metrics(study.run.path, "published", published_rows(parameters, classified, segmented))

# %% [markdown]
# The picture of the answer: each stage beside what can be had without a network.

# %%
bars = [
    {"label": stage.replace("_", "-"), "estimate": classified[stage][source]["roc_auc"], "group": source}
    for source in classified["joint"]
    for stage in [*stages, "histogram", "source_only"]
]

# %% [markdown]
# ## Executive summary
# In short, as it stands at the top of the report:

# %% tags=["headline"]
display(
    claim(
        "The joint network classifies with a ROC-AUC of {evaluation.classification.joint.pooled.roc_auc:full} on mixed "
        "sources and {evaluation.classification.joint.pooled.roc_auc_within_source} within sources; the source alone "
        "reaches {evaluation.classification.source_only.pooled.roc_auc}. Against the head on frozen features the "
        "ROC-AUC changes by {evaluation.joint_minus.auc} (*{evaluation.joint_minus.auc.verdict:text}*), against the "
        "warm-up Dice changes by {evaluation.joint_minus.dice} (*{evaluation.joint_minus.dice.verdict:text}*). These "
        "readings are about the networks trained here; on sharing as such, *"
        "{evaluation.joint_minus.dice.over_seeds.verdict:text}* from {evaluation.joint_minus.dice.over_seeds.seeds} "
        "seed. Alarms of the joint network: {evaluation.alarms_joint:text}.",
        study.run.metrics,
    )
)
show_figure(
    forest_plot(bars, xlabel="ROC-AUC on the frozen test set", reference=0.5, reference_label="chance"),
    alt="ROC-AUC with intervals of the three stages and two baselines, per source and pooled.",
    source="metrics.json#/evaluation",
)
