# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # EM: from outputs to objects, without any ground truth
#
# **Question.** Do the network's own instances beat the tuned intensity watershed, by which decoding, and does learning
# to listen to clicks cost anything when nobody clicks?

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
ablations: str = "automatic_only,no_geometry"  # what the first arm goes without
window_planes: int = 32  # planes that the network sees at once in prediction
window_side: int = 96  # pixels along a side that it sees at once
min_object_voxels: int = 50  # smaller ones are neither truth nor found
rand_margin: float = 0.02  # non-inferiority margin of the adapted Rand error
n_bootstrap: int = 1000  # bootstrap resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("em", globals())

# %% [markdown]
# ## Method
# The network runs over the test part in overlapping windows, blended with Gaussian weights of one width per axis.
# Decodings read its outputs; none sees a true label:
#
# - *by embedding*: modes of the embedding inside the predicted foreground, parted where voxels of one mode do not touch;
# - *boundary watershed*: the same watershed as the intensity watershed, on the predicted foreground instead of the image;
# - *by direction* (where the run learns directions): every voxel follows the predicted ones to where they meet.
#
# Each has a few settings. They are chosen on the validation part by the lowest adapted Rand error, with the same search
# as those of the intensity watershed, before the test part is looked at. (The validation score that chose the
# checkpoints in the training notebook is that of a few fixed decodings; here they are tuned.)

# %%
import pandas as pd
from mtl.evaluation.comparison import verdict
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_em import marked_planes, planes
from mtl.reporting.figures_results import forest_plot
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.em.answers import COST, error_reading, evaluation_answer
from mtl.studies.em.published import published_segmentations
from mtl.studies.em.segmentation import INTENSITY, segment_image, segment_with_network
from mtl.studies.em.segmentation_scores import (
    SHOWN,
    block_kind,
    block_table,
    chosen_settings,
    counted_objects,
    decoding_name,
    difference_of,
    negated,
    object_planes,
    scores_of,
)
from mtl.studies.em.study import EMStudy
from mtl.studies.em.variants import AUTOMATIC_ONLY, shown_name

use_report_style()
study = EMStudy(parameters)

# %% [markdown]
# The arms, and the first of them trained without the proofread mode if the run has that, are decoded in every way; the
# table says what was chosen for each. *Edge* marks a value at the end of what was tried: a better one may lie beyond.
#
# - by embedding: the *threshold* is the probability from which a voxel counts as foreground; *bandwidth* (of the modes)
#   and *merge distance* (touching instances nearer than that are one) are distances between embeddings, without unit;
# - by direction: the threshold as above; ends of paths within *reach* are one instance;
# - both watersheds: *sigma* of the smoothing; a seed is the highest voxel within the *seed distance*; *membrane share* of
#   the voxels, the lowest, is taken for membrane; or basins are merged while the wall between them is on average above
#   the quantile *wall share*.

# %%
judged = [*parameters.arms, *(name for name in study.ablations if name == AUTOMATIC_ONLY)]
NONE = "none"
found = {(NONE, INTENSITY): segment_image(study)}
for variant in judged:
    found |= {(variant, method): made for method, made in segment_with_network(study, variant).items()}
settings = [
    {
        "network": shown_name(network),
        "method": decoding_name(method),
        "validation error": made.validation_error,
        "chosen": chosen_settings(study, network, method, made.settings),
    }
    for (network, method), made in found.items()
]
show_table(
    pd.DataFrame(settings),
    source="segmentations/",
    caption="Settings chosen on the validation part, by adapted Rand error (lower is better)",
    index=False,
)

# %% [markdown]
# Where the run has them, the arm `embedding` and *automatic only* are one network, trained twice with the same result: clicks
# have no weights in the one, and no loss in the other.
#
# ## Scores on the test part
# *What is scored*: voxels of true objects. True background and unknown voxels are left out of every metric; every method
# fills them, which costs and earns nothing (as in SNEMI3D and CREMI).
#
# *Adapted Rand error*, *split* and *merge* (the halves of the variation of information, in bits): lower is better.
# *AP50* and *PQ*: higher is better; they count objects of at least `min_object_voxels`, found where object and instance
# share more than half of their union: with $TP$ found, $FP$ false and $FN$ missed ones $AP50 = TP / (TP + FP + FN)$ and
# $PQ = \sum IoU / (TP + FP/2 + FN/2)$.
#
# Intervals are over blocks of the test part (the caption says how many, and how large): in 3-D boxes that are not cut in
# depth where slabs would be thin, in 2-D columns through all its planes, since planes that are near show the same cells.
# Neighbouring blocks hold pieces of the same neurons, so intervals are rather too narrow. They cover the choice of tissue
# within this volume, not another volume and not another training, and are not corrected for their number.

# %%
scores = {key: scores_of(study, made.labels) for key, made in found.items()}
study.run.write_predictions("blocks", block_table(study, {key: made.labels for key, made in found.items()}))
rows = [
    {
        "network": shown_name(network),
        "method": decoding_name(method),
        **{label: values[name] for name, label in SHOWN.items()},
    }
    for (network, method), values in scores.items()
]
blocks = f"{scores[NONE, INTENSITY]['adapted_rand'].n} {block_kind(study)}"
show_table(
    pd.DataFrame(rows),
    source="segmentations/",
    caption=f"Instances of the test part ({counted_objects(study)} objects count in AP50 and PQ); intervals over {blocks}",
    index=False,
)

# %% [markdown]
# The adapted Rand errors once more, of every network by every decoding.

# %%
bars = {
    (network, method): {
        "label": decoding_name(method),
        "estimate": values["adapted_rand"],
        "group": "no network" if network == NONE else shown_name(network),
    }
    for (network, method), values in scores.items()
}
show_figure(
    forest_plot(bars.values(), xlabel="Adapted Rand error on the test part (lower is better)"),
    alt="Adapted Rand error with intervals of every network by every decoding, and of the intensity watershed.",
    source="segmentations/",
)

# %% [markdown]
# ## Against the image alone
# Which decoding stands for a network was settled by its validation error, not by the table above. Differences are paired
# by block; below zero the network is better. The reading is of the interval, and about these trained networks.

# %%
chosen = {
    v: min((key for key in found if key[0] == v), key=lambda key: found[key].validation_error) for v in judged
}
base = found[NONE, INTENSITY].labels
against = {v: difference_of(study, base, found[key].labels)["adapted_rand"] for v, key in chosen.items()}
rows = [
    {
        "network": shown_name(v),
        "decoding": decoding_name(chosen[v][1]),
        "difference in adapted Rand error": d,
        "reading": error_reading(d.low, d.high),
    }
    for v, d in against.items()
]
show_table(
    pd.DataFrame(rows),
    source="segmentations/",
    caption=f"Networks minus the intensity watershed (below zero: better), over {blocks}",
    index=False,
)

# %% [markdown]
# ## Alarms
# Patterns that make a number worth less than it looks: objects are mostly joined, an error that is not shown to be below
# that of the intensity watershed, a test part unlike the part that chose the settings, few objects, few blocks. Decodings
# that were not chosen are looked at for joined objects alone.

# %%
from mtl.evaluation.em.alarms import (
    alarm_table,
    block_alarms,
    mostly_merged_alarms,
    object_alarms,
    segmentation_alarms,
)

rung = {
    shown_name(v): segmentation_alarms(scores[key], found[key].validation_error, against[v])
    for v, key in chosen.items()
}
for (network, method), values in scores.items():
    if network != NONE and (network, method) != chosen[network]:
        rung[f"{shown_name(network)}, {decoding_name(method)}"] = mostly_merged_alarms(values)
image_alone = (NONE, INTENSITY)
rung[INTENSITY] = segmentation_alarms(scores[image_alone], found[image_alone].validation_error)
rung["test part"] = object_alarms(counted_objects(study)) + block_alarms(scores[image_alone])
alarms = alarm_table(rung)
best = min(judged, key=lambda v: found[chosen[v]].validation_error)
heard = [shown_name(best), "test part"]
display(show_table(alarms, source="segmentations/", caption="Alarms", index=False, if_empty="No alarm."))

# %% [markdown]
# ## What the proofread mode costs
# The first arm was trained once in both modes and once in the automatic mode alone, with the same number of steps. The
# margin was fixed in the parameters; the reading is about *these two networks*, since one seed says nothing about
# training again.

# %%
first, cost = parameters.arms[0], None
if AUTOMATIC_ONLY in judged and len(parameters.modes) > 1:
    alone, both = found[chosen[AUTOMATIC_ONLY]].labels, found[chosen[first]].labels
    cost = difference_of(study, alone, both)["adapted_rand"]
    better = negated(cost)
    reading = verdict(better, parameters.rand_margin)
    row = {
        "both modes minus automatic only": cost,
        "margin": parameters.rand_margin,
        "these networks": COST[reading],
    }
    display(
        show_table(
            pd.DataFrame([row]),
            source="segmentations/",
            caption=f"Adapted Rand error (below zero: both modes are better), over {blocks}",
            index=False,
        )
    )
else:
    reading = "not asked"
    print("this run did not train the first arm both with and without the proofread mode")

# %% [markdown]
# ## What it looks like
# Truth beside the intensity watershed and the first arm's instances. Colours are arbitrary; what counts is where the
# black lines run.

# %%
named = {
    "truth": study.test_labels,
    INTENSITY: base,
    f"{shown_name(first)}, {decoding_name(chosen[first][1])}": found[chosen[first]].labels,
}
shown, titles = object_planes(study, named, n=3)
show_figure(
    planes(*shown, titles, ncols=3, size=3.0),
    alt="Planes of the test part with true objects, those of the intensity watershed and those of the network.",
    source=f"segmentations/{first}/",
    caption="Grey: unknown. Truth without colour: background, which is not scored and which every method fills.",
)

# %% [markdown]
# ## Failure gallery
# The true objects that the first arm cut into pieces or joined with others most, worst first, each with the instance that
# overlaps it best, as far as the network sees foreground. Of each the plane of the object with most wrong voxels. Voxels
# that nobody annotated do not count.

# %% tags=["optional-figure"]
from mtl.studies.em.worst_objects import worst_objects

worst = worst_objects(study, found[chosen[first]], n=4)
if worst.titles:
    show_figure(
        marked_planes(worst.images, worst.labels, worst.titles, ncols=4),
        alt="True objects that the network found worst, with what it made of them.",
        source=f"segmentations/{first}/",
        caption="Dice over all planes of an object (in 2-D there is one). White: outside of the volume.",
    )
else:
    print("no object of the test part is large enough to be shown")

# %% [markdown]
# ## Limitations
# - Blocks of one volume: intervals are too narrow for other tissue and silent about other trainings.
# - Objects at the faces of the part are cut; so are their errors.
# - Only voxels of true objects are scored: what a method makes of membranes and of tissue that nobody annotated is not
#   judged.
#
# The answer below would be wrong if the order of methods on the validation part were turned round on the test part.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
section = {
    "scores": {network: {m: scores[n, m] for n, m in scores if n == network} for network in (NONE, *judged)},
    "network": {
        "name": best.replace("_", " "),
        "decoding": decoding_name(chosen[best][1]),
        "scores": scores[chosen[best]],
    },
    "baseline": scores[image_alone],
    "minus_baseline": against[best],
    "blocks": block_kind(study),
    "reading": error_reading(against[best].low, against[best].high),
    "alarms": alarms.to_dict("records"),
    "alarms_of_network": ", ".join(alarms[alarms["what"].isin(heard)]["alarm"]) or "none",
    "proofread_cost": {"difference": cost, "verdict": reading} if cost else None,
    "headline": [
        {
            "label": f"Adapted Rand error, {best.replace('_', ' ')}",
            "value": scores[chosen[best]]["adapted_rand"],
        },
        {"label": f"the same, {INTENSITY}", "value": scores[image_alone]["adapted_rand"]},
        {"label": "their difference (below zero: the network is better)", "value": against[best]},
    ],
}
write_metrics(study.run.path, "decoding_and_evaluation", section)

# %% [markdown]
# The published rows are what the README's table is made of.

# %%
errors = {v: scores[chosen[v]]["adapted_rand"] for v in judged}
rows = published_segmentations(study, scores[image_alone]["adapted_rand"], errors)
write_metrics(study.run.path, "published_segmentations", rows)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(evaluation_answer(section), study.run.metrics))
shown = [{"label": INTENSITY, "estimate": bars[image_alone]["estimate"]}]
for v, key in chosen.items():
    name = f"arm {v}" if v in parameters.arms else v
    shown.append(
        {"label": f"{name.replace('_', ' ')}, {bars[key]['label']}", "estimate": bars[key]["estimate"]}
    )
show_figure(
    forest_plot(shown, xlabel="Adapted Rand error on the test part (lower is better)"),
    alt="Adapted Rand error with intervals of the intensity watershed and of every network, by the chosen decoding.",
    source="metrics.json#/decoding_and_evaluation",
    caption="Of every network the decoding that its validation error chose; all decodings stand further below.",
)
