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
epochs: int = 3  # passes
learning_rate: float = 1e-3  # AdamW, of every part
ablations: str = "automatic_only,no_geometry"  # what the first arm goes without
weight_semantic: float = 1.0  # of the semantic loss
weight_instance: float = 1.0  # of the embedding loss
weight_geometry: float = 0.1  # of the geometry loss
balancer: str = "fixed"  # how the tasks are combined: fixed, uncertainty, dwa, pcgrad, ...
probe_every: int = 72  # steps between gradient diagnostics
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
# (*proofread*); where clicks do not pass through the backbone it runs only once. A task $k$ is the loss $L_k$ of one
# head in one of the modes $M$ that are trained, and its weight $\alpha_k$ is the head's weight $\lambda$
# (`weight_semantic` and so on) over the number of these modes:
#
# $$ \alpha_k = \frac{\lambda_{\mathrm{head}(k)}}{|M|}, \qquad L = \sum_k \alpha_k L_k. $$
#
# The `fixed` balancer minimises $L$ in one backward pass; the others combine the same tasks in another way.
# For `target_head` the loss of its mask is one more task of the proofread mode.
#
# A sample without any known object is absent from the proofread mode, and unknown voxels have no gradient in either.
# The arms differ in how clicks get in: `late` adds a residual before the heads, `input` paints balls into the image,
# `multiscale` adds to every level of the encoder, `embedding` has no weights of its own and compares distances to the
# clicked voxels, `target_head` draws the clicked object with a head of its own.
#
# `embedding` adds no weights, and where every crop holds a known object its proofread losses equal its automatic ones:
# trained in both modes or in the automatic mode alone, it is then the same network.

# %%
import pandas as pd
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_results import cosine_heatmap, lines_against, lines_over_steps, training_curves
from mtl.reporting.gradient_tables import only_decidable, readable_conflicts, verdict_counts
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.em.answers import training_answer, training_headline
from mtl.studies.em.mode_losses import largest_change, mode_losses
from mtl.studies.em.study import EMStudy
from mtl.studies.em.variants import AUTOMATIC_ONLY, shown_name
from mtl.training.gradient_summary import summarise

use_report_style()
study = EMStudy(parameters)
arms = list(parameters.arms)

# %% [markdown]
# What each arm is made of, and what its losses weigh.

# %%
sizes = [
    {"arm": shown_name(arm), "weights": sum(p.numel() for p in study.untrained_model(arm).parameters())}
    | {
        f"α {shown_name(task.split('/')[1])}": alpha
        for task, alpha in study.settings(arm).task_weights.items()
    }
    for arm in arms
]
show_table(
    pd.DataFrame(sizes),
    source="provenance.json",
    caption=f"Arms: how many weights, and α of every head's loss in each mode ({', '.join(parameters.modes)})",
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
        "network": shown_name(arm),
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
# nothing before its path has learnt anything; a line that lies on another lets it show through. The mask head of
# `target_head` has a loss in the proofread mode only.

# %%
first = results[arms[0]]
curves = first.history.pivot_table(index="epoch", columns="key", values="value").reset_index()
heads = {"sem": "Semantic", "ins": "Embedding", "geom": "Geometry", "target": "Mask"}
panels = {
    title: {key: mode for mode in parameters.modes if (key := f"train/{mode}/loss_{short}") in curves.columns}
    for short, title in heads.items()
}
show_figure(
    training_curves(curves, {title: lines for title, lines in panels.items() if lines}),
    alt="Training losses over the epochs, a panel per head and a line per mode.",
    source=f"checkpoints/fold_0/{arms[0]}/history.parquet",
)

# %% [markdown]
# What clicks change in them, where both modes are trained: the proofread loss minus the automatic one. A crop without
# any known object counts in the automatic mode only, and is part of the difference.

# %%
losses = mode_losses(first.history, parameters.modes)
change = largest_change(losses)
if change:
    apart = losses.assign(percent=100 * losses["change"], loss=losses["head"].map(shown_name))
    show_figure(
        lines_over_steps(
            apart.dropna(subset="percent"), "percent", "loss", x="epoch", reference=0.0,
            ylabel="Proofread minus automatic\n(% of the automatic loss)",
        ),
        alt="Proofread minus automatic loss of every head over the epochs, in percent of the automatic loss.",
        source=f"checkpoints/fold_0/{arms[0]}/history.parquet",
    )  # fmt: skip
else:
    print("no head has a loss in both modes: nothing to compare")

# %% [markdown]
# Arms beside each other: how well each segments the validation part on its own.

# %%
scores = pd.concat(
    r.history[r.history["key"] == "val/objects"].assign(network=shown_name(arm)) for arm, r in results.items()
)
show_figure(
    lines_against(
        scores, "value", "network", shown_name(arms[0]), x="epoch", ylabel="1 - adapted Rand error"
    ),
    alt="Validation score over the epochs, a panel per network with the first arm in grey.",
    source="checkpoints/fold_0/*/history.parquet",
)

# %% [markdown]
# ## Do the tasks disagree?
# On a few fixed batches $g_k$ is the gradient of $\alpha_k L_k$ over the backbone, in full precision. The cosine of two
# tasks says whether they agree; sampling noise pulls every cosine towards zero, and the cosine of *one* task between two
# batches shows how far (the noise floor). Two tasks conflict only where the upper end of the interval is below zero
# (framed), agree only where the lower end is above it, and are *unclear* in between; with fewer than three batches, or
# where a task's own gradient is all noise, there is no verdict.

# %%
summary = only_decidable(summarise(first.gradients))
cosines = summary.matrix("cosine").rename(index=shown_name, columns=shown_name)
conflicting = summary.matrix("upper95").where(summary.matrix("verdict") == "conflict")
pairs = summary.pairs[
    (summary.pairs["block"] == "all") & (summary.pairs["step"] == summary.pairs["step"].max())
]
head_a, head_b = (pairs[side].str.split("/").str[1] for side in ("task_a", "task_b"))
different, same = verdict_counts(pairs[head_a != head_b]), verdict_counts(pairs[head_a == head_b])
probed = f"Means over {different['batches']} probe batches, last probe."
show_figure(
    cosine_heatmap(cosines, conflicting, f"At the end of training, arm {shown_name(arms[0])}"),
    alt="Heat map of the cosines between the gradients of all tasks over the backbone.",
    source=f"checkpoints/fold_0/{arms[0]}/gradients.parquet",
    caption=probed,
)

# %% [markdown]
# The pairs of different heads with the lowest cosines. *Cosine*: mean over the probe batches, with its t-interval.
# *Without noise*: that mean over the geometric mean of the two tasks' noise floors, an estimate that may lie beyond one.
# *Conflict rate*: share of the probe batches in which the cosine is negative. *Magnitude similarity* is one where both
# gradients are as long and near zero where one is much longer: a conflict with a gradient that is next to nothing changes
# nothing. Probe batches are drawn from one small part and overlap, so intervals are rather too narrow.

# %%
lowest = pairs[head_a != head_b].nsmallest(6, "cosine")
least = [
    {
        "cosine": {"value": row.cosine, "low": row.lower95, "high": row.upper95},
        "first": shown_name(row.task_a),
        "second": shown_name(row.task_b),
        "similarity": row.magnitude_similarity,
    }
    for row in lowest.head(1).itertuples()
]
named = lowest.assign(task=lowest["task_a"].map(shown_name), against=lowest["task_b"].map(shown_name))
show_table(
    readable_conflicts(named, ["task", "against"]),
    source=f"checkpoints/fold_0/{arms[0]}/gradients.parquet",
    caption=f"Least agreeing pairs of different heads, whole backbone. {probed}",
    index=False,
)

# %% [markdown]
# ## Which task moves the backbone?
# The update share $u_k = \langle g_k, \sum_j g_j \rangle / \lVert \sum_j g_j \rVert^2$ sums to one over the tasks; a
# negative share means that the task is pushed backwards. A line is the mean over the probe batches, its band the
# t-interval over them: other batches of this one training, not another training.

# %%
shares = summary.tasks[summary.tasks["block"] == "all"]
mode_and_head = shares["task"].str.split("/", expand=True)
show_figure(
    lines_over_steps(
        shares.assign(mode=mode_and_head[0], head=mode_and_head[1].map(shown_name)), "update_share", "head",
        ylabel="Update share", low="lower95", high="upper95", reference=0.0, panel="mode",
    ),
    alt="Update share of every head over training steps, a panel per mode, with bands over the probe batches.",
    source=f"checkpoints/fold_0/{arms[0]}/gradients.parquet",
    caption=f"Means and bands over {different['batches']} probe batches.",
)  # fmt: skip

# %% [markdown]
# ## What it means
# Where there are two modes, the same head shares labels and most of its input between them, so a cosine near one says
# little: it is the pairs of *different* heads that could conflict, and two heads are up to four of these pairs, nearly
# alike while clicks change little. *Unclear* is not harmony: the interval holds zero, and a few batches cannot tell.
# One seed was trained: the answer would be wrong if other batches or another seed turned the verdict on a pair round.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
ends = shares[shares["step"] == shares["step"].max()].set_index("task")
share = ends["update_share"].groupby(ends.index.str.split("/").str[1], sort=False).sum()
share = {head: round(value, 2) + 0.0 for head, value in share.items()}
section = {
    "arms": {
        arm: {"score": r.best_score, "minutes": r.seconds / 60, "steps": r.steps}
        for arm, r in results.items()
    },
    "first_arm": shown_name(arms[0]),
    "modes": list(parameters.modes),
    "different_heads": different,
    "pairs_of_heads": len(
        {frozenset(pair) for pair in zip(head_a, head_b, strict=True) if pair[0] != pair[1]}
    ),
    "same_head": same,
    "clicks_change": change,
    "lowest": least[0] if least else None,
    "update_share": share,
}
section["headline"] = [
    {"label": "Pairs of different heads", "value": training_headline(section)},
    {"label": "Update share of the embedding loss", "value": share["instance"]},
]
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
    cosine_heatmap(cosines, conflicting, "Cosines of gradients over the backbone"),
    alt="Heat map of the cosines between the gradients of all tasks over the backbone.",
    source=f"checkpoints/fold_0/{arms[0]}/gradients.parquet",
)
