"""The average of a network's weights that follows it, also from within."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from mtl.errors import ParameterError
from mtl.model_folder import load_model, save_model
from mtl.models.angiography import EMATeacher, VideoTextModel

SIZES = {
    "vocabulary": 20, "width": 16, "heads": 2, "context": 10, "frames": 4, "image_size": 16,
    "tubelet": (2, 8, 8), "video_depth": 1, "text_depth": 1, "caption_depth": 1, "masked_width": 8,
    "masked_depth": 1,
}  # fmt: skip


def small(teacher_decay: float = 0.75) -> VideoTextModel:
    torch.manual_seed(0)
    return VideoTextModel(**SIZES, teacher_decay=teacher_decay)


def moved(model: nn.Module, seed: int) -> None:
    """Other weights everywhere but in the teacher."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("teacher."):
                parameter += torch.randn_like(parameter)


@pytest.mark.parametrize("decay", [0.0, 0.75, 0.999])
def test_following_is_a_running_mean(decay: float) -> None:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)).double()
    teacher = EMATeacher(student, decay)
    expected = {name: value.detach().clone() for name, value in student.named_parameters()}
    for step in range(4):
        moved(student, step)
        teacher.follow(student)
        for name, value in student.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * value.detach()
    for name, value in teacher.module.named_parameters():
        torch.testing.assert_close(value, expected[name])
        assert not value.requires_grad and value.grad is None


def test_it_does_what_updating_does_after_the_first_step() -> None:
    torch.manual_seed(0)
    student = nn.Linear(3, 4).double()
    one, other = EMATeacher(student, 0.9), EMATeacher(student, 0.9)
    other.update_parameters(student)  # the first copies
    for step in range(3):
        moved(student, step)
        one.follow(student), other.update_parameters(student)
    torch.testing.assert_close(one.module.weight, other.module.weight)


def test_a_network_that_holds_its_teacher_is_followed_without_it() -> None:
    model = small()
    start = {name: value.detach().clone() for name, value in model.teacher.module.named_parameters()}
    own = {name: value for name, value in model.named_parameters() if not name.startswith("teacher.")}
    assert list(start) == list(own), "the same parameters in one order"
    assert all(torch.equal(start[name], own[name]) for name in own)
    moved(model, 1)
    model.teacher.follow(model)
    for name, value in model.teacher.module.named_parameters():
        torch.testing.assert_close(value, 0.75 * start[name] + 0.25 * own[name])
    assert not hasattr(model.teacher.module, "teacher")


def test_the_teacher_is_no_part_and_is_never_trained() -> None:
    model = small()
    held = {id(p) for part in model.parts.values() for p in part.parameters()}
    teachers = list(model.teacher.parameters())
    assert held.isdisjoint(id(p) for p in teachers)
    for part in model.part_names:
        model.unfreeze(part)
    model.train()
    assert not any(p.requires_grad for p in teachers)
    assert not any(module.training for module in model.teacher.modules())
    model.embed_video(torch.rand(2, 3, 4, 16, 16)).sum().backward()
    assert all(p.grad is None for p in teachers)


def test_a_teacher_changes_nothing_else_of_the_network() -> None:
    with_teacher, without = small(), small(0.0)
    assert without.teacher is None
    kept = without.state_dict()
    assert all(torch.equal(with_teacher.state_dict()[name], value) for name, value in kept.items())
    more = set(with_teacher.state_dict()) - set(kept)
    assert more and all(name.startswith("teacher.") for name in more)


def test_it_is_saved_and_copied_with_its_network(tmp_path: Path) -> None:
    model = small()
    moved(model, 2)
    model.teacher.follow(model)
    save_model(model, tmp_path / "model", "card")
    found = load_model(VideoTextModel, tmp_path / "model")
    assert found.teacher.decay == 0.75
    for one in (found, deepcopy(model)):
        assert all(torch.equal(one.state_dict()[name], value) for name, value in model.state_dict().items())
    moved(found, 3)
    moved(model, 3)
    found.teacher.follow(found), model.teacher.follow(model)
    for one, other in zip(found.teacher.parameters(), model.teacher.parameters(), strict=True):
        assert torch.equal(one, other), "it goes on as before"


@pytest.mark.parametrize("decay", [1.0, -0.5, 1.5])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ParameterError, match="from 0 on and below 1 is expected"):
        small(decay)
