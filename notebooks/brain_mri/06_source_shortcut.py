# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Brain MRI: the source shortcut
#
# **Question.** When most tumours come from one scanner and most healthy heads from another, how much of a
# classifier's score is the tumour and how much the scanner, which figure gives it away, and can it be cured?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/brain_mri/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/brain_mri/
data_root: str = ""  # folder with the real data sets; empty: phantoms
rho_values: str = "0,0.25,0.5,0.75,1"  # positions of the source-label dial, by comma
shortcut_patients: int = 120  # phantom patients that each network learns from
shortcut_test_patients: int = 120  # phantom patients of its common test set
shortcut_size: int = 32  # pixels along a side
shortcut_filters: int = 8  # channels of the first level
shortcut_epochs: int = 8  # epochs of each network
shortcut_seeds: int = 1  # networks trained per arm, each on new patients
reversal_weight: float = 1.0  # lambda of the gradient-reversal arm
n_bootstrap: int = 1000  # resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("brain_mri", globals())

# %% [markdown]
# The tools of this notebook. Training, dial and audit live in the package; here they are called and read.

# %%
import pandas as pd
from mtl.datasets.brain_mri import BrainNormalisation
from mtl.datasets.brain_mri.background import native_background, prepared_background
from mtl.datasets.phantoms.brain_mri import LEANING
from mtl.evaluation.brain_mri import by_stage_and_source, classification_table, readable_rows
from mtl.evaluation.brain_mri import published_counts as published
from mtl.evaluation.brain_mri.shortcut import figure_of, figure_rows, shortcut_table, transfer_table
from mtl.evaluation.classification import classification_estimates
from mtl.evaluation.protocol import alarms
from mtl.reporting.claims import claim, reference, reference_value, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_results import forest_plot
from mtl.reporting.figures_shortcut import dial_plot, transfer_plot, views_plot
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.brain_mri import shortcut
from mtl.studies.brain_mri.source_audit import audit_predictions
from mtl.studies.brain_mri.study import BrainMriStudy

use_report_style()
laboratory = shortcut.ShortcutLaboratory(parameters)
settings = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed}

# %% [markdown]
# ## Two published results, from their counts
# A shared network was tested on images from two sources, one of which has no negatives. The counts suffice to
# say what a classifier reaches that looks at nothing but the source: it gives every image the share of
# positives in its source. Accuracy and recall, as published, also fix the confusion table and so the specificity,
# which was not published.

# %%
positives_a, positives_b, negatives_b = (
    reference_value(f"shortcut_{name}") for name in ("positives_a", "positives_b", "negatives_b")
)
images = published.cases_of({"A": (positives_a, 0), "B": (positives_b, negatives_b)})
source_only = classification_estimates(images["cls"], images["source_score"], 0.5, unit="image", **settings)
positives = positives_a + positives_b
confusion = published.confusion_from_rates(
    reference_value("shared_network_accuracy"),
    reference_value("shared_network_recall"),
    positives,
    negatives_b,
)

# %% [markdown]
# The two side by side. The published AUC gets the standard error that its counts allow (Hanley and McNeil, 1982).

# %%
decided = published.decisions(**confusion)
network = classification_estimates(decided["cls"], decided["predicted"], 0.5, unit="image", **settings)
network["roc_auc"] = published.published_auc(reference_value("shared_network_auc"), positives, negatives_b)
wanted = {name: name.replace("_", " ") for name in ("accuracy", "recall", "precision", "specificity")}
wanted |= {"balanced_accuracy": "balanced accuracy", "roc_auc": "ROC-AUC"}
rows = {"published network": network, "source only, no look at the image": source_only}
show_table(
    pd.DataFrame(
        [
            {"classifier": name, **{text: found[m] for m, text in wanted.items()}}
            for name, found in rows.items()
        ]
    ),
    source="params/references.yaml",
    caption="What the counts say (intervals: images as units; published AUC: Hanley and McNeil)",
    index=False,
)

# %% [markdown]
# The second result is a predictor whose accuracy and precision are one number, with a recall of one. Its
# counts follow, and what the protocol of this project says to them: these alarms stand in every report.

# %%
tumours, total = reference_value("all_positive_positives"), reference_value("all_positive_images")
decided = published.decisions(tp=tumours, fn=0, tn=0, fp=total - tumours)
everything = classification_estimates(decided["cls"], decided["predicted"], 0.5, unit="image", **settings)
everything["roc_auc"] = published.published_auc(reference_value("all_positive_auc"), tumours, total - tumours)
display(
    show_table(
        pd.DataFrame(
            [{"classifier": "everything is a tumour", **{text: everything[m] for m, text in wanted.items()}}]
        ),
        source="params/references.yaml",
        caption="The all-positive predictor, recomputed",
        index=False,
    )
)
rung = alarms({name: everything[name] for name in [*wanted, "predicted_positive"]})
show_table(
    pd.DataFrame([{"alarm": alarm.code, "what it says": alarm.message} for alarm in rung]),
    source="params/references.yaml",
    caption="Alarms that it rings",
    index=False,
)

# %% [markdown]
# Where these figures come from:

# %%
for key in (
    "shortcut_positives_a",
    "shortcut_positives_b",
    "shortcut_negatives_b",
    "shared_network_accuracy",
    "shared_network_recall",
    "shared_network_auc",
    "all_positive_positives",
    "all_positive_images",
    "all_positive_accuracy",
    "all_positive_auc",
):
    display(reference(key))

# %% [markdown]
# ## The dial
# The phantom has two scanners and a dial $\rho$: the prevalence of tumours is $(1+\rho)/2$ on one and $(1-\rho)/2$
# on the other. At zero the scanner says nothing about the class, at one it says everything. Below, a slice of each
# scanner as it was scanned, without its head, as this project prepares it, and prepared without its head. The
# preparation blanks the background on purpose, so that in the last column nothing is left; the second column is
# the pathological case, with grey values as scanned (brightened here, each by its own factor): frame, outline and noise are all there.

# %%
tested, rule = laboratory.test_set, BrainNormalisation()
pictures = {}
for source, table in tested.table[tested.table["cls"] == 1].groupby("source"):
    native, size = tested.native(table["id"].iloc[0])[0], 96
    pictures[source] = [
        ("as scanned", native, (0.0, float(native.max()))),
        ("background, as scanned", native_background(native, size, rule), (0.0, 0.15 * float(native.max()))),
        ("as prepared", rule.prepare(native, size)[0], (-2.0, 4.0)),
        ("background, as prepared", prepared_background(native, size, rule), (-2.0, 4.0)),
    ]
show_figure(
    views_plot(pictures),
    alt="A slice of each scanner as scanned, without its head, as prepared, and prepared without its head.",
    source="predictions/shortcut.parquet",
)

# %% [markdown]
# At every position of the dial a small network (encoder and classification head of the study's model) learns to
# classify. Selection uses validation patients of the same $\rho$, as somebody who does not know of the problem
# would. All networks are tested on the *same* patients, drawn at $\rho=0$; the test set's own dial is turned by
# giving each case the weight $1 \pm \rho$ that its (source, class) cell has in a collection at $\rho$.
#
# - **mixed**: sources pooled, test set at the training set's $\rho$: what a paper would report;
# - **within source**: pairs of one source only, which the weights cannot move;
# - **deployed**: sources pooled where the shortcut is gone;
# - **other source left out**: each case scored by a network that never saw its scanner (undefined where a
#   scanner has one class only, and never pooled: scores of two networks are not comparable);
# - **source only** and **background**: no look at the head at all.

# %%
predictions = laboratory.results()
table = shortcut_table(predictions, LEANING, **settings)
arms = [
    shortcut.NETWORK,
    shortcut.ELSEWHERE,
    shortcut.SOURCE_ONLY,
    shortcut.BACKGROUND_NATIVE,
    shortcut.BACKGROUND_PREPARED,
]
figures = ["mixed", "within source", "deployed", *sorted(LEANING)]
unpooled = ["within source", *sorted(LEANING)]
rows = [
    {"arm": arm, "rho": f"{rho:g}"}
    | {
        figure: figure_of(table, arm, rho, figure)
        for figure in (figures if arm != shortcut.ELSEWHERE else unpooled)
    }
    for arm in arms
    for rho in sorted(set(table.loc[table["arm"] == arm, "rho"]))
]
show_table(
    pd.DataFrame(rows),
    source="predictions/shortcut.parquet",
    caption="ROC-AUC at every position of the dial",
    index=False,
)

# %% [markdown]
# ## One network, many test sets
# Each row is one and the same network; only the composition of the test set changes from left to right. A score
# that depends on how the test set was put together is not a property of the network. The last column is: within a
# source, cases of both classes keep the same weight against each other.

# %%
networks = predictions[predictions["arm"] == shortcut.NETWORK]
transfer = transfer_table(networks, LEANING, **settings)
mixed = transfer.pivot(index="trained_at", columns="tested_at", values="value")
within = {rho: figure_of(table, shortcut.NETWORK, rho, "within source") for rho in parameters.dial}
show_figure(
    transfer_plot(mixed, pd.Series({rho: found["value"] for rho, found in within.items()})),
    alt="Mixed ROC-AUC for every training rho and test rho, and the within-source ROC-AUC beside it.",
    source="predictions/shortcut.parquet",
)

# %% [markdown]
# ## Cures
# **Source-balanced sampling** draws every (source, class) cell equally often. **Gradient reversal** (Ganin and
# Lempitsky, ICML 2015) adds a discriminator that tells the sources apart from the pooled bottleneck, as one more
# task of the balancer, and turns its gradient round before the encoder:
# $\theta_f \leftarrow \theta_f - \eta\,(\partial L_y/\partial\theta_f - \lambda\,\partial L_d/\partial\theta_f)$.
# Both need something to hold on to. How many training slices each cell has:

# %%
counts = [
    laboratory.training_set(rho).table.groupby(["source", "cls"]).size().rename(f"rho {rho:g}")
    for rho in laboratory.cured_at
]
cells = pd.concat(counts, axis=1).reindex(pd.MultiIndex.from_product([sorted(LEANING), [0, 1]]))
cells = cells.fillna(0).astype(int).rename_axis(["source", "class"]).reset_index()
show_table(cells, source="predictions/shortcut.parquet", caption="Training slices per cell", index=False)

# %% [markdown]
# At $\rho=1$ two cells are **empty**. Balancing cannot draw what is not there, so it changes nothing but the noise of
# training; and features that hide the source hide the class, because they are the same thing. No method that sees
# only these data can cure that: other data can. Below one, the rare cells are small but real.

# %%
cures = [shortcut.NETWORK, *shortcut.CURES]
rows = [
    {"trained at": f"rho {rho:g}", "cure": "none" if arm == shortcut.NETWORK else arm}
    | {figure: figure_of(table, arm, rho, figure) for figure in figures}
    for rho in laboratory.cured_at
    for arm in cures
]
show_table(
    pd.DataFrame(rows),
    source="predictions/shortcut.parquet",
    caption="ROC-AUC with and without a cure",
    index=False,
)

# %% [markdown]
# The within-source figures again, side by side:

# %%
bars = [
    {
        "label": "no cure" if arm == shortcut.NETWORK else arm,
        "estimate": figure_of(table, arm, rho, "within source"),
        "group": f"trained at rho {rho:g}",
    }
    for rho in laboratory.cured_at
    for arm in cures
]
show_figure(
    forest_plot(bars, xlabel="ROC-AUC within source", reference=0.5, reference_label="chance"),
    alt="Within-source ROC-AUC with intervals, without a cure and with three, at the strongest positions.",
    source="predictions/shortcut.parquet",
)

# %% [markdown]
# ## The same audit on the run's own sources
# With real data (`data_root`) the questions are put to the run's own frozen test set: what the source alone
# reaches, what grey values alone reach, what the background alone reaches as scanned and as prepared, the joint
# network per source, and a small network that learned from the other sources only (read its rows per source: pooled, they
# mix the scores of different networks; left out where the other sources do not show both classes).

# %% tags=["optional-figure"]
audited = {}
if parameters.data_root:
    study = BrainMriStudy(parameters)
    audited = by_stage_and_source(classification_table(audit_predictions(study), **settings))
    columns = {"roc_auc": "ROC-AUC", "roc_auc_within_source": "within source", "specificity": "specificity"}
    display(
        show_table(
            pd.DataFrame(readable_rows(audited, columns)),
            source="predictions/source_audit.parquet",
            caption="Source audit of the run's own data",
            index=False,
        )
    )
else:
    print(
        "This run has phantoms only. With data_root set, a table per source stands here: joint network, source "
        "only, grey-value histogram, background as scanned and as prepared, each source left out in turn."
    )

# %% [markdown]
# ## Limitations
# - Intervals are over test patients of these trained networks. Fewer than five seeds give no verdict on what
#   training again would do, also not on which cure is better.
# - Networks and pictures are small on purpose; the phantom's scanners differ more plainly than many real ones do.
# - The background arms read grey-value histograms; a network might find more in the outline.
# - Within-source figures are no proof of innocence: a shortcut *inside* a source (site, year, protocol) is missed.
#
# The story would be wrong if the within-source figure rose with the dial as the mixed one does.

# %% [markdown]
# ## Results
# Both ends of the dial, one network on two test sets, and the cures:

# %%
ends = {"low": parameters.dial[0], "high": parameters.dial[-1]}
chosen = laboratory.cured_at[0]
fixed = transfer[transfer["trained_at"] == chosen].sort_values("tested_at")
fixed = fixed[["value", "low", "high", "n", "unit"]].to_dict("records")
of_network = {
    end: {"rho": f"{rho:g}"}
    | {
        name.replace(" ", "_"): figure_of(table, shortcut.NETWORK, rho, name)
        for name in ("mixed", "within source", "deployed")
    }
    for end, rho in ends.items()
}
of_cures = {
    f"rho_{rho:g}": {arm: figure_of(table, arm, rho, "within source") for arm in cures}
    for rho in laboratory.cured_at
}

# %% [markdown]
# They go to `metrics.json` with the published results and the audit.

# %%
section = {
    "seeds": parameters.shortcut_seeds,
    "published": {"source_only": source_only, "network": network, "all_positive": everything},
    "alarms_all_positive": ", ".join(alarm.code.replace("_", " ") for alarm in rung),
    "dial": of_network,
    "fixed": {
        "trained_at": f"{chosen:g}",
        "low": fixed[0],
        "high": fixed[-1],
        "within_source": within[chosen],
    },
    "cures": of_cures,
    "cured": {
        "rho": f"{chosen:g}",
        "none": figure_of(table, shortcut.NETWORK, chosen, "deployed"),
        **{arm.replace(" ", "_"): figure_of(table, arm, chosen, "deployed") for arm in shortcut.CURES},
    },
    "audit": audited,
    "table": table.drop(columns="reason").to_dict("records"),
    "headline": [
        {"label": f"Mixed ROC-AUC, rho {ends['high']:g}", "value": of_network["high"]["mixed"]},
        {"label": f"within source, rho {ends['high']:g}", "value": of_network["high"]["within_source"]},
        {"label": f"within source, rho {ends['low']:g}", "value": of_network["low"]["within_source"]},
    ],
}
write_metrics(laboratory.run.path, "source_shortcut", section)

# %% [markdown]
# The picture of the answer: on the left the dial is turned for training and test alike; on the right one trained
# network meets test sets of other composition.

# %%
points = ["rho", "value"]  # bands for the two figures that matter only
lines = [
    ("mixed", "mixed sources", figure_rows(table, shortcut.NETWORK, "mixed")),
    ("within", "within source", figure_rows(table, shortcut.NETWORK, "within source")),
    ("deployed", "deployed, shortcut gone", figure_rows(table, shortcut.NETWORK, "deployed")[points]),
    ("source", "source only, mixed", figure_rows(table, shortcut.SOURCE_ONLY, "mixed")[points]),
    (
        "background",
        "background as scanned, mixed",
        figure_rows(table, shortcut.BACKGROUND_NATIVE, "mixed")[points],
    ),
    ("elsewhere", "other source left out", figure_rows(table, shortcut.ELSEWHERE, "within source")[points]),
]
one = transfer[transfer["trained_at"] == chosen].rename(columns={"tested_at": "rho"})
level = pd.DataFrame([{"rho": rho, **within[chosen]} for rho in parameters.dial])
panels = {
    "Training and test set turned together": [line for line in lines if len(line[2])],
    f"One network (trained at {chosen:g}), test set turned": [
        ("mixed", "mixed sources", one),
        ("within", "within source", level),
    ],
}

# %% [markdown]
# ## Executive summary
# In short, as it stands at the top of the report:

# %% tags=["headline"]
display(
    claim(
        "With the dial at {source_shortcut.dial.low.rho:text} the network's ROC-AUC is "
        "{source_shortcut.dial.low.mixed:.2f} on mixed sources and {source_shortcut.dial.low.within_source:value} within "
        "a source; at {source_shortcut.dial.high.rho:text} it is {source_shortcut.dial.high.mixed:.2f} mixed, but "
        "{source_shortcut.dial.high.within_source} within a source and {source_shortcut.dial.high.deployed:.2f} "
        "where the shortcut is gone. *One* network, trained at {source_shortcut.fixed.trained_at:text}, moves from "
        "{source_shortcut.fixed.low:.2f} to {source_shortcut.fixed.high:.2f} when only the test set's composition is "
        "turned; its within-source figure stays at {source_shortcut.fixed.within_source:value}. Trained at "
        "{source_shortcut.cured.rho:text}, the deployed figure is "
        "{source_shortcut.cured.none:.2f} without a cure, {source_shortcut.cured.source-balanced:.2f} with "
        "source-balanced sampling and {source_shortcut.cured.gradient_reversal:.2f} with gradient reversal. "
        "A published ROC-AUC of {source_shortcut.published.network.roc_auc:.2f} stands beside "
        "{source_shortcut.published.source_only.roc_auc:.2f} for a classifier that never looks at the image. "
        "Intervals are over test patients, none over training again; networks per arm: {source_shortcut.seeds}.",
        laboratory.run.metrics,
    )
)
show_figure(
    dial_plot(panels, xlabels=["rho of training and test set", "rho of the test set"]),
    alt="ROC-AUC against rho: mixed sources, within source, deployed, and trivial arms; and one network alone.",
    source="metrics.json#/source_shortcut",
)
