# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Histology: annotate, train, correct
#
# **Question.** An annotator has time for so many actions: is it better spent on reviewing what the network proposes, or on
# outlining nuclei in random order?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/histology/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/histology/
data_root: str = ""  # folder of the data sets
tiles: str = "phantom"  # phantom, or a folder below data_root
loop_rounds: int = 3  # rounds of annotating and training
loop_actions: int = 20  # actions of the annotator in a round
loop_steps: int = 24  # training steps after a round
loop_start: int = 10  # nuclei that are outlined before the first round
loop_tiles: int = 6  # tiles that are annotated
n_bootstrap: int = 1000  # bootstrap resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("histology", globals())

# %% [markdown]
# ## Method
# A simulated annotator, who knows the truth, and the network take turns. Both ways begin with the same outlined nuclei and
# the same untrained network, spend as many actions per round, and train for as many steps after it.
#
# - *Proposals*: tile by tile, the annotator goes through what the network proposes, the surest first; accepts what shares
#   more than half of its union with a nucleus, rejects the rest, then draws what is missing, largest first.
# - *Random order*: tile by tile, nuclei are outlined in random order, without a look at the network.
#
# An accepted proposal becomes a label as it is, with its faults; a drawn nucleus is exact. Accepting, rejecting and drawing
# count as one action each, although drawing takes longest: the curve over *drawn* nuclei is the kinder one to proposals.
# Every action is on the disk before the next one; a run that is killed goes on.

# %%
import pandas as pd
from mtl.evaluation.histology import summarise_images
from mtl.evaluation.comparison import paired_difference
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_histology import TRUTH, curves_with_bands, nuclei_grid
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.histology.annotation_loop import PROPOSALS, RANDOM, STRATEGIES, AnnotationLoop, effort_at
from mtl.studies.histology.answers import loop_answer
from mtl.studies.histology.study import HistologyStudy

use_report_style()
study = HistologyStudy(parameters)
loops = {strategy: AnnotationLoop(study, strategy) for strategy in STRATEGIES}
table = pd.concat([loop.run() for loop in loops.values()], ignore_index=True)
study.run.write_predictions("annotation_loop", table)

# %% [markdown]
# ## What the annotator did
# Up to the end of each round.

# %%
counts = table.groupby(["strategy", "round"], sort=False)[
    ["actions", "accept", "reject", "add", "outlined"]
].first()
rows = counts.reset_index().rename(columns={"add": "drawn", "accept": "accepted", "reject": "rejected"})
show_table(rows, source="predictions/annotation_loop.parquet", caption="Actions so far", index=False)

# %% [markdown]
# What is outlined in the end, on the tiles that were annotated.

# %%
shown = list(loops[PROPOSALS].tiles.values())[:4]
show_figure(
    nuclei_grid(
        [t.image for t in shown] * 2,
        [{"outlined": loops[way].session.instances(t.id)} for way in STRATEGIES for t in shown],
        [f"{way} · {t.group}" for way in STRATEGIES for t in shown],
        {"outlined": TRUTH},
        ncols=len(shown),
    ),
    alt="The annotated tiles with what is outlined in the end, by proposals and in random order.",
    source="annotations/",
)

# %% [markdown]
# ## Curves
# PQ on the test tiles of the first fold after each round, with intervals over images: over all actions, and over the
# nuclei that are annotated by then, accepted or drawn by hand. Rejections are actions; no loss learns from them. The
# validation tiles, on which decodings are chosen, are outlined whole, and count as no effort of either way.

# %%
lines = []
for (way, number), rows in table.groupby(["strategy", "round"], sort=False):
    estimate = summarise_images(rows, ["pq"], n_resamples=parameters.n_bootstrap, seed=parameters.seed)[
        "pq"
    ].to_dict()
    effort = rows.iloc[0]
    for axis, name in (("actions", "actions"), ("outlined", "annotated nuclei")):
        lines.append(
            {"name": way, "panel": f"over {name}", "x": int(effort[axis]), "round": number} | estimate
        )
curves = pd.DataFrame(lines)
show_figure(
    curves_with_bands(curves, "x", "number so far", panel="panel"),
    alt="PQ after each round over actions and over annotated nuclei, for both ways.",
    source="predictions/annotation_loop.parquet",
)

# %% [markdown]
# ## At the end
# Paired by image: proposals minus random order, after the last round. And how much effort each way needs for the PQ that
# the worse of both reaches in the end.

# %%
last = table[table["round"] == parameters.loop_rounds]
ends = {way: last[last["strategy"] == way].set_index("image")["pq"] for way in STRATEGIES}
both = pd.DataFrame(ends).dropna()
difference = paired_difference(
    both[RANDOM].to_numpy(), both[PROPOSALS].to_numpy(), both.index,
    n_resamples=parameters.n_bootstrap, seed=parameters.seed, unit="image",
).estimate  # fmt: skip
reached = min(float(values.mean()) for values in ends.values())
rows = [
    {
        "way": way,
        "PQ at the end": summarise_images(
            last[last["strategy"] == way], ["pq"], n_resamples=parameters.n_bootstrap
        )["pq"],
        **{
            f"{name} for PQ {reached:.2f}": effort_at(table[table["strategy"] == way], reached, by)
            for by, name in (("actions", "actions"), ("add", "drawn"))
        },
    }
    for way in STRATEGIES
]
show_table(
    pd.DataFrame(rows).astype(object),
    source="metrics.json#/annotation_loop",
    caption="After the last round",
    index=False,
)

# %% [markdown]
# ## What it means
# One run of each way on a handful of tiles: luck in the first outlines, or another seed, may turn the order round. The
# annotator is tireless and never errs; a person's accepted proposals would hold mistakes. Where the network proposes
# little of use in the first rounds, reviewing it costs rejections. The answer would be wrong if the ways changed places
# with other seeds.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
section = {
    "rounds": parameters.loop_rounds,
    "actions": int(last["actions"].max()),
    "difference": difference,
    **{
        way.replace(" ", "_"): {
            "pq": row["PQ at the end"],
            **{
                name: int(last[last["strategy"] == way][name].iloc[0])
                for name in ("outlined", "accept", "reject", "add")
            },
        }
        for way, row in zip(STRATEGIES, rows, strict=True)
    },
}
section["headline"] = [
    {"label": f"PQ after {section['actions']} actions, proposals", "value": section["proposals"]["pq"]},
    {"label": "the same, random order", "value": section["random_order"]["pq"]},
]
write_metrics(study.run.path, "annotation_loop", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(loop_answer(section), study.run.metrics))
show_figure(
    curves_with_bands(curves, "x", "number so far", panel="panel"),
    alt="PQ after each round over actions and over annotated nuclei, for both ways.",
    source="predictions/annotation_loop.parquet",
)
