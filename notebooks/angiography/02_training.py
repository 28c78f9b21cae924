# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Angiography: one video encoder, several objectives, and whether they agree
#
# **Question.** Do contrast, captions and masked video pull the shared encoder in one direction, and which of them moves it?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/angiography/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/angiography/
data_root: str = ""  # folder of the data sets
videos: str = "phantom"  # phantom, or a table or folder below data_root
weight_contrastive: float = 1.0  # of the contrastive loss
weight_captioning: float = 4.0  # of captions and locations
weight_masked: float = 0.1  # of masked video modelling
weight_distillation: float = 0.0  # of self-distillation
contrastive: str = "softmax"  # sigmoid (SigLIP) or softmax (CLIP)
mask_ratio: float = 0.75  # share of the tubelets that are masked
batch_size: int = 64  # clips per batch
epochs: int = 10  # passes
balancer: str = "fixed"  # how the objectives are combined: fixed, schedule, uncertainty, pcgrad, ...
probe_every: int = 60  # steps between gradient diagnostics
probe_batches: int = 4  # batches of the gradient diagnostics
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("angiography", globals())

# %% [markdown]
# ## Method
# A tubelet transformer encodes a clip. *Contrast*: clip $v_i$ and report $u_i$ are picked out of all of a batch, by
#
# $$L_\mathrm{CLIP} = -\frac{1}{2B} \sum_i \bigl(\log \mathrm{softmax}_j(t\,v_i \cdot u_j)_i
# + \log \mathrm{softmax}_j(t\,v_j \cdot u_i)_i\bigr)$$
#
# or by
#
# $$L_\mathrm{SigLIP} = -\frac{1}{B} \sum_{ij} \log \sigma\bigl(y_{ij}\,(t\,v_i \cdot u_j + b)\bigr), \qquad y_{ij} = \pm 1,$$
#
# as `contrastive` says, with equal reports counting as matches. *Captions*: a decoder writes the report from the clip's
# pooled vector and tokens, and, told apart by a task token, the box of a finding or the finding in a box (LocCa). *Masked
# video*: most tubelets are hidden at the input and their pixels predicted from the rest.

# %%
import pandas as pd
import torch
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_angiography import masked_clip
from mtl.reporting.figures_results import cosine_heatmap, forest_plot, lines_over_steps, training_curves
from mtl.reporting.gradient_tables import only_decidable, readable_conflicts, verdict_counts
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.angiography.answers import training_answer
from mtl.studies.angiography.study import AngiographyStudy
from mtl.training.gradient_summary import summarise

use_report_style()
study = AngiographyStudy(parameters)
first = study.first
result = study.train_one(first)
model = study.model(first)
rows = [
    {
        "part": part,
        "weights": sum(p.numel() for p in module.parameters()),
        "learning rate": study.settings(first).learning_rates.get(part),
    }
    for part, module in model.parts.items()
]
show_table(pd.DataFrame(rows), source="checkpoints/fold_0/", caption="Parts of the network", index=False)

# %% [markdown]
# How long it took, and what picked the checkpoint: the mean of what the objectives are for, on validation clips.

# %%
tasks = study.tasks(first.variant)
history = result.history
wide = history.pivot_table(index="epoch", columns="key", values="value").reset_index()
facts = {
    "steps": result.steps,
    "minutes": result.seconds / 60,
    "best epoch": result.best_epoch,
    "score on validation": result.best_score,
}
show_table(pd.DataFrame([facts]), source="checkpoints/fold_0/", caption="Training", index=False)

# %% [markdown]
# ## Curves
# Unweighted losses of the training batches by epoch, and validation scores: mean reciprocal rank of the report among all
# validation reports (both ways), share of a report's tokens that are the likeliest after the true ones before them, share
# of the masked pixels' variance that is explained.

# %%
panels = {"weighted sum": {"loss/total": "total"}}
panels |= {task: {f"loss/{task}": task} for task in tasks if f"loss/{task}" in wide}
VALIDATION = {
    "val/mrr": "reciprocal rank",
    "val/token_accuracy": "tokens right",
    "val/explained": "pixels explained",
}
panels |= {"validation": {key: name for key, name in VALIDATION.items() if key in wide}}
show_figure(
    training_curves(wide, panels),
    alt=f"Training curves by epoch of {', '.join(panels)}.",
    source="checkpoints/fold_0/",
)

# %% [markdown]
# ## Which objective moves the encoder?
# On a few fixed batches $g_k$ is the gradient of $w_k L_k$ over the video encoder. The update share
# $u_k = \langle g_k, \sum_j g_j \rangle / \lVert \sum_j g_j \rVert^2$ sums to one; a negative share means that an objective
# is pushed backwards.

# %%
summary = only_decidable(summarise(result.gradients))
shares = summary.tasks[summary.tasks["block"] == "all"]
show_figure(
    lines_over_steps(
        shares, "update_share", "task",
        ylabel="Update share", low="lower95", high="upper95", reference=0.0,
    ),
    alt="Update share of every objective over training steps, with bands over the probe batches.",
    source="checkpoints/fold_0/",
    caption="Means and t-intervals over the probe batches of this one training.",
)  # fmt: skip

# %% [markdown]
# ## Do they disagree?
# Cosines of the objectives' gradients over the encoder at the end of training. Two objectives *conflict* only where the
# upper end of the interval over probe batches is below zero (framed), *agree* only where the lower end is above it.

# %%
cosines = summary.matrix("cosine")
conflicting = summary.matrix("upper95").where(summary.matrix("verdict") == "conflict")
pairs = summary.pairs[
    (summary.pairs["block"] == "all") & (summary.pairs["step"] == summary.pairs["step"].max())
]
counts = verdict_counts(pairs)
show_figure(
    cosine_heatmap(cosines, conflicting, "At the end of training"),
    alt="Heat map of the cosines between the gradients of the objectives over the video encoder.",
    source="checkpoints/fold_0/",
    caption=f"Means over {counts['batches']} probe batches.",
)

# %% [markdown]
# The same as a table.

# %%
named = pairs.assign(objective=pairs["task_a"], against=pairs["task_b"])
show_table(
    readable_conflicts(named, ["objective", "against"]),
    source="checkpoints/fold_0/",
    caption="Pairs of objectives, whole video encoder",
    index=False,
    if_empty="One objective alone has nothing to disagree with.",
)

# %% [markdown]
# ## Masked video
# The first validation clip, what the encoder sees of it, and what the decoder predicts where it sees nothing. Predictions
# are of normalised pixels; they are shown with the true mean and spread of each tubelet.

# %%
from mtl.inference.angiography.masked_reconstruction import reconstruct
from mtl.studies.angiography.data import clip_dataset

clip = clip_dataset(study.parts.validation[:1], parameters)[0]["video"]
if "masked" in tasks and parameters.mask_target == "pixels":
    seen, predicted = reconstruct(model, clip, torch.Generator().manual_seed(parameters.seed))
    show_figure(
        masked_clip(clip.numpy(), seen, predicted),
        alt="Frames of a clip, what is left of it after masking, and what is predicted.",
        source="checkpoints/fold_0/",
    )
else:
    print("pixels of masked video are no objective of this run")

# %% [markdown]
# ## What it means
# Shares and cosines are those of one training with one seed on a few batches: another seed may order the objectives
# otherwise. An objective with a small share may still be what makes another one work: that needs a training without it
# (notebook 04). The answer would be wrong if other probe batches named another objective.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
ends = shares[shares["step"] == shares["step"].max()].set_index("task")
last = wide.iloc[-1]
section = {
    "minutes": facts["minutes"],
    "steps": facts["steps"],
    "weights": study.settings(first).task_weights,
    "update_share": {task: round(float(value), 3) + 0.0 for task, value in ends["update_share"].items()},
    "pairs": counts,
    "validation": {name: last[key] for key, name in VALIDATION.items() if key in wide},
    "objectives": list(tasks),
    "made_up": parameters.videos == "phantom",
}
section["headline"] = [
    {"label": f"{name.capitalize()}, validation", "value": round(float(value), 3)}
    for name, value in list(section["validation"].items())[:2]
]
write_metrics(study.run.path, "training", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(training_answer(section), study.run.metrics))
bars = [
    {
        "label": f"{task} (weight {section['weights'][task]:g})",
        "estimate": {"value": row.update_share, "low": row.lower95, "high": row.upper95},
    }
    for task, row in ends.iterrows()
]
show_figure(
    forest_plot(bars, xlabel="Share of the encoder's update at the end of training", reference=0.0),
    alt="Update share of every objective at the end of training with intervals over the probe batches.",
    source="metrics.json#/training",
)
