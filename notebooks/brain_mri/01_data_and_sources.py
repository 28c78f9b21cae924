# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Brain MRI: what the sources hold
#
# **Question.** Several sources feed one model: what do they hold, what sets them apart besides the
# brain, and how much of the answer can be had without looking at the brain at all?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/brain_mri/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/brain_mri/
data_root: str = ""  # folder with the real data sets; empty: phantoms
image_size: int = 64  # pixels along a side
phantom_patients: int = 240  # patients of the phantom, over both scanners
phantom_rho: float = 0.5  # how far the scanner gives the class away (0: not at all, 1: wholly)
n_folds: int = 1  # folds of the cross-validated sources
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
import numpy as np
import pandas as pd
from mtl.studies.parameters import read_parameters

parameters = read_parameters("brain_mri", globals())

# %% [markdown]
# ## The slices
# Every source is read by a loader of its own into the same sample: an image, a mask where there is one, a
# yes/no label, and the group (patient, or set of near-duplicates) that a split must keep together. A slice
# is positive when its mask has at least `min_tumor_pixels` pixels; a source without masks brings its label.

# %%
from mtl.evaluation.brain_mri import by_stage_and_source, classification_table
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import image_grid, show_figure, use_report_style
from mtl.reporting.figures_brain_mri import slice_grid
from mtl.reporting.figures_results import forest_plot
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.brain_mri.predictions import write_baseline_predictions
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.studies.parameters import project_path

use_report_style()
study = BrainMriStudy(parameters)
slices = study.dataset.table
by_source = slices.groupby("source").agg(
    slices=("id", "size"),
    groups=("group", "nunique"),
    tumour=("cls", "sum"),
    masks=("has_mask", "sum"),
)
by_source["no mask"] = by_source["slices"] - by_source["masks"]
show_table(by_source, source="slices.parquet", caption="Slices by source")

# %% [markdown]
# What the loaders left out or put right, if anything. Files are named from the data root on.

# %%
root = f"{project_path(parameters.data_root)}/" if parameters.data_root else ""
findings = pd.DataFrame(
    [(f.severity, f.where.replace(root, ""), f.message.replace(root, "")) for f in study.dataset.problems],
    columns=["severity", "where", "what"],
)
if len(findings):
    display(show_table(findings, source="slices.parquet", caption="Findings of the loaders", index=False))
else:
    print("the loaders found nothing to complain about")

# %% [markdown]
# A missing mask is *unknown*, not empty: the segmentation loss skips such a slice. A negative slice of a
# source with masks has a known, empty mask.
#
# Here are slices of each source as the network sees them, positives first. The outline is the mask.

# %%
rng = np.random.default_rng(parameters.seed)
shown = []
for _, rows in slices.groupby(["source", "cls"], sort=False):
    shown += list(rng.choice(rows["id"], size=min(4, len(rows)), replace=False))
rows = slices.set_index("id").loc[shown].sort_values(["source", "cls"], ascending=[True, False])
samples = study.samples(list(rows.index))
figure = slice_grid(samples, [f"{s['source']}, {'tumour' if s['cls'] else 'no tumour'}" for s in samples])
show_figure(
    figure,
    alt="Prepared slices of every source, with and without tumour; tumour masks are outlined where known.",
    source="slices.parquet",
)

# %% [markdown]
# ## One preparation for all
# Sources differ in picture size, border, grey scale and format, and a network will use whatever differs
# together with the label. So every slice goes through one preparation, which is stored with the model:
#
# $$ z = \mathrm{clip}\!\left(\frac{x - \mu_M}{\sigma_M},\, -5,\, 5\right) \text{ inside the head } M,
# \qquad 0 \text{ outside,}$$
#
# then a crop to the head, a square, and one size. Left of each pair is the file as it is, right what the
# network sees.

# %%
pairs, titles = [], []
for source, rows in slices.groupby("source"):
    for name in rng.choice(rows["id"], size=min(2, len(rows)), replace=False):
        native, _ = study.dataset.native(name)
        pairs += [native / native.max(), (study.samples([name])[0]["image"][0].numpy() + 3) / 6]
        titles += [f"{source}: {native.shape[1]} x {native.shape[0]} px", "prepared"]
figure = image_grid(pairs, titles=titles, ncols=4, limits=(0, 1))
show_figure(figure, alt="Native slices of every source beside the same slices after preparation.")

# %% [markdown]
# ## Lesions
# Small lesions make for a hard Dice: a pixel more or less counts. The distribution of lesion sizes tells
# which scores can be expected.

# %%
import matplotlib.pyplot as plt

figure, axis = plt.subplots(figsize=(7.2, 3))
for source, rows in slices[slices["has_mask"] & (slices["cls"] == 1)].groupby("source"):
    masks = [sample["mask"].mean().item() for sample in study.samples(list(rows["id"]))]
    axis.hist(masks, bins=np.linspace(0, 0.3, 31), histtype="step", linewidth=1.8, label=source)
axis.set(xlabel="Share of the prepared picture that is lesion", ylabel="Slices", title="Lesion sizes")
axis.legend()
show_figure(figure, alt="Histogram of lesion sizes by source, as a share of the picture.")

# %% [markdown]
# ## The frozen split
# Parts are disjoint by group and stratified by class; the ids and their hash are frozen in `split.json`.
# In a cross-validated source every slice is tested once, out of fold; the other sources keep one test part
# for all folds.

# %%
counts = [
    {"fold": fold + 1, "part": part, **study.rows(fold, part).groupby("source").size()}
    for fold in study.folds
    for part in ("train", "validation", "test")
]
show_table(pd.DataFrame(counts), source="split.json", caption="Slices per fold, part and source", index=False)

# %% [markdown]
# Groups are only as good as what they were made from. The audit compares prepared pictures across the
# parts of the first fold (perceptual hash, then thumbnail correlation, flips and turns included) and lists
# what looks like a near copy on two sides (a correlation of `0.98` or more). Different patients can look alike in small pictures, so the pairs
# are candidates to look at, not proof of a leak.

# %%
from mtl.datasets.near_duplicates import audit_split

parts = {name: part for part in ("train", "validation", "test") for name in study.rows(0, part)["id"]}
pictures = {s["id"]: s["image"][0].numpy() for s in study.samples(list(parts))}
leaks = audit_split(pictures, parts, min_correlation=0.98)
if len(leaks):
    shown = leaks.head(8).assign(correlation=leaks["correlation"].head(8).round(3))
    caption = f"Most alike pairs across parts of the first fold ({len(leaks)} pairs)"
    display(show_table(shown, source="split.json", caption=caption, index=False))
else:
    print("no pair across parts looks like a copy")

# %% [markdown]
# ## What can be known without the brain
# Three baselines that any network must beat: the source alone, a logistic regression on the histogram of
# grey values (intensities without shape), and the most frequent answer. The source alone scores exactly as
# well as the sources differ in prevalence; within one source it knows nothing.

# %%
baselines = write_baseline_predictions(study)
table = classification_table(baselines, n_resamples=parameters.n_bootstrap, seed=parameters.seed)
found = by_stage_and_source(table)
labels = {
    "majority": "most frequent answer",
    "source_only": "source alone",
    "histogram": "grey-value histogram",
}
rows = [
    {"label": label, "estimate": metrics["roc_auc"], "group": source}
    for source in [*by_source.index, "pooled"]
    for stage, label in labels.items()
    if "roc_auc" in (metrics := found[stage].get(source, {}))
]

# %% [markdown]
# ## What it means
# If the pooled bars stand far above the bars of each source, a mixed-source AUC is partly a measure of
# telling sources apart. That is why every later table has a row per source beside the pooled one. The
# concern would be unfounded if the source alone scored at chance on the mixed test part.

# %% [markdown]
# ## Results
# The figures of this notebook go to `metrics.json`; the answer reads them from there.

# %%
n_slices, n_groups = len(slices), slices["group"].nunique()
write_metrics(
    study.run.path,
    "data_and_sources",
    {
        "slices": n_slices,
        "groups": n_groups,
        "sources": len(by_source),
        "unmasked": int((~slices["has_mask"]).sum()),
        "near_duplicate_pairs_across_parts": len(leaks),
        "source_only": found["source_only"]["pooled"]["roc_auc"],
        "histogram": found["histogram"]["pooled"]["roc_auc"],
        "headline": [
            {"label": "ROC-AUC of the source alone", "value": found["source_only"]["pooled"]["roc_auc"]},
            {
                "label": "ROC-AUC of the grey-value histogram",
                "value": found["histogram"]["pooled"]["roc_auc"],
            },
        ],
    },
)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(
    claim(
        "**Without looking at the brain**, the source alone reaches a ROC-AUC of "
        "{data_and_sources.source_only} on the mixed test part, and a histogram of grey values "
        "{data_and_sources.histogram}. The run has {data_and_sources.slices} slices of "
        "{data_and_sources.groups} groups from {data_and_sources.sources} sources; "
        "{data_and_sources.unmasked} slices have no mask.",
        study.run.metrics,
    )
)
figure = forest_plot(rows, xlabel="ROC-AUC on the test part", reference=0.5, reference_label="chance")
show_figure(
    figure,
    alt="ROC-AUC of three trivial baselines with confidence intervals, for each source and pooled.",
    source="predictions/baselines.parquet",
)
