"""Weights and their schedule, what is left out, and that each loss teaches something."""

from __future__ import annotations

import pytest
import torch

from mtl.errors import ParameterError
from mtl.losses.angiography import (
    LOSSES,
    LossConfig,
    MultitaskLoss,
    caption_loss,
    contrastive_distillation,
    distillation_loss,
    masked_loss,
    sigmoid_contrastive,
    softmax_contrastive,
)
from mtl.models.angiography import EMATeacher, VideoTextModel
from mtl.training.weightings import Schedule

ALL = {"contrastive": 0.5, "captioning": 2.0, "masked": 3.0, "distillation": 4.0}


def model(**options: object) -> VideoTextModel:
    torch.manual_seed(0)
    return VideoTextModel(
        vocabulary=20, width=16, heads=2, context=8, frames=2, image_size=16, tubelet=(2, 8, 8),
        video_depth=1, text_depth=1, caption_depth=1, masked_width=8, masked_depth=1, mask_ratio=0.5,
        **options,
    )  # fmt: skip


def given() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, 20, (4, 6), generator=generator)
    tokens[1, 4:] = 0
    return {
        "video": torch.rand(4, 3, 2, 16, 16, generator=generator), "tokens": tokens, "caption_tokens": tokens,
    }  # fmt: skip


IDS = torch.tensor([5, 6, 5, 7])


def test_parts_are_unweighted_and_the_total_is_their_weighted_sum() -> None:
    config, network, batch = LossConfig(**ALL, distilled="both"), model(), given()
    output, teacher = network(**batch, mask=True), model(embedding=12)(**batch)
    losses = MultitaskLoss(config)(
        output, report_ids=IDS, caption_tokens=batch["tokens"], prefix_lengths=2, teacher=teacher
    )
    v, u, t, b = (output[k] for k in ("video_embedding", "text_embedding", "log_temperature", "bias"))
    captions = caption_loss(output["caption_logits"], batch["tokens"], 2)
    counted = (torch.arange(1, 6) >= 2) & (batch["tokens"][:, 1:] != 0)
    taught = [
        contrastive_distillation(
            v, u, t, teacher["video_embedding"], teacher["text_embedding"], teacher["log_temperature"]
        ),
        distillation_loss(output["caption_logits"], teacher["caption_logits"], 2.0, counted),
    ]
    expected = captions | {
        "contrastive": sigmoid_contrastive(v, u, t, b, IDS),
        "masked": masked_loss(output["masked_prediction"], output["masked_target"]),
        "distillation": (taught[0] + taught[1]) / 2,
        "distillation/contrastive": taught[0],
        "distillation/captioning": taught[1],
    }
    expected["total"] = sum(ALL[name] * expected[name] for name in LOSSES)
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, msg=name)


def test_every_weighted_loss_teaches_a_part() -> None:
    network, batch = model(), given()
    teacher = EMATeacher(model(embedding=12))
    with torch.no_grad():
        taught = teacher(**batch)
    losses = MultitaskLoss(LossConfig(**ALL))(
        network(**batch, mask=True), report_ids=IDS, caption_tokens=batch["tokens"], teacher=taught
    )
    reached = {
        "contrastive": {"video", "text", "alignment"}, "captioning": {"video", "caption"},
        "masked": {"video", "masked"}, "distillation": {"video", "text", "alignment"},
    }  # fmt: skip
    for name, parts in reached.items():
        network.zero_grad(set_to_none=True)
        losses[name].backward(retain_graph=True)
        found = {
            part for part, module in network.parts.items()
            if any(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())
        }  # fmt: skip
        assert found == parts, name


def test_softmax_needs_no_bias_and_sigmoid_does() -> None:
    batch = given()
    output = model(contrast="softmax")(**batch)
    losses = MultitaskLoss(LossConfig(contrast="softmax"))(output, caption_tokens=batch["tokens"])
    v, u, t = (output[k] for k in ("video_embedding", "text_embedding", "log_temperature"))
    torch.testing.assert_close(losses["contrastive"], softmax_contrastive(v, u, t))
    with pytest.raises(ParameterError, match="'sigmoid' needs a bias"):
        MultitaskLoss()(output, caption_tokens=batch["tokens"])
    with pytest.raises(ParameterError, match="without the caption_tokens"):
        MultitaskLoss(LossConfig(contrast="softmax"))(output)


def test_losses_without_outputs_units_weight_or_tokens_are_absent() -> None:
    network, batch = model(), given()
    output = network(**batch, mask=True)
    tokens = batch["tokens"]
    assert set(MultitaskLoss()(output, caption_tokens=tokens)) == {
        "total", "contrastive", "captioning", "captioning/ce", "masked"
    }  # fmt: skip
    assert set(MultitaskLoss(LossConfig(captioning=0.0))(output)) == {"total", "contrastive", "masked"}
    none = MultitaskLoss()(output, caption_tokens=tokens, units={"masked": 4, "captioning": 0})
    assert set(none) == {"total", "masked"}
    assert "captioning" not in MultitaskLoss()(output, caption_tokens=torch.zeros_like(tokens))
    only = MultitaskLoss()(network(batch["video"]))
    assert set(only) == {"total"} and float(only["total"]) == 0
    no_teacher = MultitaskLoss(LossConfig(distillation=1.0))(output, caption_tokens=tokens)
    assert "distillation" not in no_teacher


def test_units_are_pairs_tokens_and_clips() -> None:
    tokens = torch.tensor([[2, 5, 6, 3], [2, 5, 3, 0]])
    units = MultitaskLoss().valid_units(3, 2, tokens, torch.tensor([2, 1]), taught=True)
    assert units == {"contrastive": 2, "captioning": 4, "masked": 3, "distillation": 3}
    assert MultitaskLoss().valid_units(3) == {
        "contrastive": 0, "captioning": 0, "masked": 3, "distillation": 0
    }  # fmt: skip


def test_the_described_weights() -> None:
    assert LossConfig().weights() == {"contrastive": 1.0, "captioning": 1.0, "masked": 0.1}


@pytest.mark.parametrize("schedule", ["linear", "cosine", "step"])
@pytest.mark.parametrize("warm_up", [0.0, 0.25])
def test_schedules_begin_and_end_where_they_say(schedule: str, warm_up: float) -> None:
    config = LossConfig(
        distillation=0.0, final={"distillation": 2.0, "masked": 0.0}, schedule=schedule, warm_up=warm_up
    )
    first, last = config.weights(0.0), config.weights(1.0)
    assert first == {"contrastive": 1.0, "captioning": 1.0, "masked": 0.1, "distillation": 0.0}
    assert last == pytest.approx({"contrastive": 1.0, "captioning": 1.0, "masked": 0.0, "distillation": 2.0})
    just_before = config.weights(warm_up - 1e-9)
    assert just_before["distillation"] == pytest.approx(0.0, abs=1e-6)
    middle = config.weights(warm_up + (1 - warm_up) / 2)["distillation"]
    assert middle == pytest.approx({"linear": 1.0, "cosine": 1.0, "step": 2.0}[schedule])
    quarter = config.weights(warm_up + (1 - warm_up) / 4)["distillation"]
    assert quarter == pytest.approx({"linear": 0.5, "cosine": 1 - 0.5**0.5, "step": 2.0}[schedule])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "step"])
def test_the_schedule_is_that_of_the_balancer(schedule: str) -> None:
    config = LossConfig(final={"contrastive": 0.2, "masked": 0.4}, schedule=schedule, warm_up=0.3)
    balancer = Schedule(
        ("contrastive", "captioning", "masked"), {}, initial={"masked": 0.1},
        final={"contrastive": 0.2, "masked": 0.4}, kind=schedule, warm_up=0.3,
    )  # fmt: skip
    for progress in (0.0, 0.29, 0.3, 0.31, 0.5, 0.9, 1.0):
        balancer.begin_step(progress)
        assert config.weights(progress) == pytest.approx(balancer.current_weights())


def test_the_total_follows_the_schedule() -> None:
    config = LossConfig(
        contrastive=1.0, captioning=0.0, masked=0.0, final={"contrastive": 3.0}, schedule="linear"
    )
    output = model()(**given())
    losses = [MultitaskLoss(config)(output, progress=p) for p in (0.0, 0.5, 1.0)]
    for found, weight in zip(losses, (1, 2, 3), strict=True):
        torch.testing.assert_close(found["total"], weight * found["contrastive"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masked": -1.0}, "masked = -1.0"),
        ({"contrastive": float("nan")}, "contrastive = nan"),
        ({"contrastive": "1"}, "contrastive = 1"),
        ({"final": {"masked": 1.0}}, "final: a schedule other than 'constant'"),
        ({"final": {"masked": -1.0}}, "final masked = -1.0"),
        ({"final": {"mask": 1.0}}, "final: 'mask'"),
        ({"schedule": "sine"}, "schedule: 'sine'"),
        ({"contrast": "hinge"}, "contrast: 'hinge'"),
        ({"distilled": "all"}, "distilled: 'all'"),
        ({"warm_up": 1.0}, "warm_up = 1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing = 1.0"),
        ({"temperature": 0.0}, "temperature = 0.0"),
    ],
)
def test_settings_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        LossConfig(**options)


def test_an_empty_output_is_refused() -> None:
    with pytest.raises(ParameterError, match="output is empty"):
        MultitaskLoss()({})
