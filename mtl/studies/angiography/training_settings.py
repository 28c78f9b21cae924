"""How a network of the study trains, as the parameters have it: its losses, rates and schedules."""

from __future__ import annotations

from collections.abc import Sequence

from mtl.losses.angiography import LossConfig, MultitaskLoss
from mtl.studies.angiography.objective import parts_of
from mtl.studies.angiography.parameters import VariantParameters
from mtl.training.stages import Stage

#: Part of the network to the parameter that is its learning rate.
RATES = {
    "video": "lr_video", "text": "lr_text", "alignment": "lr_text", "caption": "lr_caption",
    "masked": "lr_masked",
}  # fmt: skip


def loss_of(parameters: VariantParameters, gather: bool = True) -> MultitaskLoss:
    """All objectives, with a variant's settings; ``gather``: reports of all ranks are contrasted."""
    p = parameters
    return MultitaskLoss(
        LossConfig(
            **p.weights,
            contrast=p.contrastive,
            gather=gather,
            label_smoothing=p.label_smoothing,
            temperature=p.distillation_temperature,
            distilled=p.distilled,
        )
    )


def stage_of(name: str, parameters: VariantParameters, tasks: Sequence[str], seed: int) -> Stage:
    """What trains in a variant's network, how fast, how long.

    name: of the variant; tasks: its objectives; seed: of the training.
    """
    p = parameters
    ends = {task: ends for task, ends in p.schedules.items() if task in tasks}
    moves = {
        "initial": {task: start for task, (start, _) in ends.items()},
        "final": {task: end for task, (_, end) in ends.items()},
        "kind": p.schedule,
        "warm_up": p.schedule_warm_up,
    }
    return Stage(
        name=name,
        learning_rates={part: getattr(p, RATES[part]) for part in parts_of(tasks, p.distilled)},
        epochs=p.epochs,
        tasks=tuple(tasks),
        task_weights={task: p.weights[task] for task in tasks},
        balancer=p.balancer,
        balancer_options=moves if p.balancer == "schedule" else {},
        weight_decay=p.weight_decay,
        min_learning_rate=p.min_lr,
        warm_up=p.warm_up,
        clip=p.clip,
        average=p.average,
        accumulate=p.accumulate,
        selection="score",
        seed=seed,
    )
