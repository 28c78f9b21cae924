# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Histology: how many outlines, and which losses pay?
#
# **Question.** With a few of the nuclei outlined, do eight losses find more than the segmentation loss alone, and which of
# them would be missed?

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
sets: str = "all,segmentation_only"  # sets of losses, at every fraction, by comma
sparse_sets: str = "without_recon,without_hv"  # sets at one fraction only
seeds: int = 1  # trainings of each set, fraction and fold
epochs: int = 4  # passes
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
# An *arm* is a set of losses at a share of labels. Of one fold and seed all arms start from the same weights, see the same
# outlined nuclei (a smaller share's are part of a larger one's) and make the same number of steps. Every network is decoded
# in every way that its outputs allow, with settings chosen on validation tiles by PQ; the best way there stands for it.
# Scores are per image; differences are paired by image, fold and seed. With five seeds and more the interval covers seeds
# and images, and the margin decides on a verdict; with fewer there is **no verdict** on the losses.

# %%
import pandas as pd
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_histology import curves_with_bands
from mtl.reporting.figures_results import forest_plot
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.histology.answers import READINGS, fractions_answer
from mtl.studies.histology.loss_comparison import arm_figures, compare, with_holm
from mtl.studies.histology.loss_sets import ALL, SEGMENTATION_ONLY, WITHOUT, arm_name, shown_arm, shown_set
from mtl.studies.histology.scoring import OTSU, OUTSIDE, TEST, all_scores, chosen_settings, score_network
from mtl.studies.histology.study import HistologyStudy

use_report_style()
study = HistologyStudy(parameters)
asked = pd.DataFrame(
    {
        "arm": shown_arm(*arm),
        "losses": ", ".join(study.tasks(arm[0]))
        if len(study.tasks(arm[0])) < 4
        else f"{len(study.tasks(arm[0]))} losses",
        "networks": len(study.trainings(*arm)),
    }
    for arm in study.arms
)
show_table(asked, source="provenance.json", caption="Arms", index=False)

# %% [markdown]
# ## Training and scoring
# What another notebook has trained already is taken from there; a run that was killed goes on where it was.

# %%
minutes = []
for training in study.all_trainings():
    seconds = study.train_one(training).seconds
    minutes.append({"arm": shown_arm(training.losses, training.fraction), "minutes": seconds / 60})
    score_network(study, training)
per_arm = pd.DataFrame(minutes).groupby("arm", sort=False)["minutes"].agg(["count", "sum"]).reset_index()
per_arm.columns = ["arm", "networks", "minutes of training"]
show_table(per_arm, source="checkpoints/", caption="What was trained", index=False)

# %% [markdown]
# The decodings that validation chose, over all networks of an arm.

# %%
rows = []
for arm in study.arms:
    chosen = [chosen_settings(study, training) for training in study.trainings(*arm)]
    for method in chosen[0]:
        own = [of[method] for of in chosen]
        best = sum(max(of, key=lambda name: of[name].validation_pq) == method for of in chosen)
        rows.append(
            {
                "arm": shown_arm(*arm),
                "decoding": method,
                "threshold": ", ".join(sorted({f"{of.settings['threshold']:g}" for of in own})),
                "mean PQ on validation": sum(of.validation_pq for of in own) / len(own),
                "best in": f"{best} of {len(own)}",
            }
        )
show_table(
    pd.DataFrame(rows), source="predictions/", caption="Decodings, tuned on validation tiles", index=False
)

# %% [markdown]
# ## All arms
# Means over the test images of all folds and seeds, with intervals over images.

# %%
scores = all_scores(study)
baseline = (OTSU, 0.0)
parts = [part for part in (TEST, OUTSIDE) if (scores["part"] == part).any()]
figures = {
    part: arm_figures(scores, [*study.arms, baseline], part, parameters.n_bootstrap, parameters.seed)
    for part in parts
}
named = {arm_name(*arm): shown_arm(*arm) for arm in study.arms} | {arm_name(*baseline): "Otsu and watershed"}
SHOWN = {"pq": "PQ", "aji": "AJI", "f1": "F1", "dice": "Dice"}
for part in parts:
    rows = [
        {"arm": named[name], **{label: found[metric] for metric, label in SHOWN.items()}}
        for name, found in figures[part].items()
    ]
    n = figures[part][arm_name(*baseline)]["pq"].n
    caption = (
        f"{'Test tiles of all folds' if part == TEST else f'Outside set ({parameters.outside})'}, {n} images"
    )
    display(show_table(pd.DataFrame(rows), source="predictions/", caption=caption, index=False))

# %% [markdown]
# ## Curves over the share of labels
# Sets of losses that were trained at every share. The baseline learns nothing and is the same everywhere.

# %%
shares = parameters.label_fractions
everywhere = [(losses, share) for losses in parameters.full_sets for share in shares]
lines = [
    {"part": part, "name": name, "share": share, **figures[part][arm_name(*arm)]["pq"].to_dict()}
    for part in parts
    for name, share, arm in (
        *((shown_set(losses), share, (losses, share)) for losses, share in everywhere),
        *(("Otsu and watershed", share, baseline) for share in shares),
    )
]
titles = {TEST: "test tiles", OUTSIDE: f"outside set ({parameters.outside})"}
table = pd.DataFrame(lines)
table["part"] = table["part"].map(titles)
show_figure(
    curves_with_bands(table, "share", "Share of the nuclei that are outlined", percent=True, panel="part"),
    alt="PQ over the share of outlined nuclei for each set of losses, with intervals over images.",
    source="metrics.json#/label_fractions",
)

# %% [markdown]
# ## All losses against segmentation alone
# Above zero all losses are better.

# %%
pairs = {}
if SEGMENTATION_ONLY in parameters.full_sets:
    pairs |= {
        f"all losses minus segmentation only, {100 * share:g}%": ((SEGMENTATION_ONLY, share), (ALL, share))
        for share in shares
    }
pairs |= {
    f"all losses minus {shown_set(losses)}, {100 * share:g}%": ((losses, share), (ALL, share))
    for losses, share in study.arms
    if losses.startswith(WITHOUT)
}
compared = {
    name: compare(scores, one, other, TEST, parameters.pq_margin, parameters.n_bootstrap, parameters.seed)
    for name, (one, other) in pairs.items()
}
compared = with_holm(compared) if compared else {}
# %% [markdown]
# Of PQ, AJI and Dice the differences, of PQ also the p-value, the smallest difference that these seeds and images would
# have shown, and the verdict by the margin.

# %%
rows = [
    {
        "difference": name,
        "PQ": found["pq"]["estimate"],
        "AJI": found["aji"]["estimate"],
        "Dice": found["dice"]["estimate"],
        "p (PQ, Holm)": found["pq"].get("p_holm"),
        "smallest PQ seen": found["pq"]["minimal_detectable"],
        "verdict on PQ": READINGS[found["pq"]["verdict"]],
    }
    for name, found in compared.items()
]
caption = f"Paired differences on the test tiles; margin {parameters.pq_margin:g} of PQ"
show_table(
    pd.DataFrame(rows).astype(object), source="metrics.json#/label_fractions", caption=caption, index=False,
    if_empty="Nothing to compare.",
)  # fmt: skip

# %% [markdown]
# ## Which loss would be missed?
# Right of zero the loss pays, left of zero the network is better without it.

# %%
bars = [
    {"label": name.replace("all losses minus ", ""), "estimate": found["pq"]["estimate"]}
    for name, found in compared.items()
]
if bars:
    show_figure(
        forest_plot(
            bars,
            xlabel="PQ of all losses minus PQ of the set named",
            reference=0.0,
            reference_label="no difference",
        ),
        alt="Difference in PQ between all losses and each other set, with intervals.",
        source="metrics.json#/label_fractions",
    )
else:
    print("only one set of losses was trained: nothing to compare")

# %% [markdown]
# ## What it means
# A negative result is a result: a loss whose interval holds zero is not shown to pay, and one whose interval lies left of
# zero does harm on these tiles. Weights are those of the run in every set. Those that a run begins with were
# chosen on validation tiles of stained tissue, the described ones are in `params/histology/described.yaml`. Images of one
# group are alike, and groups are few: intervals over images are silent about other laboratories. The answer would be
# wrong if other groups, or with fewer than five seeds another seed, turned a difference round.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
of_pq = {name: found["pq"] for name, found in compared.items()}
against = [
    {"percent": 100 * share, **of_pq[f"all losses minus segmentation only, {100 * share:g}%"]}
    for share in shares
    if SEGMENTATION_ONLY in parameters.full_sets
]
alone = [row["estimate"] for name, row in of_pq.items() if "without" in name]
left_out_at = sorted({share for losses, share in study.arms if losses.startswith(WITHOUT)})

# %% [markdown]
# How many losses pay, and how many cost, as far as their intervals tell.

# %%
section = {
    "figures": figures,
    "against_segmentation": against,
    "leave_one_out": {name: row for name, row in of_pq.items() if "without" in name},
    "n_left_out": len(alone),
    "left_out_at": " and ".join(f"{100 * share:g} %" for share in left_out_at),
    "n_helpful": sum(e.low is not None and e.low > 0 for e in alone),
    "n_harmful": sum(e.high is not None and e.high < 0 for e in alone),
    "interval_kind": "intervals over seeds and images" if parameters.seeds >= 5 else "intervals over images",
    "seeds": parameters.seeds,
    "images": figures[TEST][arm_name(*baseline)]["pq"].n,
}
section["headline"] = [
    {
        "label": f"PQ, all losses, {100 * shares[0]:g}% of labels",
        "value": figures[TEST][arm_name(ALL, shares[0])]["pq"],
    },
    *(
        {"label": f"minus segmentation only, {row['percent']:g}% of labels", "value": row["estimate"]}
        for row in against[:1]
    ),
]
write_metrics(study.run.path, "label_fractions", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(fractions_answer(section), study.run.metrics))
show_figure(
    curves_with_bands(table, "share", "Share of the nuclei that are outlined", percent=True, panel="part"),
    alt="PQ over the share of outlined nuclei for each set of losses, with intervals over images.",
    source="metrics.json#/label_fractions",
)
