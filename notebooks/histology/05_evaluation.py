# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Histology: what the network finds, kind by kind and image by image
#
# **Question.** Where does a network that saw few outlines find nuclei rightly, where does it fail, is it as sure as it is
# right, and what becomes of it on tiles from elsewhere?

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
min_nucleus_pixels: int = 20  # smaller instances are not given out
detection_radius: float = 6.0  # pixels between centres that still match, for F1
pq_margin: float = 0.02  # loss of PQ that matters, fixed beforehand
n_bootstrap: int = 1000  # bootstrap resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("histology", globals())

# %% [markdown]
# ## Method
# Everything here is computed from the tables in `predictions/`, one row per image, network and decoding, that the
# notebook on label fractions has written. The network is the one with all losses; the unit of every interval is the image.
# Settings of decodings, of Otsu's watershed too, were chosen on validation tiles.

# %%
from itertools import product

import pandas as pd
from mtl.evaluation.histology import alarms, summarise_images
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_histology import OTHER, TRUTH, nuclei_grid
from mtl.reporting.figures_results import forest_plot
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.histology.answers import alarms_said, evaluation_answer
from mtl.studies.histology.loss_comparison import arm_figures, compare, rows_of
from mtl.studies.histology.loss_sets import ALL, shown_arm
from mtl.studies.histology.published import published_rows
from mtl.studies.histology.scoring import OTSU, OUTSIDE, TEST, all_scores, instances_of, score_network
from mtl.studies.histology.study import HistologyStudy

use_report_style()
study = HistologyStudy(parameters)
scores = all_scores(study)
settings = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed}
shares, baseline = parameters.label_fractions, (OTSU, 0.0)
judged = {"Otsu and watershed": baseline} | {shown_arm(ALL, share): (ALL, share) for share in shares}
parts = [part for part in (TEST, OUTSIDE) if (scores["part"] == part).any()]
LABELS = {"pq": "PQ", "dq": "DQ", "sq": "SQ", "aji": "AJI", "ap50": "AP50", "f1": "F1", "dice": "Dice"}

# %% [markdown]
# ## All images
# The baseline and the networks, on the test tiles of all folds and on tiles from elsewhere.

# %%
for part in parts:
    rows = []
    for name, arm in judged.items():
        found = summarise_images(rows_of(scores, arm, part), list(LABELS), **settings)
        rows.append({"method": name, **{LABELS[metric]: estimate for metric, estimate in found.items()}})
    where = "Test tiles" if part == TEST else f"Outside set ({parameters.outside})"
    display(
        show_table(
            pd.DataFrame(rows), source="predictions/", caption=f"{where}: means over images", index=False
        )
    )

# %% [markdown]
# ## Kind by kind
# A mean over kinds of pictures hides the worst of them. A kind is an appearance, a magnification, or the group where a set
# names neither.

# %%
rows = []
for part, (name, arm) in product(parts, judged.items()):
    mine = rows_of(scores, arm, part)
    keys = mine["appearance"].where(mine["appearance"] != "", mine["group"])
    for kind, of_kind in mine.groupby(keys):
        found = summarise_images(of_kind, ["pq", "aji", "dice"], **settings)
        facts = {"part": part, "kind": kind, "method": name, "images": found["pq"].n}
        rows.append(facts | {LABELS[metric]: estimate for metric, estimate in found.items()})
by_kind = pd.DataFrame(rows).sort_values(
    ["part", "kind", "method"], ascending=[False, True, True], kind="stable"
)
show_table(by_kind, source="predictions/", caption="Tiles by appearance (or group)", index=False)

# %% [markdown]
# ## How do touching nuclei part?
# The same networks, decoded in three ways, each tuned on validation tiles: connected components; a watershed between the
# peaks of the distance to the mask's edge (*shape*), which needs no map; a watershed between the valleys of the network's
# map of the inside of nuclei.

# %%
first = study.trainings(ALL, shares[0])
both = pd.concat([score_network(study, training) for training in first], ignore_index=True)
bars = []
for method, of_method in both[both["part"] == TEST].groupby("method"):
    found = summarise_images(of_method, ["pq", "aji"], **settings)
    bars += [{"label": method, "group": LABELS[metric], "estimate": e} for metric, e in found.items()]
bars.sort(key=lambda bar: bar["group"], reverse=True)
show_figure(
    forest_plot(bars, xlabel=f"Mean over test images, {shown_arm(ALL, shares[0])}"),
    alt="PQ and AJI of connected components and of the watersheds on shape and map, with intervals.",
    source="predictions/",
)

# %% [markdown]
# ## As sure as it is right?
# *ECE*: mean gap between the predicted probability of nucleus and its observed frequency over bins of equal mass, image by
# image. *Brier*: mean squared difference. Neither says in which
# direction a probability errs.

# %%
rows = [
    {
        "method": name,
        "part": part,
        **{metric.upper() if metric == "ece" else "Brier": e for metric, e in found.items()},
    }
    for part in parts
    for name, arm in judged.items()
    if arm != baseline
    for found in [summarise_images(rows_of(scores, arm, part), ["ece", "brier"], **settings)]
]
show_table(
    pd.DataFrame(rows), source="predictions/", caption="Calibration per image (lower is better)", index=False
)

# %% [markdown]
# ## Against the baseline
# Paired by image.

# %%
arm = (ALL, shares[0])
against = compare(scores, baseline, arm, TEST, parameters.pq_margin, parameters.n_bootstrap, parameters.seed)
rows = [
    {"metric": LABELS[metric], "network minus Otsu": row["estimate"], "seeds": row["seeds"]}
    for metric, row in against.items()
]
show_table(
    pd.DataFrame(rows),
    source="metrics.json#/evaluation",
    caption=f"{shown_arm(*arm)} minus Otsu and watershed",
    index=False,
)

# %% [markdown]
# ## Alarms
# Patterns that make a number worth less than it looks.

# %%
rung = [
    {"part": part, "method": name, "alarm": alarm.message}
    for part in parts
    for name, one in judged.items()
    for alarm in alarms(rows_of(scores, one, part))
]
show_table(
    pd.DataFrame(rung, columns=["part", "method", "alarm"]),
    source="predictions/",
    caption="Alarms",
    index=False,
    if_empty="No alarm.",
)

# %% [markdown]
# ## Failure gallery
# The test images of the first fold with the lowest PQ, worst first, by the network with the fewest labels and the first
# seed.

# %%
mine = rows_of(scores, arm, TEST)
mine = mine[(mine["fold"] == 0) & (mine["seed"] == 0)].sort_values("pq", na_position="last")
worst = [study.tiles[image] for image in mine["image"][:4]]
found = instances_of(study, study.first, worst)
show_figure(
    nuclei_grid(
        [t.image for t in worst],
        [{"truth": t.instances, "found": instances} for t, instances in zip(worst, found, strict=True)],
        [f"PQ {pq:.2f} · {t.appearance or t.group}" for pq, t in zip(mine["pq"][:4], worst, strict=True)],
        {"found": OTHER, "truth": TRUTH},
    ),
    alt="The test images with the lowest PQ, with true outlines and those that the network finds.",
    source="predictions/",
)

# %% [markdown]
# And the median ones, for comparison.

# %%
middle = mine.iloc[len(mine) // 2 - 2 : len(mine) // 2 + 2] if len(mine) > 4 else mine
usual = [study.tiles[image] for image in middle["image"]]
found = instances_of(study, study.first, usual)
show_figure(
    nuclei_grid(
        [t.image for t in usual],
        [{"truth": t.instances, "found": instances} for t, instances in zip(usual, found, strict=True)],
        [f"PQ {pq:.2f} · {t.appearance or t.group}" for pq, t in zip(middle["pq"], usual, strict=True)],
        {"found": OTHER, "truth": TRUTH},
    ),
    alt="Test images with a middling PQ, with true outlines and those that the network finds.",
    source="predictions/",
)

# %% [markdown]
# ## Limitations
# - No patient or slide ids in the real sets: groups of colours stand in for slides.
# - Truth is what annotators drew; missed and merged nuclei in it count against whoever finds them.
# - One magnification was learnt; the outside set may have another.
# - Research use only; not for diagnosis.
#
# The answer below would be wrong if tiles of other laboratories turned the order of network and baseline round.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
everything = {
    (one, part): summarise_images(rows_of(scores, one, part), **settings)
    for one in judged.values()
    for part in parts
}
section = {
    "percent": 100 * shares[0],
    "network": everything[arm, TEST],
    "otsu": everything[baseline, TEST],
    "minus_otsu": against["pq"]["estimate"],
    "outside": everything[arm, OUTSIDE] | {"name": parameters.outside} if OUTSIDE in parts else None,
    "alarms": rung,
    "alarms_said": alarms_said(rung, len(judged)),
    "headline": [
        {"label": f"PQ, {shown_arm(*arm)}", "value": everything[arm, TEST]["pq"]},
        {"label": "PQ, Otsu and watershed", "value": everything[baseline, TEST]["pq"]},
    ],
}
write_metrics(study.run.path, "evaluation", section)

# %% [markdown]
# The published rows are what the README's table is made of.

# %%
figures = {part: arm_figures(scores, [*study.arms, baseline], part, **settings) for part in parts}
write_metrics(study.run.path, "published", published_rows(study, figures))

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(evaluation_answer(section), study.run.metrics))
bars = [{"label": name, "estimate": everything[one, TEST]["pq"]} for name, one in judged.items()]
show_figure(
    forest_plot(bars, xlabel="PQ on the test tiles (mean over images)"),
    alt="PQ of the baseline and of the networks on the test tiles, with intervals over images.",
    source="metrics.json#/evaluation",
)
