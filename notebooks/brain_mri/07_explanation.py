# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Brain MRI: what does the network look at?
#
# **Question.** When the joint network says *tumour*, does its evidence lie on the tumour, and more so than that of
# a network that has learnt nothing, or of somebody who only knows where the head is?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/brain_mri/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/brain_mri/
data_root: str = ""  # folder with the real data sets; empty: phantoms
image_size: int = 64  # pixels along a side
depth: int = 3  # poolings of the U-Net: they decide how coarse a map is
n_bootstrap: int = 1000  # resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("brain_mri", globals())

# %% [markdown]
# The tools of this notebook: maps from the trained network, figures per case, and their means with intervals.

# %%
import pandas as pd
from mtl.evaluation.brain_mri.explanation_tables import (
    average_maps,
    map_differences,
    map_estimates,
    range_over_draws,
    reading,
)
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_explanation import from_cells_to_pixels, map_gallery
from mtl.reporting.figures_results import forest_plot
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.brain_mri.explanation import resolution, tumour_maps, write_explanations
from mtl.studies.brain_mri.explanation_cases import balanced_cases, maps_of, off_target
from mtl.studies.brain_mri.predictions import read_predictions
from mtl.studies.brain_mri.study import BrainMriStudy

use_report_style()
study = BrainMriStudy(parameters)
predictions = read_predictions(study, ["joint"])
settings = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed}

# %% [markdown]
# ## The map
# Grad-CAM weighs the channels $A_k$ of the bottleneck by what they do to the tumour's logit $z$ and keeps what
# speaks for it. The head is a mean over positions followed by a small perceptron, so the gradient is the same at
# every position and known in closed form; no backward pass is needed (a test holds it against MONAI's `GradCAM`):
#
# $$ \mathrm{CAM} = \mathrm{ReLU}\Bigl(\sum_k \alpha_k A_k\Bigr), \qquad
# \alpha = \tfrac{1}{HW}\, W_1^\top\bigl(\mathbf 1[W_1 h + b_1 > 0] \odot W_2[c]\bigr). $$
#
# Only the class *tumour* is explained. A map without any evidence for it is zero everywhere and points nowhere.

# %% [markdown]
# ## How fine can such a map be?
# It has one value per cell of the bottleneck; whatever looks finer is interpolation. And a cell is not a window: by
# way of all the convolutions before it, it can depend on a square of pixels (the receptive field) that may be wider
# than the whole picture. The map says *where in the grid* the evidence arises, not which pixels it was made from.

# %%
fineness = resolution(parameters)
names = {
    "image_pixels": "image, pixels along a side",
    "cells": "bottleneck, cells along a side",
    "cell_pixels": "one cell, pixels along a side",
    "receptive_field": "what a cell can depend on, pixels along a side",
}
show_table(
    pd.DataFrame([{"": text, "size": fineness[name]} for name, text in names.items()]),
    source="provenance.json",
    caption="The resolution of a map",
    index=False,
)

# %% [markdown]
# One slice with a tumour, the first of the gallery below: the slice, its cells, and the map as it is shown from here
# on. The outline is the true mask.

# %%
gallery = balanced_cases(predictions, per_kind=4, seed=parameters.seed)
first = gallery.sort_values("cls", ascending=False, kind="stable").head(1)
cells, pixels = tumour_maps(study, int(first["fold"].iloc[0]), list(first["id"]))
show_figure(
    from_cells_to_pixels(study.samples(list(first["id"]))[0], cells[0], pixels[0]),
    alt="One slice with a tumour: bare, under the coarse cells of the bottleneck, and under the smoothed map.",
    source="checkpoints/*/joint/best",
)

# %% [markdown]
# ## What is measured
# Fixed before anything was looked at:
#
# - **pointing hit**: the map's maximum lies in the true mask; `near` allows half a cell beside it. Ties count by
#   share. *Chance* (without that allowance) is the share of the head that the mask covers: a point thrown blindly.
# - **IoU**: overlap of the mask with the pixels that reach half of the map's maximum.
# - **energy inside**: share of the map's sum that lies in the mask; no threshold. Spread evenly over the head it
#   would equal chance as well.
# - **energy outside the head**: share of the sum where there is nothing to see.
#
# The first three need a known mask that is not empty; the last has an answer for every slice. Maps that point
# nowhere are left out of means and counted beside them; `strict` counts them as misses.

# %% [markdown]
# ## Against whom
# - `random_network`: every weight drawn anew, several times; the batch norms' statistics are estimated again on
#   training slices, so that it is a working network that knows nothing and not a broken one.
# - `random_head`: the trained encoder under a random head. It separates what the encoder brings along (it has
#   learnt to outline tumours) from what the head adds.
# - `centre`: a smooth hill in the middle of the head, without any network.
# - `coarse_mask`: the true mask itself, as coarse as the bottleneck: what a map would score that is right in every
#   cell. It shows what the grid costs.
#
# A random head is as likely to call a tumour healthy as ill, and then points away from it: the average over draws is
# a lenient opponent, the luckiest draw a hard one.
#
# Each fold's networks explain their own test part; folds and draws of a slice are averaged, so that it counts
# once. Intervals resample groups (patients or near-duplicate groups).

# %%
explanations = write_explanations(study)
cases = average_maps(explanations)
maps = map_estimates(cases, **settings)
shown = {
    "pointing_hit": "pointing hit",
    "pointing_hit_strict": "strict",
    "pointing_hit_near": "near",
    "iou": "IoU",
    "energy_inside": "energy inside",
}
sources = sorted(set(cases.loc[cases["mask_pixels"] > 0, "source"]))
sources += ["pooled"] if len(sources) > 1 else []  # of a single source, pooled would say the same again
rows = [
    {"map": name, "source": source, **{text: maps[name][source][key] for key, text in shown.items()}}
    for name in maps
    for source in sources
]
chances = {source: maps["trained"][source]["chance"] for source in sources}
rows += [
    {"map": "chance", "source": source, "pointing hit": blind, "energy inside": blind}
    for source, blind in chances.items()
]
show_table(pd.DataFrame(rows), source="predictions/explanation.parquet", caption="On the tumour", index=False)

# %% [markdown]
# What every slice can answer: how much of the evidence lies outside the head, and how often there is none. Where the
# slices of one source never lack evidence for a tumour and those of another mostly do, part of the evidence may be
# the source itself.

# %%
rows = [
    {
        "map": name,
        "source": source,
        "energy outside the head": figures["energy_outside_head"],
        "points nowhere": figures["undefined"],
    }
    for name, found in maps.items()
    for source, figures in found.items()
    if name != "coarse_mask"
]
show_table(
    pd.DataFrame(rows), source="predictions/explanation.parquet", caption="On every slice", index=False
)

# %% [markdown]
# ## Trained against the others
# The trained map minus the other, on the same slices. The last column reads the interval by one rule for all runs:
# above zero *better*, below zero *worse*, otherwise *no difference shown*. These intervals are about the choice of
# test patients.

# %%
compared = ("random_network", "random_head", "centre")
about = ("pointing_hit", "iou", "energy_inside")
differences = {name: map_differences(cases, about, name, "trained", **settings) for name in compared}
rows = [
    {
        "trained minus": name,
        "figure": shown[figure],
        "source": source,
        "difference": found[source],
        "slices": found[source]["cases"],
        "left out": found[source]["left_out"],
        "reading": reading(found[source]),
    }
    for name, figures in differences.items()
    for figure, found in figures.items()
    for source in sources
]
show_table(
    pd.DataFrame(rows),
    source="predictions/explanation.parquet",
    caption="Paired differences on the same slices",
    index=False,
)

# %% [markdown]
# The luck of the weights is another matter: the lowest and the highest mean among the random draws. If a random head
# on the trained encoder can do as well as the trained head, the map shows where the *encoder* is active, and the
# head's reasons are not in it.

# %%
luck = {
    name: range_over_draws(explanations, name, ("pointing_hit", "energy_inside"))
    for name in ("random_network", "random_head")
}
rows = [
    {"map": name, "figure": shown[figure], **spread}
    for name, figures in luck.items()
    for figure, spread in figures.items()
]
show_table(
    pd.DataFrame(rows),
    source="predictions/explanation.parquet",
    caption="Means of single random draws",
    index=False,
)

# %% [markdown]
# ## The sanity check itself
# Are the maps of the randomised networks *similar* to the trained one's, wherever they point? Spearman's
# correlation over the cells, slice by slice: one if both rank all cells alike, about zero if they have nothing in
# common. A high value against the random network would mean that the map shows the picture and not what was learnt;
# against the centre, that it mostly shows where the head is.

# %%
rows = [
    {"map": name, "source": source, "similarity to the trained map": figures["spearman"]}
    for name in compared
    for source, figures in maps[name].items()
]
show_table(
    pd.DataFrame(rows),
    source="predictions/explanation.parquet",
    caption="Similarity to the trained map",
    index=False,
)

# %% [markdown]
# ## A balanced gallery
# Equally many right and wrong answers of both kinds, or as many as there are, drawn by the seed and not by their
# looks. All maps are on one scale, so that weak evidence looks weak; a bare slice has none. The outline is the true
# mask, where it is known; the number is the probability of a tumour.

# %%
titles = [f"{row.source}, p = {row.tumor_prob:.2f}" for row in gallery.itertuples()]
show_figure(
    map_gallery(
        study.samples(list(gallery["id"])), maps_of(study, gallery), titles, kinds=list(gallery["kind"])
    ),
    alt="Slices under their maps in rows: true positives, false negatives, true negatives, false positives.",
    source="predictions/joint.parquet",
)

# %% [markdown]
# ## Failures: found, but for another reason?
# Slices whose tumour was found while the least of the map's energy lay on it, the worst first.

# %% tags=["optional-figure"]
astray = off_target(predictions, explanations, n=8)
if len(astray):
    titles = [f"{row.source}, inside {row.energy_inside:.2f}" for row in astray.itertuples()]
    show_figure(
        map_gallery(study.samples(list(astray["id"])), maps_of(study, astray), titles),
        alt="Found tumours with the least energy of the map on them; true masks outlined.",
        source="predictions/explanation.parquet",
    )
else:
    print("no slice with a known mask was found")

# %% [markdown]
# ## Literature
# Grad-CAM: Selvaraju et al., ICCV 2017. The pointing game: Zhang et al., International Journal of Computer Vision
# 2018, there with a tolerance of fifteen pixels. The energy-based one: Wang et al., Score-CAM, CVPR workshops 2020.
# Randomised networks as a sanity check: Adebayo et al., NeurIPS 2018; they randomise layer by layer from the top,
# here only the first step (the head) and the last (everything) are taken.

# %% [markdown]
# ## Limitations
# - A map that hits says that evidence arises at the tumour, not that the tumour is the reason: nothing was
#   changed in the pictures.
# - Only evidence *for* a tumour is shown. What speaks against it, and what cancels out, is not.
# - A small tumour in a coarse grid cannot be hit but by luck; compare with the coarse mask and not with one.
# - Slices without a known mask take no part in the pointing game: it is about the sources that have masks.
# - The head itself is known only as what is not background in the prepared slice.
#
# "The network looks at the tumour" would be wrong here if the trained maps did not beat the centre and the random
# networks on the same slices, if they resembled the random networks' maps, or if most of their energy lay outside
# the head. "The head decides by the tumour" needs more: that the trained head beats even the luckiest random one.

# %% [markdown]
# ## Results
# The section `explanation` of `metrics.json`.

# %%
section = {
    "maps": maps,
    "trained_minus": differences,
    "readings": {
        name: {figure: reading(found["pooled"]) for figure, found in figures.items()}
        for name, figures in differences.items()
    },
    "luck": luck,
    "resolution": fineness,
    "gallery": {
        kind: {"shown": len(rows), "available": int(rows["available"].max())}
        for kind, rows in gallery.groupby("kind")
    },
    "headline": [
        {"label": "Pointing hit, trained", "value": maps["trained"]["pooled"]["pointing_hit"]},
        {"label": "the same, random network", "value": maps["random_network"]["pooled"]["pointing_hit"]},
        {"label": "Energy outside the head", "value": maps["trained"]["pooled"]["energy_outside_head"]},
    ],
}
write_metrics(study.run.path, "explanation", section)

# %% [markdown]
# The picture of the answer: the trained map between those who know less and the true mask on the same grid.

# %%
bars = [
    {"label": name.replace("_", " "), "estimate": found["pooled"][figure], "group": shown[figure]}
    for figure in ("pointing_hit", "energy_inside")
    for name, found in maps.items()
]
chance = maps["trained"]["pooled"]["chance"].value

# %% [markdown]
# ## Executive summary
# In short, as it stands at the top of the report:

# %% tags=["headline"]
display(
    claim(
        "The trained map's maximum lies on the tumour in {explanation.maps.trained.pooled.pointing_hit:full} of the slices "
        "with a mask; by chance it would in {explanation.maps.trained.pooled.chance:value}. A network with random weights "
        "reaches {explanation.maps.random_network.pooled.pointing_hit} (trained: "
        "*{explanation.readings.random_network.pointing_hit:text}*), the centre of the head "
        "{explanation.maps.centre.pooled.pointing_hit} (trained: *{explanation.readings.centre.pointing_hit:text}*), "
        "random heads on the trained encoder {explanation.maps.random_head.pooled.pointing_hit} on average (trained: "
        "*{explanation.readings.random_head.pointing_hit:text}*) and the luckiest of "
        "{explanation.luck.random_head.pointing_hit.draws} draws {explanation.luck.random_head.pointing_hit.highest}. "
        "Of the map's energy {explanation.maps.trained.pooled.energy_inside} lies on the tumour (the true mask itself has "
        "{explanation.maps.coarse_mask.pooled.energy_inside:value} on the same grid of {explanation.resolution.cells} "
        "cells a side) and {explanation.maps.trained.pooled.energy_outside_head} outside the head.",
        study.run.metrics,
    )
)
show_figure(
    forest_plot(
        bars,
        xlabel="Share (slices with a known mask)",
        reference=chance,
        reference_label="chance",
        limits=(-0.02, 1.02),
    ),
    alt="Pointing hit and energy inside the mask with intervals: trained, random and centre maps, the true mask made coarse.",
    source="metrics.json#/explanation",
)
