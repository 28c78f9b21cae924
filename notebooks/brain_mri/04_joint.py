# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Brain MRI: both tasks at once
#
# **Question.** When everything trains together on all sources, do the two tasks pull the shared encoder in
# the same direction, and which of them moves it?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/brain_mri/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/brain_mri/
data_root: str = ""  # folder with the real data sets; empty: phantoms
joint_epochs: int = 10  # epochs of this stage
joint_encoder_lr: float = 1e-4  # AdamW, encoder
joint_heads_lr: float = 3e-4  # AdamW, decoder and classification head
masked_ratio: float = 0.3  # share of sources with masks in what is drawn
lambda_cls: float = 1.0  # weight of the classification loss
balancer: str = "fixed"  # how the tasks are combined: fixed, uncertainty, dwa, pcgrad, ...
probe_every: int = 20  # steps between gradient diagnostics
probe_batches: int = 6  # batches of the gradient diagnostics
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("brain_mri", globals())

# %% [markdown]
# ## Method
# The objective gives one unweighted loss per task; a task without a valid label in a batch is absent from it
# and enters no average, no state and no gradient. The balancer turns the losses into one update. With
# `fixed` that is
#
# $$ L = L_\mathrm{seg} + \lambda_\mathrm{cls} L_\mathrm{cls}. $$
#
# Encoder and heads have learning rates of their own. Where there are sources with masks and sources without,
# the two kinds are drawn in the proportion `masked_ratio`, whatever their sizes; the table counts what the
# sampler draws in the first epoch.

# %%
import pandas as pd
from mtl.evaluation.brain_mri import by_stage_and_source, classification_table, segmentation_table
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_results import cosine_heatmap, lines_over_steps, training_curves
from mtl.reporting.gradient_tables import readable_conflicts
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.brain_mri.predictions import write_test_predictions
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.training.gradient_summary import summarise

use_report_style()
study = BrainMriStudy(parameters)
drawn = study.drawn_in_epoch("joint", fold=0, epoch=1)
mixture = drawn.groupby("source").agg(drawn=("id", "size"), masks=("has_mask", "sum"), tumour=("cls", "sum"))
mixture["share drawn"] = (mixture["drawn"] / len(drawn)).round(3)
show_table(mixture, source="slices.parquet", caption="What the first epoch draws (first fold)")

# %% [markdown]
# ## Training
# The best epoch is the one with the highest mean of Dice and balanced accuracy on validation.

# %%
results = study.train("joint")
history = pd.concat([result.history.assign(fold=fold) for fold, result in enumerate(results)])
curves = history.pivot_table(index=["fold", "epoch"], columns="key", values="value").reset_index()
names = {
    "train/loss/segmentation": "segmentation",
    "train/loss/classification": "classification",
    "val/dice": "Dice",
    "val/balanced_accuracy": "balanced accuracy",
    "val/roc_auc": "ROC-AUC",
}
panels = {"Training loss": list(names.values())[:2], "Validation": list(names.values())[2:]}
show_figure(
    training_curves(curves.rename(columns=names), panels),
    alt="Training losses of both tasks, and validation Dice, balanced accuracy and ROC-AUC over the epochs.",
    source="checkpoints/*/joint/history.parquet",
)

# %% [markdown]
# ## Do the tasks disagree?
# On a few fixed batches, in full precision and with normalisation frozen, $g_k$ is the gradient of
# $\alpha_k L_k$ over the encoder. The cosine of two tasks says whether they agree. Sampling noise pulls every
# cosine towards zero: the cosine of *one* task between two batches shows how far (the noise floor). Two tasks
# conflict only where the upper end of the interval over batches is below zero.

# %%
probed = pd.concat([result.gradients.assign(fold=fold) for fold, result in enumerate(results)])
summaries = {fold: summarise(rows.drop(columns="fold")) for fold, rows in probed.groupby("fold")}
first = summaries[0]
show_figure(
    cosine_heatmap(first.matrix("cosine"), first.matrix("upper95"), "At the end of training"),
    alt="Heat map of the cosine between the gradients of segmentation and classification over the encoder.",
    source="checkpoints/fold_0/joint/gradients.parquet",
)

# %% [markdown]
# Beside the cosine as measured stand the noise floors of both tasks, the cosine that would be left without
# sampling noise, and whether the two gradients are of similar length.

# %%
pairs = pd.concat([s.pairs.assign(fold=fold + 1) for fold, s in summaries.items()])
tasks = pd.concat([s.tasks.assign(fold=fold + 1) for fold, s in summaries.items()])
last = pairs[(pairs["block"] == "all") & (pairs["step"] == pairs.groupby("fold")["step"].transform("max"))]
show_table(
    readable_conflicts(last, ["fold", "step"]),
    source="checkpoints/*/joint/gradients.parquet",
    caption="Segmentation against classification, whole encoder, last probe",
    index=False,
)

# %% [markdown]
# *Where* do they disagree? The same cosine for each level of the encoder, over the steps of the first fold.

# %%
levels = first.pairs[first.pairs["block"] != "all"]
show_figure(
    lines_over_steps(
        levels, "cosine", "block", ylabel="Cosine", low="lower95", high="upper95", reference=0.0
    ),
    alt="Cosine between the tasks' gradients over training steps, one line per level of the encoder.",
    source="checkpoints/fold_0/joint/gradients.parquet",
)

# %% [markdown]
# ## Which task moves the encoder?
# The update share $u_k = \langle g_k, \sum_j g_j \rangle / \lVert \sum_j g_j \rVert^2$ sums to one over the tasks;
# a negative share means that the task is pushed backwards. It is the one figure that says what a weight does.

# %%
shares = first.tasks[first.tasks["block"] == "all"]
show_figure(
    lines_over_steps(
        shares, "update_share", "task", ylabel="Update share", low="lower95", high="upper95", reference=0.0
    ),
    alt="Update share of segmentation and classification over training steps.",
    source="checkpoints/fold_0/joint/gradients.parquet",
)

# %% [markdown]
# ## Result on the test part
# The stages are compared in the next notebook; here are this stage's figures, per source.

# %%
predictions = write_test_predictions(study, "joint")
settings = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed}
classified = by_stage_and_source(classification_table(predictions, **settings))["joint"]
segmented = by_stage_and_source(segmentation_table(predictions, **settings))["joint"]
wanted = {
    "roc_auc": "ROC-AUC",
    "balanced_accuracy": "balanced accuracy",
    "recall": "recall",
    "specificity": "specificity",
}
rows = [
    {
        "source": source,
        **{label: metrics[name] for name, label in wanted.items()},
        "Dice": segmented.get(source, {}).get("dice_nonempty"),
    }
    for source, metrics in classified.items()
]
show_table(
    pd.DataFrame(rows),
    source="predictions/joint.parquet",
    caption="Joint stage on the test part",
    index=False,
)

# %% [markdown]
# ## What it means
# A cosine near zero whose interval spans zero is no conflict but two tasks that mind their own business; a
# balancer built against conflict then has nothing to repair. The reading would change if the corrected
# cosine were clearly negative in some level, or if one task's update share fell below zero.

# %% [markdown]
# ## Results
# The figures of this notebook go to `metrics.json`; the answer reads them from there.

# %%
end = tasks[(tasks["block"] == "all") & (tasks["step"] == tasks.groupby("fold")["step"].transform("max"))]
share = end.groupby("task")["update_share"].mean()
section = {
    "test": {"classification": classified, "segmentation": segmented},
    "gradients": {
        "folds_with_verdict": int((last["verdict"] != "no verdict").sum()),
        "folds_in_conflict": int((last["verdict"] == "conflict").sum()),
        "cosine": float(last["cosine"].mean()),
        "noise_floor": end.groupby("task")["noise_floor"].mean().to_dict(),
        "update_share": share.to_dict(),
    },
    "balancer": parameters.balancer,
    "headline": [
        {"label": "Cosine of the tasks' gradients", "value": float(last["cosine"].mean())},
        {"label": "Update share of segmentation", "value": float(share["segmentation"])},
        {"label": "ROC-AUC, mixed sources", "value": classified["pooled"]["roc_auc"]},
    ],
}
write_metrics(study.run.path, "joint", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(
    claim(
        "At the end of joint training the two tasks' gradients have a mean cosine of {joint.gradients.cosine:.2f} over "
        "the encoder (noise floors: segmentation {joint.gradients.noise_floor.segmentation:.2f}, classification "
        "{joint.gradients.noise_floor.classification:.2f}); {joint.gradients.folds_in_conflict} of "
        "{joint.gradients.folds_with_verdict} fold(s) with a verdict show a conflict beyond sampling noise. Segmentation "
        "accounts for {joint.gradients.update_share.segmentation:.0%} of the summed gradient. On the test part: ROC-AUC "
        "{joint.test.classification.pooled.roc_auc}, Dice {joint.test.segmentation.pooled.dice_nonempty}.",
        study.run.metrics,
    )
)
whole = first.pairs[first.pairs["block"] == "all"].assign(line="segmentation, classification")
floors = first.tasks[first.tasks["block"] == "all"].rename(columns={"noise_floor": "cosine"})
floors = floors.assign(line="noise floor, " + floors["task"])
show_figure(
    lines_over_steps(
        pd.concat([whole, floors]), "cosine", "line", ylabel="Cosine of gradients", reference=0.0
    ),
    alt="Cosine between the tasks' gradients over training in the first fold, with each task's noise floor.",
    source="checkpoints/fold_0/joint/gradients.parquet",
    caption="First fold.",
)
