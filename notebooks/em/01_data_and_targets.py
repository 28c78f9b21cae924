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
# **Question.** Neurons fill the tissue and touch each other everywhere: what does a network learn from instance
# labels that are partly missing, and how far does one get without a network?

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
# *unknown* and enter no loss and no figure. Distances are in nanometres: sections are often thicker than pixels are
# wide, and a network or a metric that forgets this sees squashed cells.

# %%
from itertools import islice

import numpy as np
import pandas as pd
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_em import planes, target_pictures, three_views
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.em.study import EMStudy

use_report_style()
study = EMStudy(parameters)
image, labels = study.volume.read(study.volume.box)
sizes = np.unique(labels[labels > 0], return_counts=True)[1]
facts = {
    "voxels (z, y, x)": " x ".join(map(str, study.volume.shape)),
    "nm per voxel": " x ".join(f"{step:g}" for step in study.volume.spacing),
    "objects": len(sizes),
    "objects that count": int((sizes >= parameters.min_object_voxels).sum()),
    "background": float((labels == 0).mean()),
    "unknown": float((labels < 0).mean()),
}
show_table(
    pd.DataFrame([facts]),
    source="metrics.json#/data_and_targets",
    caption=f"Volume {study.volume.name}",
    index=False,
)

# %% [markdown]
# Three cuts through the middle, in true proportions. A colour is an object; black lines are where ids change; grey is
# unknown.

# %%
figure = three_views(image, labels, study.volume.spacing)
show_figure(figure, alt="The middle planes across z, y and x of the volume with its objects in colour.")

# %% [markdown]
# Most objects of a small volume are pieces that its faces cut off. Metrics that count objects leave out those below
# `min_object_voxels`, in truth and prediction alike; Rand and information weigh by size anyway.

# %%
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

figure, axis = plt.subplots(figsize=(7.2, 3))
axis.hist(sizes, bins=np.geomspace(sizes.min(), sizes.max() + 1, 31), color="#0072B2")
axis.axvline(parameters.min_object_voxels, color="#D55E00", linestyle="--", label="smallest that counts")
axis.set(xscale="log", xlabel="Voxels of an object", ylabel="Objects")
axis.yaxis.set_major_locator(MaxNLocator(integer=True))
axis.legend()
show_figure(figure, alt="Histogram of object sizes in voxels, with the smallest size that counts as a line.")

# %% [markdown]
# ## Parts that do not touch
# One volume is split by z, and the same neurite runs through several planes: without a gap the network would be tested
# on what it has just seen. The ranges and their hash are frozen in `split.json`.

# %%
rows = [
    {
        "part": name,
        "planes": f"{getattr(study.split, name)[0]} to {getattr(study.split, name)[1] - 1}",
        "voxels": int(np.prod(part.shape)),
        "objects": len(np.unique(part.read_labels(part.box)[part.read_labels(part.box) > 0])),
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
# A crop with known and unknown voxels is *fractionary*, one without unknown voxels *interactive*. With a
# `label_fraction` below one only some objects keep their labels; it is a chance per object, so the share that came out
# differs from what was asked for, and differs between objects and voxels. (Known background counts among all voxels.)

# %%
from mtl.studies.em.labelled_share import labelled_share

first = parameters.arms[0]
told = labelled_share(study, first)
row = {
    "asked for": told["asked"],
    "labelled": f"{told['labelled']} of {told['objects']} objects",
    "of objects": told["objects_share"],
    "of their voxels": told["foreground_share"],
    "of all voxels": told["known_share"],
}
show_table(
    pd.DataFrame([row]),
    source="metrics.json#/data_and_targets/told",
    caption="Training part: what the network is told",
    index=False,
)

# %% [markdown]
# A few crops as the network gets them, each by its middle plane.

# %%
samples = list(islice(study.loader(first).batches(1), 4))
images = [b["image"][0, 0].numpy() for b in samples]
crops = [b["labels"][0].numpy() for b in samples]
modes = [str(b["mode"][0]) for b in samples]
middle = [len(crop) // 2 if crop.ndim == 3 else ... for crop in crops]
figure = planes(
    [i[m] for i, m in zip(images, middle, strict=True)],
    [c[m] for c, m in zip(crops, middle, strict=True)],
    modes,
)
show_figure(
    figure, alt="The middle planes of a few training crops with their objects; unknown voxels are grey."
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
#   $T = G * (g g^\top) / G * 1$ of the gradient $g = \nabla D$, mixed with isotropy near the medial axis; and the image
#   and foreground themselves.

# %%
number = next((i for i, crop in enumerate(crops) if (crop > 0).any()), 0)
plane, targets = middle[number], samples[number]["targets"]
of_plane = {name: found[0].numpy() for name, found in targets.items()}
if parameters.dims == 3:
    of_plane = {name: found[..., plane, :, :] for name, found in of_plane.items()}
seen = (images[number][plane], crops[number][plane])
figure = target_pictures(*seen, of_plane, study.volume.spacing[1:], parameters.dir_target)
drawn = (
    "objects and weights"
    if len(of_plane) == 1
    else "objects, weights, directions, the tensor's trace and coherence"
)
show_figure(figure, alt=f"A plane with every target of this run: {drawn}.")

# %% [markdown]
# ## Without a network
# Stained membranes are dark, so a watershed on the smoothed image already finds many cells. Its few settings are tuned
# on the validation part, by the same search that tunes every decoding of a network later. This is what a network has
# to beat.

# %%
from mtl.studies.em.segmentation import INTENSITY, segment_image
from mtl.studies.em.segmentation_scores import SHOWN, object_planes, scores_of

baseline = segment_image(study)
scores = scores_of(study, baseline.labels)
rows = [{"method": INTENSITY, **{label: scores[name] for name, label in SHOWN.items()}}]
show_table(
    pd.DataFrame(rows),
    source="segmentations/no_network/intensity_watershed.npz",
    caption="Test part, without a network",
    index=False,
)

# %% [markdown]
# ## What it means
# The adapted Rand error is zero where every pair of voxels is rightly together or apart. The two halves of the variation
# of information say in which way a segmentation is wrong: *split* grows where one neuron is cut into several, *merge*
# where several are taken for one. A tuned watershed that came near to zero would leave nothing to learn here.

# %% [markdown]
# ## Results
# The figures of this notebook go to `metrics.json`; the answer reads them from there.

# %%
write_metrics(
    study.run.path,
    "data_and_targets",
    {
        **{name.split(" (")[0].replace(" ", "_"): value for name, value in facts.items()},
        "parts": {name: part.shape[0] for name, part in study.parts.items()},
        "told": told,
        "watershed": scores,
        "headline": [
            {"label": "Adapted Rand error without a network", "value": scores["adapted_rand"]},
            {"label": "Objects that count", "value": facts["objects that count"]},
        ],
    },
)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(
    claim(
        "**Without a network**, a watershed tuned on the validation part reaches an adapted Rand error of "
        "{data_and_targets.watershed.adapted_rand} on the test part; its split is {data_and_targets.watershed.voi_split} and its merge "
        "{data_and_targets.watershed.voi_merge} bits. The volume holds {data_and_targets.objects} objects, "
        "{data_and_targets.objects_that_count} of them large enough to count; {data_and_targets.unknown:.0%} of its "
        "voxels are unknown. The network is told {data_and_targets.told.labelled} of the {data_and_targets.told.objects} "
        "objects of the training part.",
        study.run.metrics,
    )
)
shown, titles = object_planes(study, {"truth": study.test_labels, INTENSITY: baseline.labels})
show_figure(
    planes(*shown, titles, ncols=4),
    alt="Planes of the test part with the true objects and those of the watershed on the image.",
    source="segmentations/no_network/intensity_watershed.npz",
    caption="Colours are arbitrary: black lines are what counts. Grey voxels are unknown.",
)
