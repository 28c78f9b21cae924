# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # EM: the volume, and what a network is asked to say about it
#
# **Question.** Neurons fill the tissue and touch each other everywhere: what is in the volume, what is a network told of
# it, and how far does one get without a network?

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
gap_planes: int = -1  # unused planes between two parts; -1: 16, or a sixth of a thin volume
contact_membrane: int = 1  # voxels between touching objects that are learnt as background
label_fraction: float = 1.0  # chance of an object to be labelled
weight_geometry: float = 0.1  # of the geometry loss; 0 leaves loss and head out
dir_target: str = "centroid"  # where directions point: centroid or skeleton
min_object_voxels: int = 50  # smaller objects count neither as truth nor as found
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("em", globals())

# %% [markdown]
# ## The volume
# Labels are instance ids: background (membranes, where they are labelled) is zero, voxels that nobody annotated are
# *unknown* and enter no loss and no metric. Distances are in nanometres: sections are often thicker than pixels are
# wide, and a network or a metric that forgets this sees squashed cells. Every volume is one of two kinds:
#
# - in 3-D an object is a piece of a neuron, followed through the planes;
# - in 2-D every plane is a sample: an object is a profile in one plane, and its id is found in no other plane.

# %%
import numpy as np
import pandas as pd
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_em import planes, three_planes, three_views
from mtl.reporting.figures_em_targets import target_pictures
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.em.answers import data_answer
from mtl.studies.em.data import object_sizes
from mtl.studies.em.study import EMStudy

use_report_style()
study = EMStudy(parameters)
image, labels = study.volume.read(study.volume.box)
sizes = object_sizes(labels)
facts = {
    "voxels (z, y, x)": " x ".join(map(str, study.volume.shape)),
    "nm per voxel": " x ".join(f"{step:g}" for step in study.volume.spacing),
    "objects": len(sizes),
    "objects that count": int((sizes >= parameters.min_object_voxels).sum()),
    "background": float((labels == 0).mean()),
    "unknown": float((labels < 0).mean()),
}
caption = f"Volume {study.volume.name}"
show_table(pd.DataFrame([facts]), source="metrics.json#/data_and_targets", caption=caption, index=False)

# %% [markdown]
# In 3-D three cuts through the middle, in true proportions; in 2-D three planes. Neighbouring objects differ in colour,
# but colours are fewer than objects; black lines are where ids change; grey is unknown.

# %%
if study.volume.planar:
    figure, shown_planes = three_planes(image, labels), "Three planes"
else:
    figure, shown_planes = three_views(image, labels, study.volume.spacing), "Middle planes across z, y and x"
show_figure(figure, alt=f"{shown_planes} of the volume with its objects in colour.")

# %% [markdown]
# Many objects of a small volume are pieces that its faces cut off. Metrics that count objects leave out those below
# `min_object_voxels`, in truth and prediction alike; Rand and information weigh by size anyway.

# %%
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

figure, axis = plt.subplots(figsize=(7.2, 3))
axis.hist(sizes, bins=np.geomspace(sizes.min(), sizes.max() + 1, 31), color="#0072B2")
axis.axvline(parameters.min_object_voxels, color="#D55E00", linestyle="--", label="smallest that counts")
axis.set(xscale="log", xlabel="Voxels of an object", ylabel="Objects")
axis.yaxis.set_major_locator(MaxNLocator(integer=True))
axis.legend(loc="lower left", bbox_to_anchor=(0, 1))
show_figure(figure, alt="Histogram of object sizes in voxels, with the smallest size that counts as a line.")

# %% [markdown]
# ## Parts that do not touch
# One volume is split by z, and neighbouring planes show the same neurites, in 2-D as well: without a gap the network
# would be tested on what it has just seen. The ranges and their hash are frozen in `split.json`.

# %%
rows = [
    {
        "part": name,
        "planes": f"{getattr(study.split, name)[0]} to {getattr(study.split, name)[1] - 1}",
        "voxels": int(np.prod(part.shape)),
        "objects": len(found := object_sizes(part.read_labels(part.box))),
        "that count": int((found >= parameters.min_object_voxels).sum()),
    }
    for name, part in study.parts.items()
]
show_table(
    pd.DataFrame(rows),
    source="split.json",
    caption=f"Parts, {study.split.gap} planes apart",
    index=False,
)

# %% [markdown]
# ## Crops
# Training draws crops. An object that a crop cuts into several pieces becomes several objects; where cells touch
# without a labelled membrane, a line of background is drawn between them (`contact_membrane`), for the training only.
# A crop with known and unknown voxels is *fractionary*, one without unknown voxels *interactive*.
#
# What the network is told of the training part can be less than what is labelled, for two reasons. With a
# `label_fraction` below one only some objects keep their labels; it is a chance per object, so the share that came out
# differs from what was asked for, and differs between objects and voxels. And an object so thin that the drawn line
# covers all of it is lost as an object, at any `label_fraction`.

# %%
from mtl.studies.em.labelled_share import labelled_share

first = parameters.arms[0]
told = labelled_share(study, first)
row = {
    "chance per object": told["asked"],
    "labelled": f"{told['labelled']} of {told['objects']} objects",
    "share of objects": told["objects_share"],
    "of object voxels, the line included": told["foreground_share"],
    "object voxels in the line, taught as background": told["line_share"],
    "of all voxels, background included": told["known_share"],
}
show_table(
    pd.DataFrame([row]),
    source="metrics.json#/data_and_targets/told",
    caption="Training part: what the network is told",
    index=False,
)

# %% [markdown]
# A few crops as the network gets them, each by its middle plane; of every kind one if there is one among the first
# that are drawn.

# %%
from mtl.studies.em.shown_parts import crops_of_each_kind

samples = crops_of_each_kind(study, first)
images = [sample["image"][0].numpy() for sample in samples]
crops = [sample["labels"].numpy() for sample in samples]
modes = [sample["mode"] or "nothing known" for sample in samples]
middle = [len(crop) // 2 if crop.ndim == 3 else ... for crop in crops]
figure = planes(
    [i[m] for i, m in zip(images, middle, strict=True)],
    [c[m] for c, m in zip(crops, middle, strict=True)],
    modes,
)
show_figure(
    figure,
    alt="The middle planes of a few training crops with their objects; unknown voxels are grey.",
    source="split.json",
    caption="Grey: unknown. Without colour: background, labelled or drawn between touching objects.",
)

# %% [markdown]
# ## Targets
# Every head's target is computed from the labels of the crop, in nanometres, for all objects at once:
#
# - *semantic*: foreground or background;
# - *instance*: an embedding, near its object's mean and far from other means; a voxel weighs $w = e\,b$, more at
#   boundaries ($e$) and towards the middle of its object ($b$, from the distance transform $D$);
# - *geometry* (unless `weight_geometry` is zero: then there is neither head nor target): the unit vector to the
#   object's centroid or the nearest voxel of its skeleton (`dir_target`); the structure tensor
#   $T = G * (g g^\top) / G * 1$ of the gradient $g = \nabla D$, mixed with isotropy near the medial axis; and *raw*, the
#   image and the foreground themselves.

# %%
number = next((i for i, crop in enumerate(crops) if (crop > 0).any()), 0)
plane, targets = middle[number], samples[number]["targets"]
of_plane = {name: found.numpy() for name, found in targets.items()}
if parameters.dims == 3:
    of_plane = {name: found[..., plane, :, :] for name, found in of_plane.items()}
seen = (images[number][plane], crops[number][plane])
figure = target_pictures(*seen, of_plane, study.volume.spacing[1:], parameters.dir_target)
said = "Light grey: no object; darker grey: unknown; blue: foreground. The weight has no unit; its scale is logarithmic."
if "direction" in of_plane:
    leaning = "; where they lean out of the plane they are shorter" if parameters.dims == 3 else ""
    said += f" Arrows: unit vectors, one of every few pixels{leaning}. Of the structure tensor, which has no unit either, "
    said += "trace and coherence stand for its entries: coherence is one at a wall, where all gradients are parallel, "
    said += "and zero where they point all ways."
show_figure(
    figure, alt="One plane with the image and every target of this run.", source="split.json", caption=said
)

# %% [markdown]
# ## Without a network: the intensity watershed
# Stained membranes are dark, so a watershed on the smoothed image already finds many cells. Its few settings are tuned
# on the validation part, by the same search that tunes every decoding of a network later. This is what a network has
# to beat.
#
# *What is scored*: voxels of true objects. True background and unknown voxels are left out of every metric; every method
# fills them, which costs and earns nothing (as in SNEMI3D and CREMI). *Adapted Rand error*: lower is better. *Split* and
# *merge* are in bits, lower is better. *AP50* and *PQ* count objects, higher is better: one is found where it and an
# instance share more than half of their union. With found objects $TP$, false ones $FP$ and missed ones $FN$,
# $AP50 = TP / (TP + FP + FN)$; $PQ$ is the sum of the found objects' overlaps, $\sum IoU / (TP + FP/2 + FN/2)$.

# %%
from mtl.studies.em.segmentation import INTENSITY, segment_image
from mtl.studies.em.segmentation_scores import SHOWN, block_kind, object_planes, scores_of

baseline = segment_image(study)
scores = scores_of(study, baseline.labels)
rows = [{"method": INTENSITY, **{label: scores[name] for name, label in SHOWN.items()}}]
show_table(
    pd.DataFrame(rows),
    source="segmentations/no_network/intensity_watershed.npz",
    caption=f"Test part, without a network; intervals over {scores['adapted_rand'].n} {block_kind(study)}",
    index=False,
)

# %% [markdown]
# ## What it means
# The adapted Rand error is zero where every pair of voxels is rightly together or apart. The two halves of the variation
# of information say in which way a segmentation is wrong: *split* grows where one neuron is cut into several, *merge*
# where several are taken for one. An intensity watershed that came near to zero would leave nothing to learn here.

# %% [markdown]
# ## Data and literature
# The phantom is made by this package. The volumes that the files in `params/em` name, with their licences as far as they
# were stated where the copies came from:
#
# - *FIB-25*, training sample of NeuroProof (Takemura et al. 2015, *PNAS* 112:13711; Parag et al. 2015, *PLoS ONE*
#   10:e0125825): FlyEM, Janelia, github.com/janelia-flyem/neuroproof_examples; attribution licence, text beside the data.
# - *gala*'s example volumes (Nunez-Iglesias et al. 2013, *PLoS ONE* 8:e71715; 2014, *Front. Neuroinform.* 8:34): FlyEM,
#   Janelia, github.com/janelia-flyem/gala; the repository's licence is BSD-like, nothing separate is stated for the data.
# - *ISBI 2012* (Cardona et al. 2010, *PLoS Biol.* 8:e1000502; Arganda-Carreras et al. 2015, *Front. Neuroanat.* 9:142): no
#   licence stated in the copy; the challenge allowed free research use with citation.
#
# Method: instances by a discriminative loss (De Brabandere et al. 2017,
# [arXiv](https://arxiv.org/abs/1708.02551)); adapted Rand error
# (Arganda-Carreras et al. 2015); variation of information (Meila 2007, *J. Multivariate Anal.* 98:873); panoptic quality
# (Kirillov et al. 2019, *CVPR*). For research only.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
section = {
    **{name.split(" (")[0].replace(" ", "_"): value for name, value in facts.items()},
    "parts": {name: part.shape[0] for name, part in study.parts.items()},
    "told": told,
    "watershed": scores,
    "blocks": block_kind(study),
    "headline": [
        {"label": f"Adapted Rand error (lower is better), {INTENSITY}", "value": scores["adapted_rand"]},
        {"label": "Objects that count", "value": facts["objects that count"]},
    ],
}
write_metrics(study.run.path, "data_and_targets", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(data_answer(section), study.run.metrics))
shown, titles = object_planes(study, {"truth": study.test_labels, INTENSITY: baseline.labels})
show_figure(
    planes(*shown, titles, ncols=4),
    alt="Planes of the test part with the true objects and those of the intensity watershed.",
    source="segmentations/no_network/intensity_watershed.npz",
    caption="Colours are arbitrary: black lines are what counts. Grey: unknown. Truth without colour: background, which "
    "is not scored and which every method fills.",
)
