# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Angiography: SigLIP or CLIP, copied reports, and how much to mask
#
# **Question.** Which contrastive loss, which batch, how many copied reports, how much of the video hidden: what do the settings
# of this run (`settings`) change?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/angiography/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/angiography/
data_root: str = ""  # folder of the data sets
videos: str = "phantom"  # phantom, or a table or folder below data_root
settings: str = "siglip"  # other settings to train and compare
batch_size: int = 64  # clips per batch
mask_ratio: float = 0.75  # share of the tubelets that are masked
seeds: int = 1  # trainings of each variant
n_bootstrap: int = 1000  # bootstrap resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("angiography", globals())

# %% [markdown]
# ## Method
# Each setting differs from the run's own in what its name says, and in nothing else: it sees as many clips (so a smaller
# batch makes more steps), and all are tested on the same studies. Copied reports are copied in the training part only, with
# the findings that they name; they can be taken for what they are (matches) or for mismatches.

# %%
import pandas as pd
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_angiography_curves import over_batch_sizes
from mtl.reporting.figures_results import forest_plot
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.angiography.answers import reading, settings_answer
from mtl.studies.angiography.comparison import (
    compare,
    figures_table,
    first_differences,
    forest_rows,
    metric_estimates,
    with_holm,
)
from mtl.studies.angiography.published import published_rows
from mtl.studies.angiography.scoring import score_network
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import ALL, COMPARED, SETTINGS, shown_variant

use_report_style()
study = AngiographyStudy(parameters)

# %% [markdown]
# What another notebook has trained already is taken from there; a run that was killed goes on where it was.

# %%
asked = [ALL, *(variant for variant in study.training_order() if variant in SETTINGS)]
rows = []
for variant in asked:
    results = study.train(variant)
    for training in study.trainings(variant):
        score_network(study, training)
    own = study.variant_parameters(variant)
    rows.append(
        {
            "setting": shown_variant(variant),
            "loss": {"sigmoid": "SigLIP", "softmax": "CLIP"}[own.contrastive],
            "batch": own.batch_size,
            "masked": f"{own.mask_ratio:g}, {own.mask_shape}",
            "copied reports": own.duplicate_rate,
            "steps": results[0].steps,
            "minutes of training": sum(result.seconds for result in results) / 60,
        }
    )
described = pd.DataFrame(rows, index=asked)
show_table(described, source="checkpoints/", caption="What was trained", index=False)

# %% [markdown]
# ## All settings
# Means over test studies (and seeds), with intervals over studies.

# %%
figures = {variant: metric_estimates(study, variant) for variant in asked}
show_table(
    figures_table(figures, "setting"),
    source="metrics.json#/contrast_and_masking",
    caption="Test studies",
    index=False,
)

# %% [markdown]
# ## SigLIP and CLIP over batch sizes
# R@1 of a film's report. One point per loss where the run asks for one batch size only.

# %% tags=["optional-figure"]
plain = described[
    (described["copied reports"] == parameters.duplicate_rate)
    & (described["masked"] == described.loc[ALL, "masked"])
]
lines = [
    {"name": row.loss, "batch": row.batch, **figures[variant]["to_report"].to_dict()}
    for variant, row in plain.iterrows()
    if "to_report" in figures[variant]
]
if lines:
    show_figure(
        over_batch_sizes(pd.DataFrame(lines), ylabel="R@1, report of a film"),
        alt="Recall at 1 of SigLIP and CLIP over batch sizes with intervals over studies.",
        source="metrics.json#/contrast_and_masking",
    )

# %% [markdown]
# ## Against the run's own setting
# Above zero the run's own setting is better.

# %%
differences = with_holm({variant: compare(study, variant) for variant in asked if variant != ALL})
rows = [
    {
        "own setting minus": shown_variant(variant),
        "measure": COMPARED[metric],
        "difference": row["estimate"],
        "p (Holm)": row.get("p_holm"),
        "verdict": reading(row["verdict"], of_settings=True),
    }
    for variant, found in differences.items()
    for metric, row in found.items()
]
show_table(
    pd.DataFrame(rows).astype(object), source="metrics.json#/contrast_and_masking",
    caption="Paired differences on the test studies", index=False, if_empty="Nothing to compare.",
)  # fmt: skip

# %% [markdown]
# The same as a picture; where nothing was compared, the run's own figures.

# %%
bars = forest_rows(differences, figures[ALL])
compared = any(differences.values())
xlabel = "The run's own setting minus the one named" if compared else "The run's own setting"
line = {"reference": 0.0, "reference_label": "no difference"} if compared else {}
alt = "Difference in retrieval and field F1 between the run's own setting and each other, with intervals."
alt = alt if compared else "Retrieval and field F1 of the run's own network, with intervals."
if bars:
    show_figure(forest_plot(bars, xlabel, **line), alt=alt, source="metrics.json#/contrast_and_masking")

# %% [markdown]
# ## What it means
# With fewer than five seeds these are single networks: an interval says what other studies would change, not what another
# seed would. A setting that loses here was not given another learning rate; batch size and learning rate usually go
# together. The answer would be wrong if a setting tuned for itself turned a difference round.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
section = {
    "figures": figures,
    "differences": differences,
    "seeds": parameters.seeds,
    "settings": [shown_variant(variant) for variant in asked],
    "made_up": parameters.videos == "phantom",
    "headline": first_differences(differences),
}
write_metrics(study.run.path, "contrast_and_masking", section)
if len(figures) > 1:
    named = {shown_variant(variant): found for variant, found in figures.items()}
    what = "Angiography, settings side by side"
    write_metrics(study.run.path, "published_settings", published_rows(study, named, what))

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(settings_answer(section), study.run.metrics))
if bars:
    show_figure(forest_plot(bars, xlabel, **line), alt=alt, source="metrics.json#/contrast_and_masking")
