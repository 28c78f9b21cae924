"""Parts, saving, what comes out, and the teacher that follows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mtl.errors import ParameterError
from mtl.model_folder import load_model, save_model
from mtl.models.angiography import EMATeacher, ExternalVideoBackbone, VideoTextModel, memory_of

SIZES = {
    "vocabulary": 20, "width": 16, "heads": 2, "context": 10, "frames": 4, "image_size": 16,
    "tubelet": (2, 8, 8), "video_depth": 1, "text_depth": 1, "caption_depth": 1, "masked_width": 8,
    "masked_depth": 1,
}  # fmt: skip


def small(**options: object) -> VideoTextModel:
    torch.manual_seed(0)
    return VideoTextModel(**(SIZES | options))


def batch() -> dict[str, torch.Tensor]:
    return {
        "video": torch.rand(3, 3, 4, 16, 16),
        "tokens": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0], [2, 8, 9, 3]]),
        "caption_tokens": torch.randint(4, 20, (6, 5)),
    }


def test_everything_that_is_asked_for_comes_out() -> None:
    model = small(embedding=12)
    output = model(**batch(), mask=True)
    shapes = {name: tuple(value.shape) for name, value in output.items()}
    assert shapes == {
        "video_tokens": (3, 8, 16), "video_embedding": (3, 12), "text_embedding": (3, 12),
        "log_temperature": (), "bias": (), "caption_logits": (6, 4, 20), "masked_prediction": (3, 6, 384),
        "masked_target": (3, 6, 384), "masked_places": (3, 6), "mask": (3, 8),
    }  # fmt: skip
    for name in ("video_embedding", "text_embedding"):
        torch.testing.assert_close(output[name].norm(dim=1), torch.ones(3))
    assert set(model(batch()["video"])) == {"video_tokens", "video_embedding", "log_temperature", "bias"}


def test_the_captioner_reads_the_clip_as_a_whole_and_its_parts() -> None:
    model, given = small().eval(), batch()
    tokens, pooled = model.video(given["video"])
    memory = memory_of(tokens, pooled)
    torch.testing.assert_close(memory[:, 0], pooled)
    torch.testing.assert_close(memory[:, 1:], tokens)
    rows = given["caption_tokens"]
    written = model(given["video"], caption_tokens=rows)["caption_logits"]
    torch.testing.assert_close(written, model.caption(rows[:, :-1], memory))
    for change in (memory_of(tokens, -pooled), memory_of(-tokens, pooled)):
        assert not torch.allclose(model.caption(rows[:, :-1], change), written, atol=1e-4)


def test_temperature_and_bias_begin_as_published() -> None:
    sigmoid, softmax = small(contrast_batch=33), small(contrast="softmax")
    assert float(sigmoid.alignment.log_temperature.detach().exp()) == pytest.approx(10, rel=1e-6)
    assert float(sigmoid.alignment.bias.detach()) == pytest.approx(-math.log(32), rel=1e-6)
    assert float(softmax.alignment.log_temperature.detach().exp()) == pytest.approx(1 / 0.07, rel=1e-6)
    assert "bias" not in softmax(batch()["video"])


def test_parts_hold_every_parameter_once() -> None:
    model = small()
    assert tuple(model.parts) == ("video", "text", "caption", "masked", "alignment")
    held = [id(p) for part in model.parts.values() for p in part.parameters()]
    assert len(held) == len(set(held)) and set(held) == {id(p) for p in model.parameters()}
    assert model.shared_parameters() and all(n.startswith("video.") for n in model.shared_parameters())


def test_each_output_reaches_the_parts_it_stands_on() -> None:
    model = small()
    output = model(**batch(), mask=True)
    reached = {
        "video_embedding": {"video", "alignment"}, "text_embedding": {"text"},
        "caption_logits": {"video", "caption"}, "masked_prediction": {"video", "masked"},
    }  # fmt: skip
    for name, parts in reached.items():
        model.zero_grad(set_to_none=True)
        output[name].pow(3).sum().backward(retain_graph=True)
        found = {p for p, m in model.parts.items() if any(q.grad is not None for q in m.parameters())}
        assert found == parts, name


@pytest.mark.parametrize("contrast", ["sigmoid", "softmax"])
def test_a_saved_model_comes_back_as_it_was(tmp_path, contrast: str) -> None:
    model = small(contrast=contrast, embedding=12).eval()
    save_model(model, tmp_path / "model", "card")
    again = load_model(VideoTextModel, tmp_path / "model")
    given = batch()
    before, after = model(**given), again(**given)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


class Backbone(nn.Module):
    """Means of frames, as three tokens."""

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return video.mean((3, 4))[..., :3].transpose(1, 2)


class OtherBackbone(VideoTextModel):
    def make_video(self, **sizes: object) -> nn.Module:
        return ExternalVideoBackbone(Backbone(), 3, width=16, heads=2)


def test_another_backbone_does_all_but_masked_video(tmp_path) -> None:
    model = OtherBackbone(**SIZES).eval()
    given = batch()
    output = model(**given)
    assert output["video_tokens"].shape == (3, 3, 16) and output["caption_logits"].shape == (6, 4, 20)
    assert "masked" not in model.parts
    with pytest.raises(ParameterError, match="ExternalVideoBackbone needs all tubelets"):
        model(given["video"], mask=True)
    save_model(model, tmp_path / "model", "card")
    again = load_model(OtherBackbone, tmp_path / "model")(**given)
    assert torch.equal(again["video_embedding"], output["video_embedding"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrast": "hinge"}, "contrast='hinge'"),
        ({"contrast_batch": 1}, "batch=1"),
        ({"heads": 3}, "heads=3"),
    ],
)
def test_arguments_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        small(**options)


def test_autocast_keeps_embeddings_in_float32() -> None:
    model, given = small(), batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**given, mask=True)
    assert output["video_embedding"].dtype == output["text_embedding"].dtype == torch.float32
    assert all(torch.isfinite(value).all() for value in output.values())


def test_a_teacher_is_the_running_mean_of_its_student() -> None:
    student = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.9)).double()
    teacher = EMATeacher(student, decay=0.75)
    assert not any(p.requires_grad for p in teacher.parameters())
    teacher.train()
    assert not teacher.module[1].training
    expected = None
    for _ in range(4):
        with torch.no_grad():
            student[0].weight += torch.randn(2, 2)
        teacher.update_parameters(student)
        now = student[0].weight.detach().clone()
        expected = now if expected is None else 0.75 * expected + 0.25 * now
        torch.testing.assert_close(teacher.module[0].weight, expected)
    assert student[1].training, "the student goes on as before"
    with pytest.raises(ParameterError, match="decay = 1"):
        EMATeacher(student, decay=1.0)
