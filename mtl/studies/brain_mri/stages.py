"""The three stages of the curriculum, and the reference arm, as parameters describe them."""

from __future__ import annotations

from typing import Any

from mtl.studies.brain_mri.objective import CLASSIFICATION, SEGMENTATION
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.training.stages import Stage

WARM_UP, HEAD, JOINT, REFERENCE = "warm_up", "head", "joint", "reference"
#: Stage to the stage whose best checkpoint it starts from.
STARTS_FROM = {WARM_UP: None, HEAD: WARM_UP, JOINT: HEAD, REFERENCE: None}
#: Stage to the notebook that trains it.
NOTEBOOK = {WARM_UP: "02_warm_up", HEAD: "03_head", JOINT: "04_joint", REFERENCE: "02_warm_up"}
#: Stages whose model has a segmentation, or a classification, that this stage or an earlier one trained.
SEGMENTS = (WARM_UP, HEAD, JOINT, REFERENCE)
CLASSIFIES = (HEAD, JOINT)
#: Parameters that matter to these stages only; all others (but ``WITHOUT_EFFECT``) matter to every stage.
ONLY_FOR = {
    "warm_up_epochs": (WARM_UP, REFERENCE),
    "warm_up_lr": (WARM_UP, REFERENCE),
    "head_epochs": (HEAD,),
    "head_lr": (HEAD,),
    "label_smoothing": (HEAD, JOINT),
    "joint_epochs": (JOINT, REFERENCE),
    "joint_encoder_lr": (JOINT,),
    "joint_heads_lr": (JOINT,),
    "masked_ratio": (JOINT,),
    "sampling": (JOINT,),
    "lambda_cls": (JOINT,),
    "balancer": (JOINT,),
    "frozen_normalisation": (JOINT,),
    "schedule_initial": (JOINT,),
    "schedule_kind": (JOINT,),
    "probe_every": (JOINT,),
    "probe_batches": (JOINT,),
}
#: Parameters that change where and how fast a stage trains, or what is made of it later, not its result.
WITHOUT_EFFECT = {
    "run", "output_root", "device", "workers", "data_root", "reference_folds",
    "n_bootstrap", "dice_margin", "auc_margin",
    "skip_stages",  # it moves the start of the stages that are left, which their fingerprints hold
    "rho_values", "shortcut_patients", "shortcut_test_patients", "shortcut_size", "shortcut_filters",
    "shortcut_epochs", "shortcut_seeds", "reversal_weight",
}  # fmt: skip


def starts_from(stage: str, parameters: BrainMriParameters) -> str | None:
    """The stage whose best checkpoint ``stage`` starts from, past skipped ones; None: random weights."""
    before = STARTS_FROM[stage]
    while before is not None and before in parameters.skipped:
        before = STARTS_FROM[before]
    return before


def relevant_parameters(stage: str, parameters: BrainMriParameters) -> dict[str, Any]:
    """The parameters that a stage's result depends on: a change of one makes the stage stale."""
    others = {name for name, owners in ONLY_FOR.items() if stage not in owners}
    return parameters.model_dump(exclude=WITHOUT_EFFECT | others)


def _balancer_options(parameters: BrainMriParameters) -> dict[str, Any]:
    if parameters.balancer != "schedule":
        return {}
    return {
        "initial": {SEGMENTATION: 1.0, CLASSIFICATION: parameters.schedule_initial},
        "final": {SEGMENTATION: 1.0, CLASSIFICATION: 1.0},
        "kind": parameters.schedule_kind,
    }


def make_stage(name: str, parameters: BrainMriParameters, epochs: int | None = None, seed: int = 0) -> Stage:
    """One stage; ``epochs`` replaces the number that the parameters give, ``seed`` is the stage's own."""
    p = parameters
    settings = {
        WARM_UP: {
            "learning_rates": {"encoder": p.warm_up_lr, "decoder": p.warm_up_lr},
            "epochs": p.warm_up_epochs,
            "tasks": (SEGMENTATION,),
            "selection": "dice",
        },
        HEAD: {
            "learning_rates": {"cls_head": p.head_lr},
            "epochs": p.head_epochs,
            "tasks": (CLASSIFICATION,),
            "selection": "balanced_accuracy",
        },
        JOINT: {
            "learning_rates": {
                "encoder": p.joint_encoder_lr,
                "decoder": p.joint_heads_lr,
                "cls_head": p.joint_heads_lr,
            },
            "epochs": p.joint_epochs,
            "tasks": (SEGMENTATION, CLASSIFICATION),
            "task_weights": {CLASSIFICATION: p.lambda_cls},
            "balancer": p.balancer,
            "balancer_options": _balancer_options(p),
            "frozen_normalisation": p.frozen_normalisation,
            "selection": "dice_and_balanced_accuracy",
        },
        REFERENCE: {
            "learning_rates": {"network": p.warm_up_lr},
            "epochs": 0,
            "tasks": (SEGMENTATION,),
            "selection": "dice",
        },
    }[name]
    if epochs is not None:
        settings["epochs"] = epochs
    return Stage(
        name=name,
        weight_decay=p.weight_decay,
        min_learning_rate=p.min_lr,
        clip=p.clip,
        accumulate=p.accumulate,
        seed=seed,
        **settings,
    )
