# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Histology: the tiles, and the few nuclei that somebody outlined
#
# **Question.** An annotator outlines some nuclei of a tile and leaves the rest: what does a network get to see, what is
# hidden from it, and how far does one get without learning anything?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/histology/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/histology/
data_root: str = ""  # folder of the data sets
tiles: str = "phantom"  # phantom, or a folder below data_root
outside: str = "phantom"  # outside test set: phantom, a folder below data_root; empty: none
fractions: str = "0.1,1"  # shares of the nuclei that are outlined, by comma
hv: str = "distance"  # what the second decoder regresses: distance or hover
patch: int = 64  # pixels along a side of a patch
min_positive_pixels: int = 100  # outlined pixels that a patch has at least
n_bootstrap: int = 1000  # bootstrap resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("histology", globals())

# %% [markdown]
# ## The tiles
# A tile is a colour picture with an id for every nucleus. Tiles of one *group* (a slide, or a cluster of colours where
# slides are not known) are tested together or not at all; validation tiles are drawn at random from the groups that are not
# tested, so that they are like the training tiles, and are used to choose and never to judge. *Appearance* is what kind
# of picture it is: scores are given for each kind as well, because a mean over kinds hides the worst one.

# %%
import numpy as np
import pandas as pd
from mtl.evaluation.histology import summarise_images
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_histology import OTHER, TRUTH, maps_of_tile, nuclei_grid
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.histology.answers import data_answer
from mtl.studies.histology.scoring import OUTSIDE, TEST, score_otsu
from mtl.studies.histology.study import HistologyStudy

use_report_style()
study = HistologyStudy(parameters)
everything = list(study.tiles.values())
rows = [
    {"group": t.group, "appearance": t.appearance or "-", "tiles": 1, "nuclei": len(t.nucleus_ids)}
    for t in everything
]
by_group = pd.DataFrame(rows).groupby(["group", "appearance"], sort=True).sum().reset_index()
shown_groups = by_group.nlargest(12, "tiles")
caption = f"Tiles of {parameters.tiles}: the largest of {by_group['group'].nunique()} groups"
show_table(shown_groups, source="split.json", caption=caption, index=False)

# %% [markdown]
# One tile of every appearance and of some groups, with the true nuclei.

# %%
kinds = {(t.appearance, t.group): t for t in everything}
seen = sorted(kinds.values(), key=lambda t: (t.appearance, t.group))[:8]
show_figure(
    nuclei_grid(
        [t.image for t in seen],
        [{"nuclei": t.instances} for t in seen],
        [" · ".join(word for word in (t.appearance, t.group) if word) for t in seen],
        {"nuclei": TRUTH},
    ),
    alt="Tiles of several groups with the outlines of their nuclei.",
    source="split.json",
    caption="Pictures are paler than they are, so that outlines stand out.",
)

# %% [markdown]
# ## Parts
# Every fold tests one group, or a few of the smallest together; validation tiles are drawn from what is left. The ids and
# their hash are frozen in `split.json`: arms that were tested on other tiles cannot be compared.

# %%
rows = [
    {
        "fold": fold + 1,
        "tested groups": ", ".join(study.split.tested_groups[fold]),
        **{name: len(study.part(fold, name)) for name in ("train", "validation", "test")},
        "test nuclei": sum(len(t.nucleus_ids) for t in study.part(fold, "test")),
    }
    for fold in study.folds
]
show_table(pd.DataFrame(rows), source="split.json", caption="Folds, in tiles", index=False)

# %% [markdown]
# Groups that were guessed from colours can cut through a slide. The audit compares grey thumbnails of all tiles of the
# first fold and of the outside set (perceptual hash, then correlation, flips and turns included) and lists near copies
# that lie in different parts: candidates to look at, not proof of a leak.

# %%
from mtl.datasets.near_duplicates import audit_split

in_parts = {name: study.part(0, name) for name in ("train", "validation", "test")} | {
    "outside": study.outside_tiles
}
pictures = {
    f"{name}/{t.id}": t.image.mean(-1)
    for name, tiles in in_parts.items()
    for t in tiles
    if np.ptp(t.image.mean(-1))
}
leaks = audit_split(pictures, {key: key.partition("/")[0] for key in pictures})
if len(leaks):
    caption = f"Most alike tiles in different parts ({len(leaks)} pairs)"
    display(
        show_table(leaks.head(8).round({"correlation": 3}), source="split.json", caption=caption, index=False)
    )
else:
    print(f"none of {len(pictures)} tiles looks like a copy of one in another part")

# %% [markdown]
# ## What is outlined
# Each nucleus is outlined with one chance, decided by a seed, the tile and the nucleus: what a smaller share reveals, a
# larger one reveals too. A pixel outside the outlines is *not labelled*; it is not background.

# %%
from mtl.datasets.histology import reveal_all

train, first = study.part(0, "train"), study.first
smallest = reveal_all(train, first.fraction, study.label_seed(first))
pixels = sum(t.instances.size for t in train)
told = [
    {
        "share asked for": share,
        "outlined": sum(len(np.unique(labels)) - 1 for labels in revealed),
        "of nuclei": sum(len(t.nucleus_ids) for t in train),
        "tiles with none": sum(not labels.any() for labels in revealed),
        "outlined pixels": sum(int((labels > 0).sum()) for labels in revealed) / pixels,
        "nucleus pixels": sum(int((t.instances > 0).sum()) for t in train) / pixels,
    }
    for share in parameters.label_fractions
    for revealed in [reveal_all(train, share, study.label_seed(first))]
]
caption = "What the first fold's training part tells"
show_table(
    pd.DataFrame(told), source="metrics.json#/data_and_sparse_labels/told", caption=caption, index=False
)

# %% [markdown]
# What the network is told, beside what is there.

# %%
order = np.argsort([-(labels > 0).sum() for labels in smallest], kind="stable")[:4]
show_figure(
    nuclei_grid(
        [train[i].image for i in order],
        [{"not outlined": train[i].instances, "outlined": smallest[i]} for i in order],
        [train[i].group for i in order],
        {"outlined": OTHER, "not outlined": TRUTH},
    ),
    alt="Training tiles with the nuclei that are outlined and those that are not.",
    source="split.json",
    caption=f"The tiles with the most outlined pixels at {first.fraction:.0%} of the labels.",
)

# %% [markdown]
# ## Patches and maps
# Training draws patches that hold some outlined pixels. The second decoder regresses where in its nucleus a pixel lies:
# the *distance map* is one at the pixel farthest from the centre and least at the centre, the two *HoVer maps* run from
# minus one to one across each nucleus. Maps are made from the ids, so that touching nuclei have two centres.

# %%
from mtl.targets.histology import HV_MAPS

patch = study.loader(first).dataset[0]
names = {"distance": ["distance map"], "hover": ["horizontal", "vertical"]}[parameters.hv]
maps = {"outlined": patch["masks"][0].numpy()}
maps |= {name: plane.numpy() for name, plane in zip(names, patch["hv_maps"], strict=True)}
tile_maps = HV_MAPS[parameters.hv](train[order[0]].instances)
maps |= {f"{name}, all nuclei of a tile": plane for name, plane in zip(names, tile_maps, strict=True)}
show_figure(
    maps_of_tile(patch["images"].permute(1, 2, 0).numpy(), maps),
    alt="A training patch, its outlined nuclei, their maps, and the maps of all nuclei of a whole tile.",
    source="split.json",
)

# %% [markdown]
# ## Without learning: Otsu and a watershed
# The haematoxylin of stained tissue (or the brightness of a dark picture) is thresholded by Otsu's method, and touching
# nuclei are parted by a watershed between the peaks of the distance inside the mask. Its two settings are chosen on the
# validation tiles, like those of every decoding later.
#
# *PQ* is the product of *DQ* (objects found, at more than half of the union) and *SQ* (how well these overlap); *AJI*
# adds up the pixels of best partners; *AP50* is $TP / (TP + FP + FN)$; *F1* counts centres that lie near one another;
# *Dice* takes all nuclei as one mask. All are means over images.

# %%
METRICS = ("pq", "dq", "sq", "aji", "ap50", "f1", "dice")
scores = pd.concat([score_otsu(study, fold) for fold in study.folds], ignore_index=True)
otsu = {
    part: summarise_images(scores[scores["part"] == part], METRICS, n_resamples=parameters.n_bootstrap)
    for part in (TEST, OUTSIDE)
    if (scores["part"] == part).any()
}
rows = [
    {
        "part": part,
        "images": found["pq"].n,
        **{name.upper() if name != "dice" else "Dice": e for name, e in found.items()},
    }
    for part, found in otsu.items()
]
show_table(
    pd.DataFrame(rows),
    source="predictions/",
    caption="Tuned Otsu watershed; intervals over images",
    index=False,
)

# %% [markdown]
# ## What it means
# Where nuclei are the only dark blue thing, Otsu's threshold is hard to beat; debris, thick stroma and pale nuclei are
# what a network has to learn. The interval is over images of these groups and says nothing of other laboratories.
#
# ## Data and literature
# The phantom is made by this package. Real sets, with their licences as far as they were stated where the copies came
# from: *DSB 2018*, stage 1 (Caicedo et al. 2019, *Nature Methods* 16:1247; BBBC038v1, believed to be CC0, not verified);
# *CPM-15*, MICCAI 2015 segmentation challenge (TCGA tiles; licence not stated). Revealing a share of positive labels makes
# this a positive-unlabelled problem (Bekker and Davis 2020, *Machine Learning* 109:719). PQ: Kirillov et al. 2019, *CVPR*;
# AJI: Kumar et al. 2017, *IEEE TMI* 36:1550; Otsu 1979. For research only.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
section = {
    "tiles": len(everything),
    "groups": len({t.group for t in everything}),
    "nuclei": sum(len(t.nucleus_ids) for t in everything),
    "training_nuclei": told[0]["of nuclei"],
    "outlined": told[0]["outlined"],
    "outlined_pixels": told[0]["outlined pixels"],
    "told": told,
    "near_copies_across_parts": len(leaks),
    "otsu": otsu[TEST],
    "otsu_outside": otsu.get(OUTSIDE),
    "headline": [
        {"label": "PQ without learning (Otsu and watershed)", "value": otsu[TEST]["pq"]},
        {"label": "Nuclei outlined for training", "value": told[0]["outlined"]},
    ],
}
write_metrics(study.run.path, "data_and_sparse_labels", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(data_answer(section), study.run.metrics))
show_figure(
    nuclei_grid(
        [train[i].image for i in order],
        [{"not outlined": train[i].instances, "outlined": smallest[i]} for i in order],
        [train[i].group for i in order],
        {"outlined": OTHER, "not outlined": TRUTH},
    ),
    alt="Training tiles with the nuclei that are outlined and those that are not.",
    source="split.json",
)
