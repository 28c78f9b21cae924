# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Histology: eight losses, one by one
#
# **Question.** What does each of the eight losses ask of the network, where does it help, and where does the same loss
# do harm?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/histology/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/histology/
data_root: str = ""  # folder of the data sets
tiles: str = "phantom"  # phantom, or a folder below data_root
fractions: str = "0.1,1"  # shares of the nuclei that are outlined, by comma
alpha_seg: float = 2.0  # of the segmentation loss
alpha_edge: float = 0.0  # of the edge loss; described: 10
alpha_hv: float = 1.0  # of the map inside nuclei
alpha_recon: float = 0.5  # of the reconstruction
alpha_obj_emb: float = 0.5  # of the prototype loss
alpha_pixel_con: float = 0.1  # of the pixel contrast
alpha_var: float = 0.1  # of the total variation
alpha_small_hole: float = 0.1  # of the local disagreement
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("histology", globals())

# %% [markdown]
# ## The scene
# Three nuclei: one is outlined, one touches it, one lies apart; nobody has drawn the last two. With the logits $z$, the
# probability $p = \sigma(z)$ and the outlined pixels $y$, the network's own sure guesses where nobody drew are
# *pseudo-labels*, without gradient:
#
# $$ P = [p > 0.9](1 - y), \qquad N = [p < 0.2](1 - y). $$

# %%
import pandas as pd
import torch
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_histology import loss_toys
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.histology.answers import losses_answer
from mtl.studies.histology.loss_sets import SHOWN
from mtl.studies.histology.loss_toys import toys
from mtl.studies.histology.study import HistologyStudy

use_report_style()
study = HistologyStudy(parameters)
examples = toys()

# %% [markdown]
# ## The formulas
# 1. **segmentation**: with $c = \min(y + P, 1)$ and the known pixels $k = y + P + N$, half a weighted cross-entropy (one on
#    $y$, less on $P$ and $N$), half a soft Dice of $p$ against $c$ on $k$, and a background term: a little of the
#    cross-entropy against zero over *all* pixels outside $y$. Without the last one, calling everything a nucleus would be
#    nearly free, because pseudo-labels confirm it.
# 2. **edge**: cross-entropy on the band where the Sobel gradient of $y$ is not zero; its outer side counts only where
#    $p < \tfrac12$, else it may be a neighbour that nobody drew.
# 3. **inner map**: squared difference to the map of the inside of nuclei, over $y$.
# 4. **reconstruction**: squared difference to the image, from the bottleneck alone.
# 5. **prototypes**: features $o_i$ of outlined cells against the mean direction $\mu^+$ of outlined and $\mu^-$ of
#    pseudo-negative cells, $\log(1 + e^{(o_i \cdot \mu^- - o_i \cdot \mu^+)/T})$, per image and once more per batch.
# 6. **pixel contrast**: of sampled pixels, $\log \sum_{\text{all}} e^{s_{ij}} - \log \sum_{\text{same}} e^{s_{ij}}$.
# 7. **total variation**: $|\partial_x p| + |\partial_y p|$.
# 8. **small holes**: $p(1 - d) + (1 - p)d$ with the mean $d$ of $p$ over nine pixels.

# %% [markdown]
# ## Where each works, and where it fails
# Each row is one loss. *Aims at*: its target (red: nucleus, blue: not, pale: neither). Then what a network says and what
# the loss makes of it, once where it does what it is meant to do and once where it does not. *Pushes* is minus the
# gradient: orange is moved up, purple down, on one scale for both cases of a loss.

# %%
figure = loss_toys(examples)
show_figure(
    figure,
    alt="A row per loss: its target, an input where it works with the gradient, an input where it fails with the gradient.",
    source="metrics.json#/losses_one_by_one",
)

# %% [markdown]
# In words.

# %%
rows = [
    {
        "loss": SHOWN[toy.loss],
        "works": toy.why_works,
        "loss there": toy.works.value,
        "fails": toy.why_fails,
        "loss here": toy.fails.value,
    }
    for toy in examples
]
show_table(
    pd.DataFrame(rows).astype({"loss here": object}).replace({float("nan"): None}),
    source="metrics.json#/losses_one_by_one",
    caption="One case for and one against each loss",
    index=False,
)

# %% [markdown]
# ## On a batch of this run
# What the losses of this run come to before any training, on one batch with few labels, and what each has of the weighted
# sum. Without a parameter that says otherwise the edge loss is left out: on validation tiles the other seven did no worse
# without it (the changelog has the figures, `params/histology/described.yaml` the described weights).
# The share of a loss in the sum is not its share of the update: that is the gradients' business, and the next notebook
# measures it.

# %%
first = study.first
batch = next(iter(study.loader(first).batches(parameters.warm_up_epochs + 1)))
model = study.untrained_model(first).train()
with torch.no_grad():
    found = study.objective("all")(model, batch)
alphas = study.settings(first).task_weights
weighted = {name: alphas[name] * float(value) for name, value in found.items()}
total = sum(weighted.values())
rows = [
    {
        "loss": SHOWN[name],
        "value": float(found[name]) if name in found else None,
        "weight": alphas[name],
        "weighted": weighted.get(name),
        "share of the sum": weighted[name] / total if name in weighted else None,
    }
    for name in alphas
]
show_table(
    pd.DataFrame(rows).astype(object),
    source="metrics.json#/losses_one_by_one",
    caption="Losses of an untrained network; what is absent has no pixel to be computed from yet",
    index=False,
)

# %% [markdown]
# ## What it means
# No loss knows nuclei: each knows a habit of nuclei, and pays for the habit wherever it is found. Losses 1 and 2 see the
# outlines, 3 their inside; the other five never see an undrawn nucleus as one, and prototypes and pixel contrast may take
# it for its opposite, as the background term of loss 1 does. Whether they pay on the whole is measured in the notebook
# on label fractions. This page would be wrong if a case that is said to fail did not: the pushes show it.
#
# Literature: positive-unlabelled learning (Bekker and Davis 2020); prototypes (Snell et al. 2017); supervised contrast
# (Khosla et al. 2020); total variation (Rudin, Osher and Fatemi 1992); HoVer-Net (Graham et al. 2019).

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
largest = max(weighted, key=lambda name: weighted[name])
unlabelled = ("recon", "obj_emb", "pixel_con", "total_var", "small_hole")
section = {
    "toys": {toy.loss: {"works": toy.works.value, "fails": toy.fails.value} for toy in examples},
    "losses": {name: float(value) for name, value in found.items()},
    "weighted": weighted,
    "n_losses": len(alphas),
    "largest": SHOWN[largest],
    "largest_share": weighted[largest] / total,
    "unlabelled_share": sum(weighted.get(name, 0.0) for name in unlabelled) / total,
    "headline": [
        {
            "label": f"Share of the largest ({SHOWN[largest]}) in an untrained network's total",
            "value": weighted[largest] / total,
        },
        {"label": "Losses in this run", "value": len(alphas)},
    ],
}
write_metrics(study.run.path, "losses_one_by_one", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(losses_answer(section), study.run.metrics))
show_figure(
    loss_toys([toy for toy in examples if toy.loss in ("segmentation", "edge", "total_var")]),
    alt="Three of the losses, each with a case where it works and one where it fails.",
    source="metrics.json#/losses_one_by_one",
)
