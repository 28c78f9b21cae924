# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Brain MRI: a head on frozen features
#
# **Question.** What do features that were learned for outlining tumours know about whether there is one,
# when the encoder is not allowed to change?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/brain_mri/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/brain_mri/
data_root: str = ""  # folder with the real data sets; empty: phantoms
head_epochs: int = 4  # epochs of this stage
head_lr: float = 1e-3  # AdamW, classification head
dropout: float = 0.5  # in the head
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("brain_mri", globals())

# %% [markdown]
# ## Method
# The head pools the bottleneck and classifies it with a small perceptron,
#
# $$ h = \mathrm{GAP}(x_\mathrm{bottleneck}), \qquad
# c = W_2\,\mathrm{dropout}(\mathrm{ReLU}(W_1 h + b_1)) + b_2, \qquad L_\mathrm{cls} = \mathrm{CE}(c, k). $$
#
# All training slices take part, with mask or without. Encoder and decoder are frozen, and frozen means their
# normalisation statistics too: otherwise the segmentation would drift although no weight moves.

# %%
import pandas as pd
import torch
from mtl.evaluation.brain_mri import by_stage_and_source, classification_table, readable_rows
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_brain_mri import answer_failures
from mtl.reporting.figures_results import forest_plot, training_curves
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.brain_mri.failures import confident_errors
from mtl.studies.brain_mri.predictions import read_predictions, write_test_predictions
from mtl.studies.brain_mri.study import BrainMriStudy

use_report_style()
study = BrainMriStudy(parameters)

# %% [markdown]
# ## Training
# The best epoch is the one with the highest balanced accuracy on validation.

# %%
results = study.train("head")
history = pd.concat([result.history.assign(fold=fold) for fold, result in enumerate(results)])
curves = history.pivot_table(index=["fold", "epoch"], columns="key", values="value").reset_index()
curves = curves.rename(
    columns={
        "train/loss/classification": "training loss",
        "val/roc_auc": "ROC-AUC",
        "val/balanced_accuracy": "balanced accuracy",
    }
)
figure = training_curves(
    curves, {"Training loss": ["training loss"], "Validation": ["ROC-AUC", "balanced accuracy"]}
)
show_figure(
    figure,
    alt="Training loss, and validation ROC-AUC and balanced accuracy, over the epochs of the head stage.",
    source="checkpoints/*/head/history.parquet",
)

# %% [markdown]
# ## Was anything else touched?
# Every tensor of encoder and decoder, running statistics included, is compared with the warm-up checkpoint.

# %%
changed = [
    name
    for fold in study.folds
    for (name, before), after in zip(
        study.model("warm_up", fold).state_dict().items(),
        study.model("head", fold).state_dict().values(),
        strict=True,
    )
    if not name.startswith("cls_head.") and not torch.equal(before, after)
]
print(f"tensors of encoder and decoder that changed: {len(changed)}")

# %% [markdown]
# ## Result on the test part
# The threshold of each fold is chosen on its validation part (one half for the baselines). For comparison the table has the warm-up
# network's own opinion (the mean of its most confident mask pixels: a classifier without a head) and the
# trivial baselines. Accuracy alone would flatter the most frequent answer, so it is not shown alone.

# %%
write_test_predictions(study, "head")
predictions = read_predictions(study, ["head", "warm_up", "baselines"])
table = classification_table(predictions, n_resamples=parameters.n_bootstrap, seed=parameters.seed)
found = by_stage_and_source(table)
wanted = {
    "roc_auc": "ROC-AUC",
    "balanced_accuracy": "balanced accuracy",
    "recall": "recall",
    "specificity": "specificity",
    "mcc": "MCC",
}
show_table(
    pd.DataFrame(readable_rows(found, wanted)),
    source="predictions/head.parquet",
    caption="Classification on the test part",
    index=False,
)

# %% [markdown]
# ## Where it fails
# The most confident errors: tumours on the wrong side of the threshold with the lowest probability, then false
# alarms with the highest.

# %% tags=["optional-figure"]
errors = confident_errors(predictions, "head")
if len(errors):
    figure = answer_failures(study.samples(list(errors["id"])), errors)
    show_figure(
        figure,
        alt="Test slices with the most confident errors: missed tumours first, then false alarms.",
        source="predictions/head.parquet",
    )
else:
    print("no slice is on the wrong side of the threshold")

# %% [markdown]
# ## What it means
# A head that does no better than the segmentation's own opinion adds nothing at this point; one that beats
# it on mixed sources but not within any source has learned to tell the sources apart. The within-source
# figure (pairs of the same source only) is the one to trust.

# %% [markdown]
# ## Results
# The figures of this notebook go to `metrics.json`; the answer reads them from there.

# %%
section = {
    "test": found["head"],
    "segmentation_opinion": found["warm_up"],
    "baselines": {name: found[name]["pooled"] for name in ("source_only", "histogram", "majority")},
    "tensors_changed": len(changed),
    "headline": [
        {"label": "ROC-AUC, mixed sources", "value": found["head"]["pooled"]["roc_auc"]},
        {"label": "ROC-AUC within source", "value": found["head"]["pooled"]["roc_auc_within_source"]},
    ],
}
write_metrics(study.run.path, "head", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(
    claim(
        "On frozen segmentation features the head reaches a ROC-AUC of {head.test.pooled.roc_auc:full} on mixed "
        "sources and {head.test.pooled.roc_auc_within_source} within sources. The segmentation's own opinion is "
        "worth {head.segmentation_opinion.pooled.roc_auc}, the source alone {head.baselines.source_only.roc_auc}.",
        study.run.metrics,
    )
)
labels = {
    "head": "head",
    "warm_up": "segmentation alone",
    "histogram": "grey-value histogram",
    "source_only": "source alone",
}
bars = [
    {"label": label, "estimate": found[stage][source]["roc_auc"], "group": source}
    for source in found["head"]
    for stage, label in labels.items()
]
show_figure(
    forest_plot(bars, xlabel="ROC-AUC on the test part", reference=0.5, reference_label="chance"),
    alt="ROC-AUC with intervals of the head, the segmentation alone and two baselines, per source and pooled.",
    source="metrics.json#/head",
)
