# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Own task: a third task in about twenty lines
#
# **Question.** A task of one's own joins segmentation and classification in one network. It has labels for a part
# of the slices only. Is it learnt, and what does it do to the two tasks that were there before?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/methods/*.yaml` holds whole sets of them. `balancer` may be any that the
# package has; with `own_task_seeds` of five or more there is a verdict on the task, not only on two networks.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/methods/
own_task_patients: int = 240  # made patients, over both scanners
own_task_seeds: int = 1  # pairs of networks to train; from five on there is a verdict
image_size: int = 48  # pixels along a side
base_filters: int = 8  # channels of the first level
depth: int = 3  # poolings of the U-Net
batch_size: int = 16  # samples per batch
epochs: int = 8  # passes over the training data, per network
learning_rate: float = 3e-3  # AdamW, every part of the network
balancer: str = "fixed"  # how the tasks are combined: fixed, uncertainty, dwa, pcgrad, ...
n_bootstrap: int = 1000  # resamples of every interval
dice_margin: float = 0.02  # how much Dice the third task may cost; fixed beforehand
auc_margin: float = 0.05  # the same for ROC-AUC
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that is not known here is refused, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("methods", globals())

# %% [markdown]
# The tools of this notebook: everything but the task itself comes from the package. First networks and statistics ...

# %%
import math

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from mtl.evaluation.brain_mri.arms import arm_values, compare_with_baseline
from mtl.evaluation.comparison import paired_difference, verdict
from mtl.evaluation.statistics import Estimate, bootstrap
from mtl.evaluation.weighted import weighted_mean
from mtl.model_folder import load_model
from mtl.models.brain_mri import MultiTaskModel
from mtl.studies.brain_mri.own_task import OwnTask
from mtl.studies.brain_mri.own_task_study import OwnTaskStudy
from mtl.studies.brain_mri.predictions import write_test_predictions
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.studies.provenance import record_provenance
from mtl.training.balancers import BALANCERS, make_balancer
from mtl.training.gradient_summary import summarise

# %% [markdown]
# ... then tables and figures.

# %%
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_brain_mri import slice_grid
from mtl.reporting.figures_results import agreement_plot, cosine_heatmap, forest_plot, training_curves
from mtl.reporting.gradient_tables import readable_conflicts
from mtl.reporting.metrics_file import write_metrics
from mtl.reporting.sweep_results import METRIC_NAMES, readable_differences

use_report_style()

# %% [markdown]
# ## The task
# How large is the tumour? The target is $y = \log(100\,A / HW)$, the logarithm of the tumour's share $A/HW$ of the
# picture in percent. It follows from the mask, so a slice without a mask, or without a tumour, has **no** label:
# the function says `None`, never 0. The head adds up a soft tumour map over the places $p$ of the bottleneck $x$,
#
# $$ \hat y = \log \Bigl( \frac{100}{hw} \sum_p \sigma(w^\top x_p + b) \Bigr). $$
#
# Head, target, loss and metric are all that has to be written. A head may look at every level of the encoder, not
# only at the last; a target may be a map, too, whose error is then averaged over the map: one figure per case. These
# are all of its lines.


# %% tags=["own-code"]
class SizeHead(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.tumour = nn.Conv2d(encoder.channels[-1], 1, kernel_size=1)

    def forward(self, features):  # of every level, the bottleneck last
        return (100 * self.tumour(features[-1]).sigmoid().mean(dim=(1, 2, 3))).log()


class ThreeTaskModel(MultiTaskModel):
    added_heads = {"size": SizeHead}


def log_size(sample):
    if sample["mask"] is None or not sample["mask"].any():
        return None  # no mask, or no tumour in it: no label
    return math.log(100 * sample["mask"].mean())


def absolute_error(predicted, target):
    return (predicted - target).abs()


size = OwnTask("size", ThreeTaskModel, log_size, F.smooth_l1_loss, absolute_error)

# %% [markdown]
# ## Two studies that differ in the task alone
# `OwnTaskStudy.beside` takes a study and adds the task: same data in memory, same frozen split, same batches in the
# same order, same initial weights of what both networks have. Everything trains together from random weights
# (the stages before are left out, to keep this short). Data and split are those of one seed; further seeds change
# initial weights and order alone. The plain memory layout is for safety: in `channels_last` strided convolutions of one
# pixel, as a head of one's own may have, crash the CPU kernels of `torch 2.13`.

# %%
rate, first = parameters.learning_rate, parameters.seed
changes = {
    "phantom_patients": parameters.own_task_patients, "data_seed": first, "split_seed": first,
    "test_fraction": 0.4, "masked_ratio": 0.5, "skip_stages": "warm_up,head", "probe_every": 0,
    "joint_epochs": parameters.epochs, "joint_encoder_lr": rate, "joint_heads_lr": rate,
    "channels_last": False,
}  # fmt: skip
margins = {"dice_nonempty": parameters.dice_margin, "roc_auc": parameters.auc_margin}
margins["roc_auc_within_source"] = parameters.auc_margin
pairs = {}
for number in range(first, first + parameters.own_task_seeds):
    two_run, three_run = (parameters.inner_run(f"{n}_tasks_seed_{number}") for n in ("two", "three"))
    two = BrainMriStudy(parameters.for_brain_mri(run=two_run, **changes | {"seed": number}))
    if pairs:
        two.dataset = pairs[first][0].dataset
    pairs[number] = (two, OwnTaskStudy.beside(two, size, three_run))
two, three = pairs[first]
place = f"runs/brain_mri/{three.parameters.run}"

# %% [markdown]
# Some slices with what the task knows about them; the outline is the tumour's mask.

# %%
table = three.rows(0, "train")
kinds = [("tumour and mask", table["has_mask"] & (table["cls"] == 1), 4)]
kinds += [("no tumour", table["has_mask"] & (table["cls"] == 0), 2), ("no mask", ~table["has_mask"], 2)]
shown = [(name, one) for name, rows, n in kinds for one in three.samples(list(table["id"][rows][:n]))]
labels = [log_size(one) for _, one in shown]
titles = [
    f"{name}: no label" if y is None else f"{name}: {y:.2f}"
    for (name, _), y in zip(shown, labels, strict=True)
]
show_figure(
    slice_grid([one for _, one in shown], titles),
    alt="Slices with tumour and mask carry a label of the third task; slices without tumour or mask carry none.",
    source=f"{place}/slices.parquet",
    caption="Label of the third task: logarithm of the tumour's share of the picture in percent.",
)

# %% [markdown]
# Absent labels are counted where a batch is put together, on the CPU, in `valid_units`. A batch without a label
# has no loss for the task: it enters no average, no state of the balancer and no gradient.

# %%
drawn = pd.DataFrame([batch["valid_units"] for batch in three.loader("joint", 0).batches(1)])
counts = pd.DataFrame(
    {
        "labels in the first epoch": drawn.sum(),
        "fewest in a batch": drawn.min(),
        "most in a batch": drawn.max(),
        "batches without": (drawn == 0).sum(),
    }
).rename_axis("task")
show_table(counts, source=f"{place}/slices.parquet", caption=f"Labels in {len(drawn)} batches")

# %% [markdown]
# ## Training
# The best epoch is picked by the old two tasks (mean of Dice and balanced accuracy on validation), in both networks:
# the new task has no say in what it is compared by.

# %%
trained = {number: [study.train("joint")[0] for study in pair] for number, pair in pairs.items()}
history = trained[first][1].history.pivot_table(index="epoch", columns="key", values="value").reset_index()
names = {
    "train/loss/segmentation": "segmentation",
    "train/loss/classification": "classification",
    "train/loss/size": "size",
    "val/dice": "Dice",
    "val/balanced_accuracy": "balanced accuracy",
    "val/size_error": "mean error of size",
}
listed = list(names.values())
history = history.reindex(columns=["epoch", *names]).rename(columns=names)
panels = {
    "Training loss": listed[:3],
    "Validation, old tasks": listed[3:5],
    "Validation, new task": listed[5:],
}
show_figure(
    training_curves(history, panels),
    alt="Training losses of three tasks, validation scores of the old two, validation error of the third.",
    source=f"{place}/checkpoints/fold_0/joint/history.parquet",
)

# %% [markdown]
# What it cost: a head of a few weights, on an encoder that runs anyway. The checkpoint is a folder like any other
# and is loaded with the network's class; a class in a notebook is there while the notebook is, one in a module always.
# `MultiTaskPredictor(folder, model_class=ThreeTaskModel)` predicts the old tasks with it.

# %%
folder = three.run.stage(0, "joint") / "best"
loaded = load_model(ThreeTaskModel, folder)
image = three.samples(three.split.folds[0].test[:1])[0]["image"][None]
with torch.inference_mode():
    same = torch.allclose(loaded(image)["size"], three.model("joint", 0)(image)["size"], atol=1e-5)
print(f"loaded from its folder, the network says {'the same' if same else 'something else'}")
rows = []
for name, study, result in zip(("two tasks", "three tasks"), pairs[first], trained[first], strict=True):
    weights = dict.fromkeys((part.replace("_", " ") for part in loaded.parts), 0)
    for part, module in study.model("joint", 0).parts.items():
        weights[part.replace("_", " ")] = sum(p.numel() for p in module.parameters())
    rows.append({"network": name, **weights, "steps": result.steps, "best epoch": result.best_epoch})
show_table(
    pd.DataFrame(rows),
    source="runs/brain_mri/*/checkpoints/fold_0/joint",
    caption="Weights of each part, and steps of training",
    index=False,
)

# %% [markdown]
# ## Do the three tasks disagree?
# The probe needs nothing from the task but its loss. On a few fixed batches, in full precision, $g_k$ is the gradient
# of $\alpha_k L_k$ over the encoder. The cosine of one task between two batches is the noise floor: sampling alone
# pulls every cosine that far towards zero. Two tasks conflict only where the upper end of the interval is below zero;
# such pairs would be framed.

# %%
summary = summarise(trained[first][1].gradients)
show_figure(
    cosine_heatmap(summary.matrix("cosine"), summary.matrix("upper95"), "At the end of training"),
    alt="Heat map of the cosines between the gradients of the three tasks over the encoder.",
    source=f"{place}/checkpoints/fold_0/joint/gradients.parquet",
)

# %% [markdown]
# The same with intervals over batches, and the cosine that would be left without sampling noise. The conflict rate is
# the share of batches on which the cosine is negative.

# %%
last = summary.pairs[
    (summary.pairs["block"] == "all") & (summary.pairs["step"] == summary.pairs["step"].max())
]
last = last.assign(tasks=last["task_a"] + ", " + last["task_b"])
show_table(
    readable_conflicts(last, ["tasks"]),
    source=f"{place}/checkpoints/fold_0/joint/gradients.parquet",
    caption="Pairs of tasks, whole encoder, end of training",
    index=False,
)

# %% [markdown]
# Which task moves the encoder? The update share $u_k = \langle g_k, \sum_j g_j \rangle / \lVert \sum_j g_j \rVert^2$
# sums to one over the tasks of a batch; below zero a task is pushed backwards. A task absent from a batch has no
# share in it. A new task that starts far off its target pulls hardest at first: its share at step 0 would say so.

# %%
whole = summary.tasks[summary.tasks["block"] == "all"]
shares = [
    {
        "task": row.task,
        "step": row.step,
        "noise floor": row.noise_floor,
        "update share": {"value": row.update_share, "low": row.lower95, "high": row.upper95},
    }
    for row in whole.sort_values(["task", "step"]).itertuples()
]
show_table(
    pd.DataFrame(shares),
    source=f"{place}/checkpoints/fold_0/joint/gradients.parquet",
    caption="Each task, whole encoder, before the first and after the last step",
    index=False,
)

# %% [markdown]
# ## Every balancer takes it
# `-p balancer pcgrad` trains this notebook with another one; tasks are names to all of them. Those that weigh losses
# need one backward pass, those that combine gradients one per task.

# %%
tasks = three.settings("joint", 0).tasks
passes = [
    {"balancer": name, "passes": make_balancer(name, tasks).backward_passes(len(tasks))} for name in BALANCERS
]
passes = pd.DataFrame(passes).groupby("passes")["balancer"].agg(", ".join).reset_index()
show_table(
    passes.rename(columns={"passes": "backward passes"}),
    source="mtl/training/balancers.py",
    caption="Backward passes through the encoder per step with three tasks",
    index=False,
)

# %% [markdown]
# ## Is the task learnt?
# The metric is the mean absolute error on the test cases that have a label; an error $e$ of the logarithm is a factor
# $\exp(e)$ in size. It has to beat a figure that needs no image: the mean of the training part, for everybody. A
# harder opponent needs no third task: count the pixels of the mask that the *two-task* network draws (one pixel where
# it draws none). Intervals are over patients.

# %%
predictions = pd.concat(
    write_test_predictions(study, "joint").assign(arm=arm, seed=number)
    for number, pair in pairs.items()
    for arm, study in zip(("two_tasks", "three_tasks"), pair, strict=True)
)
masks = predictions.loc[predictions["arm"] == "two_tasks", ["id", "seed", "predicted_pixels"]]
cases = pd.concat(new.test_cases().assign(seed=number) for number, (_, new) in pairs.items())
cases = cases.merge(masks, on=["id", "seed"])
counted = np.log(100 * cases["predicted_pixels"].clip(lower=1) / parameters.image_size**2)
cases["error_of_mask"] = (counted - cases["target"]).abs()
errors = cases.groupby(["id", "group"], as_index=False)[["error", "error_of_mean", "error_of_mask"]].mean()
settings = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed, "unit": "group"}
measured, saved = {}, {}
for name in ("error", "error_of_mean", "error_of_mask"):
    values = errors[name].to_numpy()
    measured[name] = bootstrap(values, weighted_mean, errors["group"], weighted=True, **settings)
    if name != "error":
        own = errors["error"].to_numpy()
        saved[name] = paired_difference(-values, -own, errors["group"], **settings).estimate

# %% [markdown]
# An error saved that lies above zero, interval and all, speaks for the head.

# %%
said = {
    "error": "third task's head",
    "error_of_mean": "mean of the training part",
    "error_of_mask": "mask of the two-task network, counted",
}
rows = [
    {"what": said[name], "mean error": one, "saved by the head": saved.get(name)}
    for name, one in measured.items()
]
show_table(
    pd.DataFrame(rows),
    source=f"{place}/predictions/size.parquet",
    caption="Absolute error of the logarithm of the tumour's size, test cases with a label",
    index=False,
)

# %% [markdown]
# Case by case, for the first seed: dots along the level line would mean that the head has learnt the mean.

# %%
dots = cases[cases["seed"] == first]
show_figure(
    agreement_plot(dots["target"], dots["predicted"], "log size (percent)", float(three.training_mean(0))),
    alt="Predicted against true logarithm of tumour size on the test cases, with the training mean as a level line.",
    source=f"{place}/predictions/size.parquet",
)

# %% [markdown]
# ## Does it help the other two, or hurt them?
# Three tasks minus two tasks, paired by seed and by test case; both networks made the same number of steps on the
# same slices. `these networks` reads the interval over patients against a margin fixed beforehand (*positive*: better;
# *non-inferior*: a loss as large as the margin is excluded; *inconclusive*: these cases cannot tell; *negative*:
# worse). It is about the networks of one seed, and training again might tell another story.

# %%
keys = ["metric", "source", "arm", "seed"]
values = arm_values(predictions, list(margins)).set_index(keys)["value"].sort_index()
compared = compare_with_baseline(
    predictions, "two_tasks", list(margins), margins, n_resamples=parameters.n_bootstrap, seed=parameters.seed
)
pooled = compared[compared["source"] == "pooled"]
networks = [
    {
        "metric": METRIC_NAMES[row.metric],
        "seed": number,
        "two tasks": values[row.metric, "pooled", "two_tasks", number],
        "three tasks": values[row.metric, "pooled", "three_tasks", number],
        "difference": one,
        "margin": row.margin,
        "these networks": verdict(Estimate.from_dict(one), row.margin),
    }
    for row in pooled.itertuples()
    for number, one in zip(pairs, row.per_seed, strict=True)
]
show_table(
    pd.DataFrame(networks),
    source="runs/brain_mri/*/predictions/joint.parquet",
    caption="Three tasks minus two tasks, by seed, all test cases",
    index=False,
)

# %% [markdown]
# On adding the task *as such*: this needs trainings that were repeated. With fewer than five seeds there is no
# interval here and **no verdict**, whatever the table above says.

# %%
pooled = pooled.astype(object).where(pooled.notna(), None)
old_tasks = {}
for row in pooled.itertuples():
    reading = verdict(Estimate.from_dict(row.per_seed[0]), row.margin)
    over_seeds = {"value": row.value, "low": row.low, "high": row.high, "n": row.n, "unit": row.unit}
    old_tasks[row.metric] = {"first_seed": row.per_seed[0], "these_networks": reading}
    old_tasks[row.metric] |= {"over_seeds": over_seeds, "verdict": row.verdict}
show_table(
    readable_differences(compared).drop(columns=["arm", "seeds only"]),
    source="runs/brain_mri/*/predictions/joint.parquet",
    caption=f"Three tasks minus two tasks over {len(pairs)} seed(s)",
    index=False,
)

# %% [markdown]
# ## Limitations
# - Made pictures and small, briefly trained networks: this shows how it is done, not what sizes of tumours teach.
# - The new task knows nothing that the masks do not say: a task with labels of its own may help more, or hurt more.
# - Its weight is one and was not tuned; a balancer may weigh otherwise.
# - One split; only slices of the source with masks are scored for the new task. The data here are always made;
#   `OwnTaskStudy` itself takes the parameters of any run of `brain_mri`.
#
# The answer would be wrong if the head did no better than the mean on another split, or if the differences changed
# sign from seed to seed.

# %% [markdown]
# ## Results
# The figures go to `metrics.json`; the answer reads them from there. Its picture shows what the head saves, and what it
# does to the old tasks, network by network.

# %%
record_provenance(parameters, three.data_fingerprint)
section = {
    "task": {"name": size.name, "errors": measured, "saved": saved, "cases": len(errors)},
    "labels": {"in_epoch": int(drawn["size"].sum()), "batches_without": int((drawn["size"] == 0).sum())},
    "old_tasks": old_tasks,
    "seeds": len(pairs),
    "balancer": parameters.balancer,
    "gradients": {"pairs": len(last), "in_conflict": int((last["verdict"] == "conflict").sum())},
    "headline": [
        {"label": "Error saved against the mean, log size", "value": saved["error_of_mean"]},
        {"label": "Dice, three minus two tasks", "value": old_tasks["dice_nonempty"]["first_seed"]},
        {"label": "ROC-AUC, three minus two tasks", "value": old_tasks["roc_auc"]["first_seed"]},
    ],
}
write_metrics(parameters.run_directory, "own_task", section)
bars = [
    {
        "label": "against the training mean",
        "estimate": saved["error_of_mean"],
        "group": "New task, error saved",
    }
]
for one in networks:
    group = f"{one['metric']}, three minus two"
    bars.append({"label": f"seed {one['seed']}", "estimate": one["difference"], "group": group})

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(
    claim(
        "The added task is predicted with a mean error of {own_task.task.errors.error:full} on the scale of the logarithm; the "
        "training mean misses by {own_task.task.errors.error_of_mean:value}: the head saves {own_task.task.saved.error_of_mean}, and "
        "{own_task.task.saved.error_of_mask} against counting the two-task network's mask. Beside two tasks, from the same start "
        "on the same slices, Dice changes by {own_task.old_tasks.dice_nonempty.first_seed} (*{own_task.old_tasks.dice_nonempty.these_networks:text}*), "
        "ROC-AUC by {own_task.old_tasks.roc_auc.first_seed} (*{own_task.old_tasks.roc_auc.these_networks:text}*), within sources by "
        "{own_task.old_tasks.roc_auc_within_source.first_seed} (*{own_task.old_tasks.roc_auc_within_source.these_networks:text}*): this is about "
        "the two networks of the first seed. On adding the task as such, from {own_task.seeds} seed(s): *{own_task.old_tasks.dice_nonempty.verdict:text}* "
        "on Dice, *{own_task.old_tasks.roc_auc.verdict:text}* on ROC-AUC. Pairs of tasks in conflict beyond sampling noise: "
        "{own_task.gradients.in_conflict} of {own_task.gradients.pairs}.",
        parameters.run_directory / "metrics.json",
    )
)
show_figure(
    forest_plot(bars, xlabel="Gain (right of the line: better)", reference=0, reference_label="no gain"),
    alt="Differences in Dice and ROC-AUC between three tasks and two, and the error that the added head saves.",
    source="metrics.json#/own_task",
)
