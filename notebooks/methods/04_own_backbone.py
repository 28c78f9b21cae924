# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Bring your own backbone, or your own weights
#
# **Question.** The `brain_mri` network stands on a U-Net encoder with random weights. What does it take to put another
# encoder there, or weights that were learnt elsewhere, and does either help on the same frozen cases?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/methods/*.yaml` holds whole sets of them. `pretrained` is a checkpoint of
# yours; where it is empty, one is made on other phantom patients.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/methods/
data_root: str = ""  # folder with one's own data; empty: made data
pretrained: str = ""  # model folder, .pth or .safetensors for the encoder; empty: one is made
image_size: int = 48  # pixels along a side
phantom_patients: int = 120  # made patients, over both scanners
phantom_slices: int = 2  # slices per made patient
base_filters: int = 8  # channels of the first level
depth: int = 3  # halvings of the encoder
batch_size: int = 16  # samples per batch
epochs: int = 8  # passes over the training data, per network
pretraining_epochs: int = 6  # epochs on other made patients, where weights are made
learning_rate: float = 3e-3  # AdamW, every part of the network
n_bootstrap: int = 1000  # resamples of every interval
dice_margin: float = 0.02  # a smaller difference in Dice does not matter; fixed beforehand
auc_margin: float = 0.05  # the same for ROC-AUC
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that is not known here is refused, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("methods", globals())

# %% [markdown]
# The tools of this notebook.

# %%
import inspect

import pandas as pd
from IPython.display import Markdown
from mtl.errors import CheckpointError, ParameterError
from mtl.evaluation.brain_mri import by_stage_and_source, classification_table, compare_stages
from mtl.evaluation.brain_mri import readable_rows, segmentation_table
from mtl.model_folder import load_model
from mtl.models.backbones import ResNetEncoder, ResNetModel, feature_shapes
from mtl.models.brain_mri import MultiTaskModel
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_results import forest_plot, lines_over_steps
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.brain_mri.comparisons import difference
from mtl.studies.brain_mri.data import require_filled_masks
from mtl.studies.brain_mri.own_network import new_network, predict_network, train_network, weights_hash
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.studies.parameters import project_path
from mtl.studies.provenance import record_provenance
from mtl.training.pretrained import LOADED, load_part

# %% [markdown]
# ## The study that everything runs in
# One data set, one frozen split, one objective, one order of batches: only the encoder or its start will differ.

# %%
use_report_style()
settings = {
    "joint_epochs": parameters.epochs,
    "joint_encoder_lr": parameters.learning_rate,
    "joint_heads_lr": parameters.learning_rate,
    "masked_ratio": 0.5,
}
name = parameters.inner_run("own_backbone")
study = BrainMriStudy(parameters.for_brain_mri(run=name, data_root=parameters.data_root, **settings))
require_filled_masks(study.dataset, study.split)
place = f"runs/brain_mri/{name}"
parts = {part: study.rows(0, part) for part in ("train", "validation", "test")}
show_table(
    pd.DataFrame(
        {
            part: {
                "slices": len(rows),
                "groups": rows["group"].nunique(),
                "with tumour": int(rows["cls"].sum()),
                "masks": int(rows["has_mask"].sum()),
            }
            for part, rows in parts.items()
        }
    ).T.rename_axis("part"),
    source=f"{place}/split.json",
    caption="The frozen split",
)

# %% [markdown]
# ## What an encoder has to offer
# Any `nn.Module` will do that has
#
# - `channels`: a list, one entry per level, finest first;
# - `forward(image)`: a list of features, each level half the size of the one before, bottleneck last;
# - `stride`, only if its finest level is coarser than the image.
#
# Decoder and classification head take their sizes from `channels`. Here is MONAI's residual network of 18 layers
# (He, Zhang, Ren and Sun, CVPR 2016) with the first level at full resolution; the whole backbone is this:

# %%
source = inspect.getsource(ResNetEncoder) + "\n\n" + inspect.getsource(ResNetModel)
Markdown(f"```python\n{source}```")

# %% [markdown]
# A subclass is code and stays code: `config.json` beside the weights holds the arguments, and the class's name says
# which code they belong to. So the class must live in a module that can be imported, not in a notebook cell.
# `feature_shapes` runs an encoder once and holds it against the contract:

# %%
variants = {"original": MultiTaskModel, "residual": ResNetModel}
rows = []
for name, model_class in variants.items():
    model = new_network(study, model_class)
    shapes = feature_shapes(model.encoder, size=parameters.image_size)
    levels = {f"level {level}": f"{c} x {h} x {w}" for level, (c, h, w) in enumerate(shapes)}
    count = sum(parameter.numel() for parameter in model.encoder.parameters())
    rows.append({"encoder": name, **levels, "parameters": count})
show_table(
    pd.DataFrame(rows), source="config.json", caption="Features: channels x height x width", index=False
)

# %% [markdown]
# An encoder that does not keep to it is told what is wrong, before anything trains:

# %%
broken = new_network(study, ResNetModel).encoder
broken.channels = broken.channels[::-1]
try:
    feature_shapes(broken, size=parameters.image_size)
except ParameterError as error:
    print(error)

# %% [markdown]
# ## Weights from elsewhere
# A checkpoint is a model folder of a run, or a bare `.pth` or `.safetensors` file. Only tensors are read
# (`torch.load(weights_only=True)`, safetensors): a file that would have to run code is refused. Without one of yours,
# a warm-up on *other* made patients (another seed) provides the weights. That costs data and steps which the others
# do not get; so does every pretraining.

# %%
checkpoint = project_path(parameters.pretrained) if parameters.pretrained else None
if checkpoint is None:
    elsewhere = BrainMriStudy(
        parameters.for_brain_mri(
            run=parameters.inner_run("pretraining"),
            data_seed=parameters.seed + 1_000,
            warm_up_epochs=parameters.pretraining_epochs,
            warm_up_lr=parameters.learning_rate,
        )
    )
    checkpoint = elsewhere.train("warm_up")[0].folder / "best"
print(f"weights of the encoder: {checkpoint.parent.name}/{checkpoint.name}")

# %% [markdown]
# `load_part` copies every tensor whose name and shape agree, leaves the rest as it was, and says what became of each.
# Look at this table before believing a pretrained network: a checkpoint of which a tenth fits is hardly pretrained.

# %%
pretrained = new_network(study)
fitted = load_part(pretrained.encoder, checkpoint)
counts = fitted["result"].value_counts().rename_axis("result").reset_index(name="tensors")
display(show_table(counts, source="load_part", caption="Tensors of the encoder", index=False))
show_table(
    fitted.sort_values("result", key=lambda r: r == LOADED, kind="stable").head(6),
    source="load_part",
    caption="The first of them, those that do not fit before the others",
    index=False,
)

# %% [markdown]
# The same file offered to the residual network: names differ, nothing fits, and that is an error, not a silent
# training from random weights.

# %%
try:
    load_part(new_network(study, ResNetModel).encoder, checkpoint)
except CheckpointError as error:
    print(str(error).replace(str(checkpoint), checkpoint.name))

# %% [markdown]
# ## Training
# Three networks: the original, the residual one, and the original with the pretrained encoder. `train_network` is the
# study's joint stage with another network in it: same objective, balancer, steps and selection.

# %%
models = {name: new_network(study, model_class) for name, model_class in variants.items()}
models["pretrained"] = pretrained
results = {name: train_network(study, name, model) for name, model in models.items()}
show_table(
    pd.DataFrame(
        [
            {
                "network": name,
                "parameters": sum(parameter.numel() for parameter in models[name].parameters()),
                "steps": result.steps,
                "best epoch": result.best_epoch,
                "seconds": result.seconds,
            }
            for name, result in results.items()
        ]
    ),
    source=f"{place}/checkpoints/fold_0/*/stage.json",
    caption="What was trained",
    index=False,
)

# %% [markdown]
# The validation score by which checkpoints are chosen. A curve that still rises at the end was stopped too early to
# judge its network.

# %%
history = pd.concat([result.history.assign(network=name) for name, result in results.items()])
scores = history[history["key"] == "val/dice_and_balanced_accuracy"]
show_figure(
    lines_over_steps(scores, "value", "network", x="epoch", ylabel="(Dice + balanced accuracy) / 2"),
    alt="Validation score over epochs, one line per network.",
    source=f"{place}/checkpoints/fold_0/*/history.parquet",
)

# %% [markdown]
# ## A checkpoint is a path and a class
# What was saved is loaded again into the class that wrote it, and refuses any other.

# %%
folder = results["residual"].folder / "best"
again = load_model(ResNetModel, folder)
print(f"loaded again with equal weights: {weights_hash(again) == weights_hash(models['residual'])}")
try:
    load_model(MultiTaskModel, folder)
except CheckpointError as error:
    print(str(error).replace(str(folder), "residual/best"))

# %% [markdown]
# ## The same frozen test cases
# Scores with intervals over groups (patients), thresholds chosen on validation.

# %%
predictions = pd.concat([predict_network(study, name, model) for name, model in models.items()])
resampling = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed}
classified = by_stage_and_source(classification_table(predictions, **resampling))
segmented = by_stage_and_source(segmentation_table(predictions, **resampling))
together = {
    name: {source: classified[name][source] | segmented[name].get(source, {}) for source in classified[name]}
    for name in models
}
wanted = {"dice_nonempty": "Dice", "roc_auc": "ROC-AUC", "balanced_accuracy": "balanced accuracy"}
show_table(
    pd.DataFrame(readable_rows(together, wanted)).rename(columns={"stage": "network"}),
    source=f"{place}/predictions/*.parquet",
    caption="Test part",
    index=False,
)

# %% [markdown]
# ## Differences, paired by patient
# Each network minus the original, on the same cases. The margins were fixed beforehand. `detectable` is the smallest
# difference that a test set like this would show; p values are corrected over the table (Holm). The last column reads
# the interval and is about *these trained networks*. Whether the encoder or the weights help **as such** is a question
# about training again, and one seed has no verdict on it.

# %%
metrics = {"dice_nonempty": "Dice", "roc_auc": "ROC-AUC"}
compared = compare_stages(
    predictions,
    list(metrics),
    {"dice_nonempty": parameters.dice_margin, "roc_auc": parameters.auc_margin},
    pairs=[("original", "residual"), ("original", "pretrained")],
    **resampling,
)
rows = [
    {
        "metric": metrics[row.metric],
        "network": row.second,
        "minus original": {"value": row.value, "low": row.low, "high": row.high},
        "groups": row.n,
        "detectable": row.minimal_detectable,
        "p (Holm)": row.p_holm,
        "these networks": row.verdict,
    }
    for row in compared.itertuples()
]
show_table(
    pd.DataFrame(rows),
    source=f"{place}/predictions/*.parquet",
    caption="Paired differences",
    index=False,
)

# %% [markdown]
# ## For a backbone of yours
# 1. Write the encoder and a subclass of `MultiTaskModel` with `make_encoder` in a module of yours; hold it against
#    `feature_shapes`.
# 2. `new_network(study, YourModel)`, `load_part(model.encoder, file)`, `train_network(study, name, model)`.
# 3. `load_model(YourModel, folder)` or `YourModel.from_pretrained(folder)` brings it back;
#    `MultiTaskPredictor(folder, model_class=YourModel)` predicts with it.
#
# Weights of photographs have three input channels where a slice has one: the table says so in its first row, and
# that tensor starts at random.

# %% [markdown]
# ## Limitations
# - A handful of test patients have a mask: an interval from so few is too narrow, and a verdict on it says little.
# - One learning rate for all: tuned for none of them, and what suits one encoder may starve another.
# - Few steps: what is slower to start is not what is worse in the end.
# - The pretrained encoder has seen more patients and more steps. Against that, only a network with as many would tell.
# - One seed and one split; made data, unless `data_root` says otherwise. Another `seed` draws other made patients
#   and another split, too.
#
# The answer below would be wrong if training again with other seeds turned the order round; with a run of this size
# that is to be expected.

# %% [markdown]
# ## Results
# The figures go to `metrics.json`.

# %%
record_provenance(parameters, study.data_fingerprint)
section = {
    "test": together,
    "residual_minus": {
        "dice": difference(compared, "dice_nonempty", "original", "residual"),
        "auc": difference(compared, "roc_auc", "original", "residual"),
    },
    "pretrained_minus": {
        "dice": difference(compared, "dice_nonempty", "original", "pretrained"),
        "auc": difference(compared, "roc_auc", "original", "pretrained"),
    },
    "comparisons": compared.to_dict("records"),
    "loaded": int((fitted["result"] == LOADED).sum()),
    "tensors": len(fitted),
    "steps": results["original"].steps,
    "headline": [
        {"label": f"{label}, {name} minus original", "value": difference(compared, key, "original", name)}
        for name, key, label in (
            ("residual", "dice_nonempty", "Dice"),
            ("pretrained", "dice_nonempty", "Dice"),
            ("pretrained", "roc_auc", "ROC-AUC"),
        )
    ],
}
write_metrics(parameters.run_directory, "own_backbone", section)

# %% [markdown]
# The picture of the answer: each difference with its interval.

# %%
differences = [
    {
        "label": f"{row.second} minus original",
        "estimate": {"value": row.value, "low": row.low, "high": row.high},
        "group": metrics[row.metric],
    }
    for row in compared.itertuples()
]

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(
    claim(
        "Another encoder takes a class with one method; of a checkpoint, {own_backbone.loaded} of "
        "{own_backbone.tensors} tensors fitted the original encoder. After {own_backbone.steps} steps each, on the same "
        "test cases, the residual encoder changes Dice by {own_backbone.residual_minus.dice:full} "
        "(*{own_backbone.residual_minus.dice.verdict:text}*), the pretrained one by "
        "{own_backbone.pretrained_minus.dice} (*{own_backbone.pretrained_minus.dice.verdict:text}*). These readings are "
        "about the networks trained here; on encoders and weights as such, "
        "*{own_backbone.residual_minus.dice.over_seeds.verdict:text}* from "
        "{own_backbone.residual_minus.dice.over_seeds.seeds} seed.",
        parameters.run_directory / "metrics.json",
    )
)
show_figure(
    forest_plot(
        differences, xlabel="Difference on the same test cases", reference=0, reference_label="no difference"
    ),
    alt="Differences in Dice and ROC-AUC of the residual and the pretrained network from the original, with intervals.",
    source="metrics.json#/own_backbone",
)
