# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Angiography: which objective helps which?
#
# **Question.** Is retrieval better with captions beside it, and are captions better with contrast?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/angiography/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/angiography/
data_root: str = ""  # folder of the data sets
videos: str = "phantom"  # phantom, or a table or folder below data_root
variants: str = "all,only_contrastive,only_captioning"  # sets of objectives
seeds: int = 1  # trainings of each variant
epochs: int = 10  # passes
recall_margin: float = 0.05  # loss of R@1 that matters, fixed beforehand
f1_margin: float = 0.05  # loss of field F1 that matters, fixed beforehand
n_bootstrap: int = 1000  # bootstrap resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("angiography", globals())

# %% [markdown]
# ## Method
# A *variant* is a set of objectives. Of one seed all variants start from the same weights of the parts that they share, see
# the same clips in the same order and make the same number of steps. Differences are paired by test study. With five seeds
# and more the interval covers seeds and studies, and a margin that was fixed beforehand decides on a verdict; with fewer
# there is **no verdict** on the objectives: the interval is then about these very networks.

# %%
import pandas as pd
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_results import forest_plot
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.angiography.answers import objectives_answer, reading
from mtl.studies.angiography.comparison import (
    compare,
    figures_table,
    first_differences,
    forest_rows,
    metric_estimates,
    with_holm,
)
from mtl.studies.angiography.scoring import score_network
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import ALL, COMPARED, OBJECTIVES, shown_variant

use_report_style()
study = AngiographyStudy(parameters)

# %% [markdown]
# What another notebook has trained already is taken from there; a run that was killed goes on where it was.

# %%
compared_variants = [variant for variant in study.training_order() if variant in OBJECTIVES]
rows = []
for variant in compared_variants:
    results = study.train(variant)
    for training in study.trainings(variant):
        score_network(study, training)
    rows.append(
        {
            "variant": shown_variant(variant),
            "objectives": ", ".join(study.tasks(variant)),
            "networks": len(results),
            "minutes of training": sum(result.seconds for result in results) / 60,
        }
    )
show_table(pd.DataFrame(rows), source="checkpoints/", caption="What was trained", index=False)

# %% [markdown]
# ## All variants
# Means over test studies (and seeds), with intervals over studies. A variant without captions has no field F1, one without
# contrast no retrieval.

# %%
figures = {variant: metric_estimates(study, variant) for variant in compared_variants}
show_table(
    figures_table(figures, "variant"),
    source="metrics.json#/which_objective_helps",
    caption="Test studies",
    index=False,
)

# %% [markdown]
# ## All objectives against each set
# Above zero all objectives together are better.

# %%
differences = with_holm({variant: compare(study, variant) for variant in compared_variants if variant != ALL})
rows = [
    {
        "all objectives minus": shown_variant(variant),
        "measure": COMPARED[metric],
        "difference": row["estimate"],
        "p (Holm)": row.get("p_holm"),
        "smallest seen": row["minimal_detectable"],
        "verdict": reading(row["verdict"]),
    }
    for variant, found in differences.items()
    for metric, row in found.items()
]
show_table(
    pd.DataFrame(rows).astype(object), source="metrics.json#/which_objective_helps",
    caption=f"Paired differences; margins {parameters.recall_margin:g} of R@1, {parameters.f1_margin:g} of F1",
    index=False, if_empty="Nothing to compare.",
)  # fmt: skip

# %% [markdown]
# The same as a picture; where nothing was compared, the run's own figures.

# %%
bars = forest_rows(differences, figures[ALL])
compared = any(differences.values())
xlabel = "All objectives minus the set named" if compared else "All objectives"
line = {"reference": 0.0, "reference_label": "no difference"} if compared else {}
alt = "Difference in retrieval and field F1 between all objectives and each other set, with intervals."
alt = alt if compared else "Retrieval and field F1 of the run's own network, with intervals."
if bars:
    show_figure(forest_plot(bars, xlabel, **line), alt=alt, source="metrics.json#/which_objective_helps")

# %% [markdown]
# ## What it means
# A negative result is a result: an objective whose interval holds zero is not shown to help another one on these clips. The
# number of steps is the same for all; a set that makes cheaper steps could have made more of them in the same time (minutes
# are in the first table). The answer would be wrong if, with fewer than five seeds, another seed turned a difference round.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
section = {
    "figures": figures,
    "differences": differences,
    "seeds": parameters.seeds,
    "variants": [shown_variant(variant) for variant in compared_variants],
    "made_up": parameters.videos == "phantom",
    "headline": first_differences(differences),
}
write_metrics(study.run.path, "which_objective_helps", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(objectives_answer(section), study.run.metrics))
if bars:
    show_figure(forest_plot(bars, xlabel, **line), alt=alt, source="metrics.json#/which_objective_helps")
