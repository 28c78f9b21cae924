# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Brain MRI: warm-up on the slices that have masks
#
# **Question.** How well does the encoder-decoder outline tumours when it learns from the masked slices
# alone, before classification is asked of it?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/brain_mri/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/brain_mri/
data_root: str = ""  # folder with the real data sets; empty: phantoms
base_filters: int = 16  # channels of the first level
depth: int = 3  # poolings of the U-Net
batch_size: int = 16  # samples per batch
warm_up_epochs: int = 12  # epochs of this stage
warm_up_lr: float = 1e-3  # AdamW, encoder and decoder
reference_folds: int = 0  # folds in which a single-task MONAI BasicUNet is trained as well
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("brain_mri", globals())

# %% [markdown]
# ## Method
# The network is a U-Net with a classification head at its bottleneck; the head rests in this stage. The
# loss of a slice with mask $y$ and logits $z$ is
#
# $$ L_\mathrm{seg} = w_\mathrm{dice} \left(1 - \frac{2\sum_i p_i y_i + 1}{\sum_i p_i + \sum_i y_i + 1}\right)
# + w_\mathrm{bce}\,\mathrm{BCE}(z, y), \qquad p = \sigma(z),$$
#
# averaged over slices, never pooled over a batch. Slices whose mask is unknown are not drawn.

# %%
import pandas as pd
from mtl.evaluation.brain_mri import by_stage_and_source, readable_rows, segmentation_table
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_brain_mri import outline_failures
from mtl.reporting.figures_results import forest_plot, training_curves
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.brain_mri.failures import lowest_dice
from mtl.studies.brain_mri.predictions import (
    read_predictions,
    write_baseline_predictions,
    write_test_predictions,
)
from mtl.studies.brain_mri.study import BrainMriStudy

use_report_style()
study = BrainMriStudy(parameters)
sizes = {
    name: sum(p.numel() for p in part.parameters()) for name, part in study.untrained_model().parts.items()
}
show_table(
    pd.DataFrame([sizes], index=["parameters"]),
    source="provenance.json#/parameters",
    caption="Size of the parts",
)

# %% [markdown]
# ## Training
# One call trains every fold; a fold that is finished already is taken from its folder, an interrupted one is
# taken up where its last checkpoint stands. The best epoch is the one with the highest Dice on validation.

# %%
results = study.train("warm_up")
history = pd.concat([result.history.assign(fold=fold) for fold, result in enumerate(results)])
curves = history.pivot_table(index=["fold", "epoch"], columns="key", values="value").reset_index()
curves = curves.rename(columns={"train/loss/segmentation": "training loss", "val/dice": "validation Dice"})
figure = training_curves(curves, ["training loss", "validation Dice"])
show_figure(
    figure,
    alt="Training loss and validation Dice over the epochs of the warm-up.",
    source="checkpoints/*/warm_up/history.parquet",
)

# %% [markdown]
# ## Result on the test part
# Dice, IoU and HD95 are computed per slice. A slice whose true mask is empty has no Dice worth averaging, so
# the mean runs over non-empty slices, and falsely marked empty slices are counted beside it. Intervals are
# bootstrap intervals over groups. The `mean_mask` baseline predicts the average training mask everywhere.

# %%
write_test_predictions(study, "warm_up")
write_baseline_predictions(study)
predictions = read_predictions(study, ["warm_up", "baselines"])
settings = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed}
found = by_stage_and_source(segmentation_table(predictions, **settings))
wanted = {
    "dice_nonempty": "Dice",
    "iou_nonempty": "IoU",
    "hd95": "HD95 (px)",
    "hd95_undefined": "nothing found",
    "empty_falsely_marked": "empty falsely marked",
}
show_table(
    pd.DataFrame(readable_rows(found, wanted)),
    source="predictions/warm_up.parquet",
    caption="Segmentation on the test part",
    index=False,
)

# %% [markdown]
# ## A reference
# With `reference_folds` a single-task MONAI `BasicUNet` learns from the same masked slices, for as many
# steps as warm-up and joint stage take together. It bounds what this data allows a plain segmentation network.
# The warm-up stands beside it on the same folds, with the steps of both.

# %%
beside = {}
if parameters.reference_folds:
    reference = study.train("reference")
    write_test_predictions(study, "reference")
    both = read_predictions(study, ["reference", "warm_up"])
    beside = by_stage_and_source(
        segmentation_table(both[both["fold"] < parameters.reference_folds], **settings)
    )
    steps = {"warm_up": results[0].steps, "reference": reference[0].steps}
    rows = [
        {"stage": stage, "steps": steps[stage], "source": source, "Dice": metrics["dice_nonempty"]}
        for stage, sources in beside.items()
        for source, metrics in sources.items()
    ]
    display(
        show_table(
            pd.DataFrame(rows),
            source="predictions/reference.parquet",
            caption="On the same folds",
            index=False,
        )
    )
else:
    print("no reference network in this run (reference_folds is 0)")

# %% [markdown]
# ## Where it fails
# The worst slices first: solid is the truth, dashed the prediction. A Dice near zero on a small lesion is a
# miss that a mean hides.

# %%
drawn = lowest_dice(study, "warm_up", predictions)
figure = outline_failures(study.samples(list(drawn["id"])), drawn)
show_figure(
    figure,
    alt="The test slices with the lowest Dice; true mask solid, predicted mask dashed.",
    source="predictions/warm_up.parquet",
)

# %% [markdown]
# ## What it means
# The warm-up is the yardstick for what follows: the joint stage may not cost more than the margin that is
# fixed in the parameters. If the mean-mask baseline came close to the network, the masks would be predictable
# from position alone and Dice would say little about the image.

# %% [markdown]
# ## Results
# The figures of this notebook go to `metrics.json`; the answer reads them from there.

# %%
network, baseline = found["warm_up"]["pooled"], found["mean_mask"]["pooled"]
section = {
    "test": found["warm_up"],
    "mean_mask": baseline,
    "headline": [
        {"label": "Dice, non-empty slices", "value": network["dice_nonempty"]},
        {"label": "Empty slices falsely marked", "value": network["empty_falsely_marked"]},
    ],
}
text = (
    "After the warm-up the network outlines tumours with a Dice of {warm_up.test.pooled.dice_nonempty:full} "
    "on non-empty test slices; the mean training mask reaches {warm_up.mean_mask.dice_nonempty}. "
    "It marks something on {warm_up.test.pooled.empty_falsely_marked:.0%} of the empty slices."
)
if beside:
    section["beside_reference"] = beside
    text += (
        " On the same folds a single-task BasicUNet reaches {warm_up.beside_reference.reference.pooled.dice_nonempty}, "
        "the warm-up {warm_up.beside_reference.warm_up.pooled.dice_nonempty}."
    )
write_metrics(study.run.path, "warm_up", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(text, study.run.metrics))
bars = [
    {"label": label, "estimate": found[stage][source]["dice_nonempty"], "group": source}
    for source in found["warm_up"]
    for stage, label in {"warm_up": "warm-up", "mean_mask": "mean mask"}.items()
]
show_figure(
    forest_plot(bars, xlabel="Dice on non-empty test slices", limits=(0, 1)),
    alt="Dice with confidence intervals of the warm-up network and the mean mask, per source and pooled.",
    source="metrics.json#/warm_up",
)
