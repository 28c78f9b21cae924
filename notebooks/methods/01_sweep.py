# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sweep: which setting makes a difference?
#
# **Question.** Several arms were trained with the same seeds and tested on the same frozen cases: which of them
# differs from the baseline by more than training again, or testing other cases, would?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `mtl sweep` runs this notebook when all points of a sweep are trained.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the sweep, for the record
sweep_directory: str = "outputs/sweeps/smoke"  # folder that mtl sweep wrote
n_bootstrap: int = 1000  # resamples of every interval
seed: int = 0  # of the resampling

# %% [markdown]
# The next cell checks them. A name that is not known here is refused, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("methods", globals())

# %% [markdown]
# The tools of this notebook: everything is computed from the saved predictions of the points.

# %%
from mtl.evaluation.brain_mri.arms import arm_means, arm_values, compare_with_baseline
from mtl.files import write_json
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_results import forest_plot
from mtl.reporting.figures_sweep import curves_of_arms, seeds_of_arms
from mtl.reporting.metrics_file import write_metrics
from mtl.reporting.sweep_results import (
    METRIC_NAMES,
    counted_verdicts,
    forest_rows,
    nested_differences,
    read_sweep,
    readable_differences,
    wide_values,
)
from mtl.studies.run_directory import write_table

# %% [markdown]
# ## The arms
# An arm is a set of parameters. The table shows those that differ between arms; all others are the same. The seed
# of a point is of its training alone (initial weights, order of the data, dropout): data, test cases and split are
# those of one seed throughout, and predictions with another test hash are refused.

# %%
use_report_style()
sweep = read_sweep(parameters.sweep_directory)
baseline, metrics = sweep.plan["baseline"], sweep.plan["metrics"]
show_table(
    sweep.differing(),
    source="sweep.json#/differing",
    caption=f"Parameters that differ; the baseline is {baseline}",
    index=False,
)

# %% [markdown]
# What was tested, the same for every point. The unit is the group (patient or near-duplicate group).

# %%
first = sweep.predictions[
    (sweep.predictions["arm"] == baseline) & (sweep.predictions["seed"] == sweep.plan["seeds"][0])
]
counts = first.groupby("source").agg(
    slices=("id", "nunique"), groups=("group", "nunique"), tumour=("cls", "sum"), masks=("has_mask", "sum")
)
show_table(counts, source="points/*/*/predictions/*.parquet", caption="The frozen test set")

# %% [markdown]
# ## Scores seed by seed
# One column per seed: how far the same setting moves when it is trained again is the yardstick of every
# difference below. The mean has an interval from five seeds on.

# %%
values = arm_values(sweep.predictions, metrics)
means = arm_means(values)
for metric in metrics:
    display(
        show_table(
            wide_values(values, means, metric, "pooled"),
            source="points/*/*/predictions/*.parquet",
            caption=f"{METRIC_NAMES[metric]} on all test cases",
            index=False,
        )
    )

# %% [markdown]
# The same as a picture: a dot is a trained network, dots of one seed are joined, the bar is the mean.

# %%
show_figure(
    seeds_of_arms(values[values["source"] == "pooled"], METRIC_NAMES),
    alt="Score of every trained network by arm, one panel per metric; lines join networks of one seed.",
    source="points/*/*/predictions/*.parquet",
)

# %% [markdown]
# ## Training
# The validation score by which checkpoints are chosen, averaged over seeds, in the last stage. An arm that is still
# rising at the end was compared too early.

# %%
show_figure(
    curves_of_arms(sweep),
    alt="Validation score over epochs of the last stage, one line per arm, averaged over seeds.",
    source="points/*/*/checkpoints",
)

# %% [markdown]
# What each arm cost, per point.

# %%
cost = sweep.trained.groupby(["arm", "seed"])["seconds"].sum().groupby("arm").agg(["mean", "min", "max"])
show_table(
    cost.loc[list(sweep.plan["arms"])].add_prefix("seconds, "),
    source="points/*/*/point.json",
    caption="Training time per point",
)

# %% [markdown]
# ## Differences from the baseline
# The difference is arm minus baseline, paired by seed and by case. Its interval covers both sources of chance:
# training again, and testing other cases,
#
# $$ se^2 = s_\mathrm{seed}^2 / S + s_\mathrm{unit}^2 / U. $$
#
# `seeds only` keeps these test cases fixed. A metric that is no mean over cases (ROC-AUC) is linearised
# case by case first. p values are corrected over this table and the next together (Holm); the verdict reads the plain
# interval against a margin that the sweep's file fixed beforehand. With fewer than five seeds there is no interval and **no verdict**.

# %%
compared = compare_with_baseline(
    sweep.predictions,
    baseline,
    metrics,
    sweep.plan["margins"],
    n_resamples=parameters.n_bootstrap,
    seed=parameters.seed,
)
pooled = compared[compared["source"] == "pooled"]
show_table(
    readable_differences(pooled).drop(columns="source"),
    source="comparison.json",
    caption=f"Arms minus {baseline}, all test cases",
    index=False,
)

# %% [markdown]
# Source by source: an arm that gains on mixed sources and on none of them has learnt to tell the sources apart.

# %%
by_source = compared[compared["source"] != "pooled"]
if len(by_source):
    display(
        show_table(
            readable_differences(by_source).drop(columns="seeds only"),
            source="comparison.json",
            caption=f"Arms minus {baseline}, per source",
            index=False,
        )
    )
else:
    print("one source only")

# %% [markdown]
# Within a seed: the interval is over test cases for these very networks. Seeds that disagree in sign say that the
# setting matters less than the draw of initial weights.

# %%
networks = [
    {
        "label": f"{row.arm}, seed {number}".replace("_", " "),
        "estimate": one,
        "group": METRIC_NAMES[row.metric],
    }
    for row in pooled.itertuples()
    for number, one in zip(sweep.plan["seeds"], row.per_seed, strict=True)
]
show_figure(
    forest_plot(
        networks,
        xlabel=f"Difference from {baseline}, seed by seed",
        reference=0,
        reference_label="no difference",
    ),
    alt="Difference from the baseline for every seed and arm with intervals over test cases.",
    source="comparison.json",
)

# %% [markdown]
# ## Limitations
# - Seeds of one split: what another split would change is not in the intervals.
# - A parameter is varied round one setting of all others; another base may answer otherwise.
# - The baseline's settings were chosen before, the arms' were not tuned: a loss may be a loss of tuning.
# - On phantoms the answer is about the machinery, not about patients.
#
# The answer would be wrong if the order of arms changed with the metric's source, or if arms were still improving
# when training ended.

# %% [markdown]
# ## Results
# Everything goes to `comparison.json` and `comparison.parquet`; the figures quoted in prose to `metrics.json`.

# %%
found = nested_differences(compared)
write_json(sweep.folder / "comparison.json", {"baseline": baseline, "differences": found})
write_table(sweep.folder / "comparison.parquet", compared.drop(columns="per_seed"))
write_table(sweep.folder / "values.parquet", values)
largest = pooled[pooled["metric"] == metrics[0]].sort_values("value", key=abs).iloc[-1]
section = {
    "baseline": baseline,
    "arms": len(sweep.plan["arms"]),
    "seeds": len(sweep.plan["seeds"]),
    "differences": found,
    "verdicts": counted_verdicts(pooled),
    "metric": METRIC_NAMES[metrics[0]],
    "largest": {
        "arm": largest["arm"],
        **{name: largest[name] for name in ("value", "low", "high", "n", "unit", "verdict")},
    },
    "headline": [
        {
            "label": f"{arm} minus {baseline}, {METRIC_NAMES[metrics[0]]}",
            "value": found[metrics[0]]["pooled"][arm],
        }
        for arm in sweep.others()
    ],
}
write_metrics(sweep.folder, "sweep", section)

# %% [markdown]
# ## Executive summary
# In short, as it stands at the top of the report:

# %% tags=["headline"]
display(
    claim(
        "Of {sweep.arms} arms trained with {sweep.seeds} seeds each, *{sweep.largest.arm:text}* moves {sweep.metric:text} "
        "furthest from the baseline *{sweep.baseline:text}*: by {sweep.largest} (*{sweep.largest.verdict:text}*). Over all "
        "metrics and arms the verdicts are: {sweep.verdicts:text}.",
        sweep.folder / "metrics.json",
    )
)
show_figure(
    forest_plot(
        forest_rows(compared),
        xlabel=f"Difference from {baseline}",
        reference=0,
        reference_label="no difference",
    ),
    alt=f"Differences from the baseline {baseline} with intervals over seeds and cases, grouped by metric.",
    source="comparison.json",
)
