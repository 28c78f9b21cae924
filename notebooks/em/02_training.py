# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # EM: two modes in one training step
#
# **Question.** The network learns to segment on its own and to listen to clicks, in the same step and with the same
# weights: do the two modes, and their heads, pull the shared backbone in the same direction?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/em/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/em/
data_root: str = ""  # folder of the data sets
volume: str = "phantom"  # phantom, or a file or folder below data_root
dims: int = 3  # 2: every plane is a sample of its own
variants: str = "late,embedding"  # click arms to train and compare, by comma
training_modes: str = "automatic,proofread"  # modes of a step, by comma
epochs: int = 4  # passes
learning_rate: float = 1e-3  # AdamW, of every part
ablations: str = "automatic_only,no_geometry"  # what the first arm goes without
weight_semantic: float = 1.0  # of the semantic loss
weight_instance: float = 1.0  # of the embedding loss
weight_geometry: float = 0.1  # of the geometry loss
balancer: str = "fixed"  # how the tasks are combined: fixed, uncertainty, dwa, pcgrad, ...
probe_every: int = 128  # steps between gradient diagnostics
probe_batches: int = 4  # batches of the gradient diagnostics
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("em", globals())

# %% [markdown]
# ## Method
# The heads run on the backbone's features twice, once as they are (*automatic*) and once with what the clicks add
# (*proofread*); where clicks do not pass through the backbone it runs only once. Each of the modes $m \in M$ has its
# losses (of the heads that the run has), and the balancer joins all of them to one backward pass:
#
# $$ L = \frac{1}{|M|} \sum_{m \in M} \left( \lambda_\mathrm{sem} L_\mathrm{sem}^m + \lambda_\mathrm{ins}
# L_\mathrm{ins}^m + \lambda_\mathrm{geom} L_\mathrm{geom}^m \right). $$
#
# A sample without any known object is absent from the proofread mode, and unknown voxels have no gradient in either.
# The arms differ in how clicks get in: `late` adds a residual before the heads, `input` paints balls into the image,
# `multiscale` adds to every level of the encoder, `embedding` has no weights of its own and compares distances to the
# clicked voxels, `target_head` draws the clicked object with a head of its own, whose loss joins the proofread mode.

# %%
import pandas as pd
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_results import cosine_heatmap, lines_over_steps, training_curves
from mtl.reporting.gradient_tables import conflict_counts, only_decidable, readable_conflicts
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.em.answers import training_answer
from mtl.studies.em.study import EMStudy
from mtl.studies.em.variants import AUTOMATIC_ONLY
from mtl.training.gradient_summary import summarise

use_report_style()
study = EMStudy(parameters)
arms = list(parameters.arms)
sizes = [
    {"arm": arm, "weights": sum(p.numel() for p in study.untrained_model(arm).parameters())}
    | {f"alpha {task.split('/')[1]}": alpha for task, alpha in study.settings(arm).task_weights.items()}
    for arm in arms
]
show_table(
    pd.DataFrame(sizes),
    source="provenance.json",
    caption=f"Arms: weights, and alpha of every head's loss in each mode ({', '.join(parameters.modes)})",
    index=False,
)

# %% [markdown]
# ## Training
# Every arm sees the same crops in the same order for the same number of steps. The checkpoint is the one whose own
# instances fit the validation part best (one minus the adapted Rand error). If the run asks for it and has both modes,
# the first arm is trained once more without the proofread mode: the next notebook needs it.

# %%
extra = [name for name in study.ablations if name == AUTOMATIC_ONLY]
results = {variant: study.train(variant)[0] for variant in [*arms, *extra]}
rows = [
    {
        "network": arm.replace("_", " "),
        "best epoch": r.best_epoch,
        "validation score": r.best_score,
        "steps": r.steps,
        "minutes": r.seconds / 60,
    }
    for arm, r in results.items()
]
show_table(
    pd.DataFrame(rows), source="checkpoints/fold_0/*/stage.json", caption="What was trained", index=False
)

# %% [markdown]
# The losses of the first arm, head by head. Where there are two modes they start level, because a prompt changes
# nothing before its path has learnt anything; the mask head of `target_head` has a loss in the proofread mode only.

# %%
first = results[arms[0]]
curves = first.history.pivot_table(index="epoch", columns="key", values="value").reset_index()
heads = {"sem": "Semantic", "ins": "Embedding", "geom": "Geometry", "target": "Mask"}
panels = {
    title: [f"{mode}: {short}" for mode in parameters.modes if f"train/{mode}/loss_{short}" in curves]
    for short, title in heads.items()
}
panels = {title: names for title, names in panels.items() if names}
names = {f"train/{mode}/loss_{short}": f"{mode}: {short}" for mode in parameters.modes for short in heads}
show_figure(
    training_curves(curves.rename(columns=names), panels),
    alt="Training losses over the epochs, a panel per head and a line per mode.",
    source=f"checkpoints/fold_0/{arms[0]}/history.parquet",
)

# %% [markdown]
# Arms beside each other: how well each segments the validation part on its own.

# %%
scores = pd.concat(
    [r.history[r.history["key"] == "val/objects"].assign(arm=arm) for arm, r in results.items()]
)
show_figure(
    lines_over_steps(scores, "value", "arm", x="epoch", ylabel="1 - adapted Rand error"),
    alt="Validation score of every arm over the epochs.",
    source="checkpoints/fold_0/*/history.parquet",
)

# %% [markdown]
# ## Do the tasks disagree?
# On a few fixed batches $g_k$ is the gradient of $\alpha_k L_k$ over the backbone, in full precision. The cosine of two
# tasks says whether they agree; sampling noise pulls every cosine towards zero, and the cosine of *one* task between two
# batches shows how far (the noise floor). Two tasks conflict only where the upper end of the interval is below zero
# (framed); with fewer than three batches, or where a task's own gradient is all noise, there is no verdict.

# %%
summary = only_decidable(summarise(first.gradients))
conflicting = summary.matrix("upper95").where(summary.matrix("verdict") == "conflict")
show_figure(
    cosine_heatmap(summary.matrix("cosine"), conflicting, f"At the end of training, arm {arms[0]}"),
    alt="Heat map of the cosines between the gradients of all tasks over the backbone.",
    source=f"checkpoints/fold_0/{arms[0]}/gradients.parquet",
)

# %% [markdown]
# The pairs with the lowest cosines, with what would be left of each without sampling noise.

# %%
pairs = summary.pairs[
    (summary.pairs["block"] == "all") & (summary.pairs["step"] == summary.pairs["step"].max())
]
named = pairs.assign(
    task=pairs["task_a"].str.replace("/", " "), against=pairs["task_b"].str.replace("/", " ")
)
show_table(
    readable_conflicts(named.nsmallest(6, "cosine"), ["task", "against"]).drop(
        columns="magnitude similarity"
    ),
    source=f"checkpoints/fold_0/{arms[0]}/gradients.parquet",
    caption="Least agreeing pairs of tasks, whole backbone, last probe",
    index=False,
)

# %% [markdown]
# ## Which task moves the backbone?
# The update share $u_k = \langle g_k, \sum_j g_j \rangle / \lVert \sum_j g_j \rVert^2$ sums to one over the tasks; a
# negative share means that the task is pushed backwards.

# %%
shares = summary.tasks[summary.tasks["block"] == "all"]
show_figure(
    lines_over_steps(
        shares, "update_share", "task", ylabel="Update share", low="lower95", high="upper95", reference=0.0
    ),
    alt="Update share of every task over training steps.",
    source=f"checkpoints/fold_0/{arms[0]}/gradients.parquet",
)

# %% [markdown]
# ## What it means
# Where there are two modes, the same head shares labels and most of its input between them, so a cosine near one says
# little: it is the pairs of *different* heads, and of the same head where clicks matter, that could conflict. One seed
# was trained, and the probe looks at a few batches: the answer would be wrong if other batches or another seed turned
# the verdict on a pair round.

# %% [markdown]
# ## Results
# The figures of this notebook go to `metrics.json`; the answer reads them from there.

# %%
ends = shares[shares["step"] == shares["step"].max()].set_index("task")
lowest = [
    {"cosine": row.cosine, "first": row.task_a, "second": row.task_b}
    for row in pairs.nsmallest(1, "cosine").itertuples()
]
share = ends["update_share"].groupby(ends.index.str.split("/").str[1], sort=False).sum()
share = {head: round(value, 2) + 0.0 for head, value in share.items()}
counts = conflict_counts(pairs)
section = {
    "arms": {
        arm: {"score": r.best_score, "minutes": r.seconds / 60, "steps": r.steps}
        for arm, r in results.items()
    },
    "first_arm": arms[0],
    "modes": list(parameters.modes),
    **counts,
    "lowest": lowest[0] if lowest else None,
    "update_share": share,
    "headline": [
        {
            "label": "Pairs of tasks in conflict",
            "value": counts["conflicts"] if counts["decided"] else "no verdict",
        },
        {"label": "Update share of the embedding loss", "value": share["instance"]},
    ],
}
write_metrics(study.run.path, "training", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(
    claim(
        training_answer(section),
        study.run.metrics,
    )
)
show_figure(
    cosine_heatmap(summary.matrix("cosine"), conflicting, "Cosines of gradients over the backbone"),
    alt="Heat map of the cosines between the gradients of all tasks over the backbone.",
    source=f"checkpoints/fold_0/{arms[0]}/gradients.parquet",
)
