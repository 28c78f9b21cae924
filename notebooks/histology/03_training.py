# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Histology: one training, nine scalars, and what a weight of ten means
#
# **Question.** With the weights of this run, which of the eight losses really moves the shared encoder, what would a
# weight of ten on each of them come to, and do they pull in the same direction?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/histology/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/histology/
data_root: str = ""  # folder of the data sets
tiles: str = "phantom"  # phantom, or a folder below data_root
fractions: str = "0.1,1"  # shares of the nuclei that are outlined, by comma
epochs: int = 4  # passes
learning_rate: float = 3e-3  # AdamW, of every part
warm_up_epochs: int = 2  # epochs over which pseudo-labels are ramped in
balancer: str = "fixed"  # how the losses are combined: fixed, uncertainty, dwa, pcgrad, ...
probe_every: int = 32  # steps between gradient diagnostics
probe_batches: int = 4  # batches of the gradient diagnostics
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("histology", globals())

# %% [markdown]
# ## Method
# One encoder feeds two decoders (nuclei; the map of their inside), a reconstruction from the bottleneck, and two
# embeddings. Every loss $L_k$ is one task, with its weight $\alpha_k$; the `fixed` balancer minimises
# $L = \sum_k \alpha_k L_k$, the others combine the same losses in another way. Patches hold outlined nuclei; all other
# pixels have no label. Pseudo-labels are ramped in over the first epochs.

# %%
import pandas as pd
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_histology import OTHER, TRUTH, nuclei_grid
from mtl.reporting.figures_results import cosine_heatmap, forest_plot, lines_over_steps, training_curves
from mtl.reporting.gradient_tables import only_decidable, readable_conflicts, verdict_counts
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.histology.answers import training_answer
from mtl.studies.histology.loss_sets import SHOWN, shown_arm
from mtl.studies.histology.study import HistologyStudy
from mtl.training.gradient_summary import shares_if_weighted, summarise

use_report_style()
study = HistologyStudy(parameters)
first = study.first
result = study.train_one(first)
history = result.history
facts = {
    "network": shown_arm(first.losses, first.fraction),
    "weights": sum(p.numel() for p in study.untrained_model(first).parameters()),
    "steps": result.steps,
    "best epoch": result.best_epoch,
    "Dice on validation": result.best_score,
    "minutes": result.seconds / 60,
}
show_table(pd.DataFrame([facts]), source="checkpoints/fold_0/", caption="What was trained", index=False)

# %% [markdown]
# ## Nine scalars
# The eight losses and their weighted sum, by epoch, unweighted. A loss that is absent in an epoch (no pixel qualifies as
# a negative yet) leaves a gap. What rises is not always worse: pseudo-labels that are ramped in add terms.

# %%
wide = history.pivot_table(index="epoch", columns="key", values="value").reset_index()
panels = {"weighted sum": {"loss/total": "total"}}
panels |= {shown: {f"loss/{name}": shown} for name, shown in SHOWN.items() if f"loss/{name}" in wide}
show_figure(
    training_curves(wide, panels),
    alt=f"Training curves by epoch of {', '.join(panels)}.",
    source="checkpoints/fold_0/",
)

# %% [markdown]
# ## Pseudo-labels against the hidden truth
# The truth of undrawn nuclei is known here and hidden from every loss; it only judges. *Precision*: share of
# pseudo-labelled pixels that are what they are taken for. *Recall*: share of the unlabelled pixels of that kind that are
# found.

# %%
kinds = {
    f"{kind} pseudo-labels": {
        f"pseudo/{kind}/{what}": what for what in ("precision", "recall") if f"pseudo/{kind}/{what}" in wide
    }
    for kind in ("positive", "negative")
}
show_figure(
    training_curves(
        wide, {title: lines for title, lines in kinds.items() if lines} | {"validation": {"val/dice": "Dice"}}
    ),
    alt="Precision and recall of positive and negative pseudo-labels by epoch, and the Dice on validation tiles.",
    source="checkpoints/fold_0/",
)

# %% [markdown]
# ## What does a weight of ten mean?
# On a few fixed batches $g_k$ is the gradient of $\alpha_k L_k$ over the encoder. The update share
# $u_k = \langle g_k, \sum_j g_j \rangle / \lVert \sum_j g_j \rVert^2$ sums to one; a negative share means that a loss is
# pushed backwards. A weight of ten on a loss with a small gradient may move less than a weight of one on another.

# %%
summary = only_decidable(summarise(result.gradients))
shares = summary.tasks[summary.tasks["block"] == "all"]
show_figure(
    lines_over_steps(
        shares.assign(loss=shares["task"].map(SHOWN)), "update_share", "loss",
        ylabel="Update share", low="lower95", high="upper95", reference=0.0,
    ),
    alt="Update share of every loss over training steps, with bands over the probe batches.",
    source="checkpoints/fold_0/",
    caption="Means and t-intervals over the probe batches of this one training.",
)  # fmt: skip

# %% [markdown]
# At the end of training, each loss's weight beside its share; in the last column the share that it would have had with a
# weight of ten, everything else unchanged, from the same gradients.

# %%
ends = shares[shares["step"] == shares["step"].max()].set_index("task")
alphas = study.settings(first).task_weights
at_ten = {task: shares_if_weighted(result.gradients, {task: 10 / alphas[task]})[task] for task in ends.index}
rows = [
    {
        "loss": SHOWN[task],
        "weight": alphas[task],
        "update share": {"value": row.update_share, "low": row.lower95, "high": row.upper95},
        "loss in the last epoch": wide[f"loss/{task}"].iloc[-1] if f"loss/{task}" in wide else None,
        "share at weight ten": at_ten[task],
    }
    for task, row in ends.iterrows()
]
show_table(
    pd.DataFrame(rows), source="metrics.json#/training", caption="Weights and what they come to", index=False
)

# %% [markdown]
# ## Do the losses disagree?
# Cosines of the losses' gradients over the encoder. Sampling noise pulls every cosine towards zero; two losses *conflict*
# only where the upper end of the interval is below zero (framed), *agree* only where the lower end is above it.

# %%
cosines = summary.matrix("cosine").rename(index=SHOWN, columns=SHOWN)
conflicting = summary.matrix("upper95").where(summary.matrix("verdict") == "conflict")
pairs = summary.pairs[
    (summary.pairs["block"] == "all") & (summary.pairs["step"] == summary.pairs["step"].max())
]
counts = verdict_counts(pairs)
show_figure(
    cosine_heatmap(cosines, conflicting, "At the end of training"),
    alt="Heat map of the cosines between the gradients of all losses over the encoder.",
    source="checkpoints/fold_0/",
    caption=f"Means over {counts['batches']} probe batches.",
)

# %% [markdown]
# The pairs with the lowest cosines.

# %%
lowest = pairs.nsmallest(5, "cosine")
named = lowest.assign(loss=lowest["task_a"].map(SHOWN), against=lowest["task_b"].map(SHOWN))
show_table(
    readable_conflicts(named, ["loss", "against"]),
    source="checkpoints/fold_0/",
    caption="Least agreeing pairs, whole encoder",
    index=False,
)

# %% [markdown]
# ## What it finds
# Validation tiles, the first ones, by a plain threshold of one half: how settings are chosen and scores are made comes in
# the next notebook.

# %%
from mtl.inference.histology import Decoding, decode, predict_maps
from mtl.studies.histology.scoring import methods_of

tiles = study.part(0, "validation")[:4]
maps = predict_maps(study.model(first), [t.image for t in tiles], device=study.fabric.device)
decoding = Decoding(method=methods_of(study, first.losses)[-1])
found = [decode(m.probability, m.hv_map, decoding) for m in maps]
shown = nuclei_grid(
    [t.image for t in tiles],
    [{"truth": t.instances, "found": instances} for t, instances in zip(tiles, found, strict=True)],
    [t.group for t in tiles],
    {"found": OTHER, "truth": TRUTH},
)
show_figure(
    shown,
    alt="Validation tiles with the true outlines and those that the network finds.",
    source="checkpoints/fold_0/",
)

# %% [markdown]
# ## What it means
# Update shares are those of one training with one seed on a few batches: another seed may order the losses otherwise. A
# share near zero is no proof that a loss is useless, and a large one none that it helps: that needs a training without
# it. The answer would be wrong if other probe batches named another largest loss.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
last = wide.iloc[-1]
section = {
    "minutes": facts["minutes"],
    "steps": facts["steps"],
    "validation_dice": facts["Dice on validation"],
    "alphas": alphas,
    "shown": {task: SHOWN[task] for task in alphas},
    "update_share": {task: round(float(value), 3) + 0.0 for task, value in ends["update_share"].items()},
    "share_at_ten": at_ten,
    "pairs": counts,
    "precision": last.get("pseudo/positive/precision"),
    "recall": last.get("pseudo/positive/recall"),
    "losses": {name: last.get(f"loss/{name}") for name in alphas},
}
section["headline"] = [
    {
        "label": f"Update share of {SHOWN[task]} (weight {alphas[task]:g})",
        "value": section["update_share"][task],
    }
    for task in sorted(section["update_share"], key=section["update_share"].get, reverse=True)[:2]
]
write_metrics(study.run.path, "training", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(training_answer(section), study.run.metrics))
bars = [
    {"label": f"{row['loss']} (weight {row['weight']:g})", "estimate": row["update share"]} for row in rows
]
show_figure(
    forest_plot(bars, xlabel="Share of the encoder's update at the end of training", reference=0.0),
    alt="Update share of every loss at the end of training with intervals over the probe batches.",
    source="metrics.json#/training",
)
