# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # EM: what a click is worth
#
# **Question.** A person clicks on an object until it is right, and a network answers: how good does the mask become with
# every click, which way of telling the network about the clicks does best after as many steps of training, and how long
# does an answer take?

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
click_objects: int = 30  # objects of the test part that are clicked
max_clicks: int = 10  # clicks of the simulated user per object
click_planes: int = 12  # planes of the window in which an object is clicked
click_side: int = 48  # pixels along a side of that window
click_jitter: float = 0.0  # 0: the user hits the middle; 1: anywhere
n_bootstrap: int = 1000  # bootstrap resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("em", globals())

# %% [markdown]
# ## Method
# The simulated user is the same for every arm: the first click is positive, at the voxel deepest inside the object; each
# next one at the deepest voxel of the largest error, positive where something is missing, negative where something is
# too much. Zero clicks is the automatic instance that overlaps the object best, by the decoding that validation chose. The
# first click starts a mask of its own; the automatic instance is not carried over and may come from another decoding, so
# Dice may fall at the first click.
#
# From clicks to a mask there is one rule for all arms but `target_head`, which draws its mask itself. A voxel belongs to
# the object if its probability of foreground is high enough, its embedding is within $\delta_d$ of that at a positive
# click and nearer to it than to that at any negative click, and if it is connected to a positive click through such
# voxels; then the mask grows back over predicted foreground by a few voxels at most, unless other foreground or a negative
# click is nearer. How high is enough was found on the validation part, for automatic instances by embedding (notebook 03);
# lower thresholds may leak through faint membranes. (The plain rule would take the mean embedding of all clicks and no
# strict threshold; both were worse on validation parts.)
#
# Clicks of `late` move the embedding within a few voxels alone. There the clicked voxel counts with the embedding that it
# has with the clicks and with the one without, so that voxels near and far are compared with their like.
#
# All arms make as many steps on the same crops, but they do not practise the same: `late`, `input` and `multiscale` train
# with a fixed number of clicks at once; `target_head` has one more loss, varying numbers of clicks, corrective clicks on
# its own mistakes, its mask before the last click, and a map of how far clicks reach through predicted foreground;
# `embedding` is trained without clicks. What is compared are these ways as a whole.
#
# Every object is judged in a window around it, the same for all arms, which in 2-D is a part of one plane. Zero clicks and
# clicks stand on the same footing: both masks end where the predicted foreground ends; where the data label no background,
# the line that was drawn between touching cells for the training is given back to both masks alike, up to where other
# automatic instances begin.

# %%
import pandas as pd
from mtl.evaluation.em.click_arms import compare_click_arms
from mtl.evaluation.em.click_curves import click_seconds, summarise_clicks
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_em import click_curves, draw_clicks, marked_planes
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.em.answers import clicks_answer
from mtl.studies.em.clicks import click_runs, click_voxels, replayed, window_sides
from mtl.studies.em.published import published_clicks
from mtl.studies.em.segmentation import automatic_instances
from mtl.studies.em.segmentation_scores import counted_objects
from mtl.studies.em.study import EMStudy
from mtl.studies.em.variants import shown_name

use_report_style()
study = EMStudy(parameters)
arms = list(parameters.arms)
automatic = {arm: automatic_instances(study, arm)[1] for arm in arms}
runs = {arm: click_runs(study, arm, automatic[arm]) for arm in arms}
study.run.write_predictions("clicks", pd.concat(runs.values(), ignore_index=True))
counts = {
    "objects clicked": len(runs[arms[0]]),
    "large enough": counted_objects(study),
    "median voxels in the window": float(runs[arms[0]]["voxels"].median()),
}
caption = f"What is clicked, of objects of {parameters.min_object_voxels} voxels or more"
show_table(pd.DataFrame([counts]), source="predictions/clicks.parquet", caption=caption, index=False)

# %% [markdown]
# What the rule takes from validation, and how long an answer takes: median and the slowest twentieth of all clicks but the
# first object's, drawn membranes included. Where clicks pass through the backbone the whole network runs again for each.

# %%
from mtl.studies.em.segmentation import EMBEDDING, read_segmentation
from mtl.studies.provenance import hardware

models = {arm: study.model(arm) for arm in arms}
times = {arm: pd.Series(1000 * click_seconds(runs[arm])) for arm in arms}
rows = [
    {
        "arm": shown_name(arm),
        "threshold of foreground": read_segmentation(study, arm, EMBEDDING).settings["threshold"]
        if arm != "target_head"
        else None,
        "network runs again": "yes" if models[arm].reruns_encoder else "no",
        "median ms": float(times[arm].median()),
        "95 % within ms": float(times[arm].quantile(0.95)),
    }
    for arm in arms
]
machine = hardware()["gpu"] or f"{hardware()['cores']} cores of {hardware()['cpu']}"
window = " x ".join(map(str, window_sides(study)))
show_table(
    pd.DataFrame(rows), source="predictions/clicks.parquet", index=False,
    caption=f"A click in a window of {window} voxels, one at a time, on {machine}",
)  # fmt: skip

# %% [markdown]
# ## Curves
# Dice after every click, averaged over objects. Intervals are over objects; of several arms only those of the best and of
# the first are drawn, the others stand in the table below.

# %%
settings = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed}
figures = {arm: summarise_clicks(rows, **settings) for arm, rows in runs.items()}
curve = pd.DataFrame(
    {"arm": arm, "clicks": k, "dice": e.value, "low": e.low, "high": e.high}
    for arm in arms
    for k in range(parameters.max_clicks + 1)
    for e in [figures[arm][f"dice@{k}"]]
)
after = min(3, parameters.max_clicks)
best = max(arms, key=lambda arm: figures[arm][f"dice@{after}"].value)
drawn = {
    "alt": "Mean Dice after each click of the simulated user, one line per arm, with intervals.",
    "caption": f"Mean over {counts['objects clicked']} objects; the vertical axis begins just below what is drawn.",
}
show_figure(click_curves(curve, arms, {arms[0], best}), source="predictions/clicks.parquet", **drawn)

# %% [markdown]
# The same in numbers. *Area* is that under the curve over the number of clicks, a mean Dice from zero to one; Dice@0 is in it,
# so that a good automatic instance raises it without any click. The *first click* is its Dice minus Dice@0.

# %%
steps = [k for k in (0, 1, 3, 5, 10) if k <= parameters.max_clicks]
wanted = {f"dice@{k}": f"Dice@{k}" for k in steps} | {"gain@1": "first click", "auc": "area"}
rows = [
    {"arm": shown_name(arm), **{label: figures[arm][name] for name, label in wanted.items()}} for arm in arms
]
over = f"over {counts['objects clicked']} objects"
show_table(
    pd.DataFrame(rows), source="predictions/clicks.parquet", caption=f"Dice after clicks, {over}", index=False
)

# %% [markdown]
# *NoC@85* is the number of clicks until Dice reaches 85 per cent (lower is better). An object whose automatic instance is
# there already counts as zero. One that never gets there counts with the largest number of clicks, which flatters, so the
# share of such failures stands beside it.

# %%
wanted = {"noc@85": "NoC@85", "failed@85": "share failed at 85"}
wanted |= {"noc@90": "NoC@90", "failed@90": "share failed at 90"}
rows = [
    {"arm": shown_name(arm), **{label: figures[arm][name] for name, label in wanted.items()}} for arm in arms
]
show_table(
    pd.DataFrame(rows), source="predictions/clicks.parquet", caption=f"Clicks needed, {over}", index=False
)

# %% [markdown]
# ## Arms compared
# Paired by object, against the first arm; p values are corrected over the whole table (Holm). The last column needs both
# the corrected p value and the interval, and is about *these trained networks*: one training of each arm cannot say how
# the arms would differ when trained again. *Detectable* is the difference that a single test on so many objects finds in four
# of five cases; after the correction it takes more. Dice after clicks holds what the automatic instances had before; the
# *gain* is what the clicks changed. Of *NoC* less is better.

# %%
measures = ["dice@0", f"dice@{after}", f"gain@{after}", "auc", "noc@85", "noc@90"]
compared = compare_click_arms(runs, measures, **settings)
names = {"auc": "area", f"gain@{after}": f"gain, 0 to {after} clicks"}
names |= {"noc@85": "NoC@85 (less is better)", "noc@90": "NoC@90 (less is better)"}
rows = [
    {
        "measure": names.get(row.figure, row.figure.replace("dice", "Dice")),
        "comparison": f"{shown_name(row.second)} against {shown_name(row.first)}",
        "difference": {"value": row.value, "low": row.low, "high": row.high},
        "detectable (one test)": row.minimal_detectable,
        "p (Holm)": row.p_holm,
        "these networks": row.verdict,
    }
    for row in compared.itertuples()
]
if rows:
    display(
        show_table(
            pd.DataFrame(rows),
            source="predictions/clicks.parquet",
            caption=f"Paired differences, {over}",
            index=False,
        )
    )
else:
    print("this run has one arm: nothing to compare")

# %% [markdown]
# ## Alarms
# Patterns that make a curve worth less than it looks: clicks that make it worse or are not shown to help, masks that end where
# the click's own reach ends, objects that mostly fail, few objects.

# %%
from mtl.evaluation.em.alarms import alarm_table, click_alarms, object_alarms, tiny_mask_alarms

rung = {
    shown_name(arm): click_alarms(figures[arm], after)
    + tiny_mask_alarms(runs[arm]["first_mask"].dropna(), click_voxels(models[arm]))
    for arm in arms
}
rung["clicked objects"] = object_alarms(len(runs[arms[0]]))
alarms = alarm_table(rung)
display(
    show_table(
        alarms, source="predictions/clicks.parquet", caption="Alarms", index=False, if_empty="No alarm."
    )
)

# %% [markdown]
# ## What it looks like
# The object that gained least and the one that gained most from the first clicks with the first arm, worst first: before,
# and after every click. Of each the plane of the object with most wrong voxels.

# %% tags=["optional-figure"]
first = runs[arms[0]]
gain = (first[f"dice_{after}"] - first["dice_0"]).sort_values()
ids = [int(first.loc[row, "object"]) for row in dict.fromkeys((gain.index[0], gain.index[-1]))]
shown = replayed(study, arms[0], ids, automatic[arms[0]], after)
figure = marked_planes(shown.images, shown.labels, shown.titles, ncols=after + 1)
draw_clicks(figure.axes, shown.clicks)
others = (
    "" if study.volume.planar else " Small ones are on other planes. The number is the Dice over all planes."
)
show_figure(
    figure,
    alt="Two objects with the automatic instance and the mask after each of the first clicks.",
    source="predictions/clicks.parquet",
    caption="Discs: positive clicks so far; crosses: negative ones. White: outside of the window." + others,
)

# %% [markdown]
# ## Limitations
# - A simulated user is patient, exact and knows the truth; people are neither.
# - The window cuts long neurites: what happens far from the clicks is not judged.
# - Objects are neighbours in one piece of tissue, with windows that overlap: as units they are fewer than they look.
# - One training of each arm, and each practised in its own way (see *Method*).
#
# The answer below would be wrong if the order of the arms changed with another seed of the training.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there. The published rows are what the
# README's table is made of.

# %%
section = {
    "arms": figures,
    "best": {
        "arm": shown_name(best),
        "gain": figures[best][f"gain@{after}"],
        "dice": figures[best][f"dice@{after}"],
    },
    "zero": figures[best]["dice@0"],
    "clicks": after,
    "practised": "proofread" in parameters.modes,
    "comparisons": [
        row | {"first": shown_name(row["first"]), "second": shown_name(row["second"])}
        for row in compared.to_dict("records")
    ],
    "family": len(compared),
    "alarms": "; ".join(f"{why} ({', '.join(of)})" for why, of in alarms.groupby("alarm", sort=False)["what"])
    or "none",
    "headline": [
        {"label": f"Dice after {after} clicks, {shown_name(best)}", "value": figures[best][f"dice@{after}"]},
        {"label": "change from zero clicks", "value": figures[best][f"gain@{after}"]},
    ],
}
write_metrics(study.run.path, "click_curves", section)
write_metrics(study.run.path, "published_clicks", published_clicks(study, figures))

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(clicks_answer(section), study.run.metrics))
show_figure(
    click_curves(curve, arms, {arms[0], best}),
    source="metrics.json#/click_curves",
    **drawn,
)
