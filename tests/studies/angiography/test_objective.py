"""One step: which losses there are, what they are made of, who teaches."""

from __future__ import annotations

import traceback
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import mtl
from mtl.errors import CheckpointError
from mtl.losses.angiography import (
    caption_loss,
    contrastive_distillation,
    counted_tokens,
    distillation_loss,
    masked_loss,
    sigmoid_contrastive,
    softmax_contrastive,
)
from mtl.models.angiography import VideoTextModel
from mtl.models.angiography.masked_video import masked_video
from mtl.studies.angiography.objective import PARTS, log_keys, parts_of
from mtl.studies.angiography.parameters import WEIGHTS
from mtl.studies.angiography.study import AngiographyStudy
from mtl.training.objective import Batch

from .conftest import smoke

PACKAGE = Path(mtl.__file__).parent


def steps(study: AngiographyStudy, variant: str, model: VideoTextModel, batch: Batch, seed: int = 0):
    """The variant's losses of a batch, with masks of that seed."""
    torch.manual_seed(seed)
    return study.objective(variant)(model, batch)


def disturbed(model: VideoTextModel) -> VideoTextModel:
    """The same with other weights in every part; the average it keeps stays where it was."""
    torch.manual_seed(5)
    with torch.no_grad():
        for part in model.parts.values():
            for parameter in part.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
    return model


def by_hand(model: VideoTextModel, batch: Batch, contrast: str = "sigmoid") -> dict[str, Tensor]:
    """The three losses by the model's own forward pass and the functions, on masks of seed 0."""
    torch.manual_seed(0)
    output = model(batch["video"], batch["tokens"], batch["captions"], mask=True)
    sides = [output[name] for name in ("video_embedding", "text_embedding", "log_temperature")]
    if contrast == "sigmoid":
        contrastive = sigmoid_contrastive(*sides, output["bias"], batch["report_ids"])
    else:
        contrastive = softmax_contrastive(*sides, batch["report_ids"])
    captioning = caption_loss(output["caption_logits"], batch["captions"], batch["prefixes"], smoothing=0.1)
    masked = masked_loss(output["masked_prediction"], output["masked_target"])
    return {"contrastive": contrastive, "captioning": captioning["captioning"], "masked": masked}


def test_losses_are_those_of_the_functions(trained: AngiographyStudy, batch: Batch) -> None:
    model = disturbed(trained.untrained_model(trained.first)).eval()
    found, expected = steps(trained, "all", model, batch), by_hand(model, batch)
    assert set(found) == set(expected) == set(trained.tasks("all"))
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss)
    logits = model(batch["video"], caption_tokens=batch["captions"])["caption_logits"]
    plain = caption_loss(logits, batch["captions"], batch["prefixes"], smoothing=0.0)["captioning"]
    torch.testing.assert_close(found.terms["captioning/ce"], plain.detach())
    clip = disturbed(trained.untrained_model(trained.trainings("clip")[0])).eval()
    torch.testing.assert_close(
        steps(trained, "clip", clip, batch)["contrastive"], by_hand(clip, batch, "softmax")["contrastive"]
    )


@pytest.mark.parametrize(
    "absent",
    [("captioning", "masked"), ("contrastive", "masked"), ("contrastive", "captioning"), ("captioning",)],
)
def test_objectives_of_weight_0_are_absent_and_train_nothing(
    trained: AngiographyStudy, batch: Batch, tmp_path: Path, absent: tuple[str, ...]
) -> None:
    weights = {WEIGHTS[name]: 0.0 for name in absent}
    study = AngiographyStudy(smoke(tmp_path, variants="all", settings="none", **weights))
    kept = {"contrastive", "captioning", "masked"} - set(absent)
    assert set(study.tasks("all")) == kept == set(study.settings(study.first).tasks)
    study.tokenizer = trained.tokenizer  # spares making the same phantom again
    model = study.untrained_model(study.first)
    losses = steps(study, "all", model, batch)
    assert set(losses) == kept
    expected = by_hand(model, batch)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])
    sum(losses.values()).backward()
    reached = {
        name for name, part in model.parts.items() if any(p.grad is not None for p in part.parameters())
    }
    assert reached == set(parts_of(tuple(kept))) == {part for task in kept for part in PARTS[task]}


def test_the_own_average_follows_first_and_then_teaches(
    trained: AngiographyStudy, batch: Batch, tmp_path: Path
) -> None:
    study = AngiographyStudy(smoke(tmp_path, weight_distillation=1.0, teacher_decay=0.75, settings="none"))
    study.tokenizer = trained.tokenizer
    assert "distillation" in study.tasks("all") and "without_distillation" not in study.training_order()
    fresh = study.untrained_model(study.first)
    model = disturbed(deepcopy(fresh)).train()
    found = steps(study, "all", model, batch | {"valid_units": batch["valid_units"] | {"distillation": 4}})
    teacher = model.teacher.module
    for name, parameter in teacher.named_parameters():
        mixed = 0.75 * fresh.get_parameter(name) + 0.25 * model.get_parameter(name)
        torch.testing.assert_close(parameter, mixed, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["distillation"], taught_by(teacher, model, batch))
    assert found["distillation"] > 1e-6
    found["distillation"].backward()
    assert not any(p.grad is not None for p in teacher.parameters())
    assert any(p.grad is not None for p in model.text.parameters())
    before = deepcopy(teacher.state_dict())
    with torch.no_grad():
        steps(study, "all", model, batch)
    steps(study, "all", model.eval(), batch)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items()), (
        "looking on is not training"
    )


def taught_by(teacher: VideoTextModel, model: VideoTextModel, batch: Batch) -> Tensor:
    sides = [
        value
        for one in (model, teacher)
        for value in (
            one.embed_video(batch["video"]), one.embed_text(batch["tokens"]), one.alignment.log_temperature,
        )
    ]  # fmt: skip
    return contrastive_distillation(*sides, 2.0)


def test_a_given_network_teaches(trained: AngiographyStudy, batch: Batch, tmp_path: Path) -> None:
    folder = trained.run.stage(0, trained.folder(trained.first)) / "best"
    own = {"weight_distillation": 1.0, "settings": "none", "variants": "all,without_distillation"}
    study = AngiographyStudy(smoke(tmp_path, teacher=str(folder), **own))
    study.tokenizer, study.parts = trained.tokenizer, trained.parts
    model = disturbed(study.untrained_model(study.first))
    assert model.teacher is None, "nothing is averaged in vain"
    units = batch["valid_units"] | {"distillation": 4}
    found = steps(study, "all", model, batch | {"valid_units": units})["distillation"]
    torch.testing.assert_close(found, taught_by(trained.model(trained.first), model, batch))
    found.backward()
    assert not any(p.requires_grad for p in study.given_teacher.parameters())
    assert study.objective("without_distillation").teacher is None
    gone = AngiographyStudy(smoke(tmp_path, teacher=str(tmp_path / "gone"), **own))
    gone.tokenizer, gone.parts = trained.tokenizer, trained.parts
    with pytest.raises(CheckpointError, match="gone: not a model folder"):
        gone.objective("all")
    with pytest.raises(CheckpointError, match="parameter 'teacher': .*model.safetensors is missing"):
        gone.fingerprint(gone.first)
    assert gone.fingerprint(gone.trainings("without_distillation")[0])


def test_a_teacher_hands_on_next_tokens_alone(
    trained: AngiographyStudy, batch: Batch, tmp_path: Path
) -> None:
    folder = trained.run.stage(0, trained.folder(trained.first)) / "best"
    only = {WEIGHTS[name]: 0.0 for name in ("contrastive", "captioning", "masked")}
    study = AngiographyStudy(
        smoke(
            tmp_path, teacher=str(folder), weight_distillation=1.0, distilled="captioning",
            settings="none", variants="all", **only,
        )
    )  # fmt: skip
    study.tokenizer, study.parts = trained.tokenizer, trained.parts
    assert study.tasks("all") == ("distillation",) and study.learnt("all") == ("captioning",)
    assert set(study.settings(study.first).learning_rates) == {"video", "caption"}
    model = disturbed(study.untrained_model(study.first))
    units = batch["valid_units"] | {"distillation": 4}
    found = steps(study, "all", model, batch | {"valid_units": units})
    assert set(found) == {"distillation"}
    mine, its = (
        one(batch["video"], caption_tokens=batch["captions"])["caption_logits"]
        for one in (model, trained.model(trained.first))
    )
    counted = counted_tokens(batch["captions"], batch["prefixes"])
    torch.testing.assert_close(found["distillation"], distillation_loss(mine, its, 2.0, counted))
    found["distillation"].backward()
    reached = {
        name for name, part in model.parts.items() if any(p.grad is not None for p in part.parameters())
    }
    assert reached == {"video", "caption"}
    assert set(study.validate(model.eval(), study.first)) == {"token_accuracy", "score"}


def test_features_of_the_own_average_may_be_what_is_masked(
    trained: AngiographyStudy, batch: Batch, tmp_path: Path
) -> None:
    study = AngiographyStudy(smoke(tmp_path, mask_target="features", variants="all,without_masked"))
    study.tokenizer = trained.tokenizer
    assert study.untrained_model(study.trainings("without_masked")[0]).teacher is None
    model = disturbed(study.untrained_model(study.first)).eval()  # in eval mode nothing follows
    found = steps(study, "all", model, batch)["masked"]
    features = model.teacher.module.video(batch["video"])[0]
    torch.manual_seed(0)
    output = masked_video(model.video, model.masked, batch["video"], features)
    torch.testing.assert_close(found, masked_loss(output["masked_prediction"], output["masked_target"]))
    assert output["masked_target"].shape[-1] == study.parameters.width


class Waits(TorchDispatchMode):
    """Collects the modules of ours that ask for a value, or for a shape that depends on values."""

    ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if by_mask or name.startswith(self.ASKING):
            files = [Path(frame.filename) for frame in traceback.extract_stack()]
            self.asked.add(next((f.name for f in reversed(files) if PACKAGE in f.parents), "torch"))
        return func(*args, **(kwargs or {}))


def test_a_step_with_all_objectives_does_not_wait_for_the_device(
    trained: AngiographyStudy, batch: Batch, tmp_path: Path
) -> None:
    study = AngiographyStudy(smoke(tmp_path, weight_distillation=1.0, mask_target="features"))
    study.tokenizer = trained.tokenizer
    model, objective = study.untrained_model(study.first).train(), study.objective("all")
    batch = batch | {"valid_units": batch["valid_units"] | {"distillation": 4}}
    with Waits() as waits:
        losses = objective(model, batch)
        sum(losses.values()).backward()
    assert set(losses) == set(WEIGHTS)
    # they look at ids and counts of tensors on the CPU only
    assert waits.asked <= {"token_checks.py", "multitask_loss.py", "captioning.py"}


def test_scalars_have_names_and_a_weighted_total() -> None:
    means = {"contrastive": 2.0, "masked": 3.0, "captioning/ce": 7.0}
    assert log_keys(means, {"contrastive": 0.5, "masked": 0.1, "captioning": 1.0}) == pytest.approx(
        {"loss/contrastive": 2.0, "loss/masked": 3.0, "loss/captioning/ce": 7.0, "loss/total": 1.3}
    )
