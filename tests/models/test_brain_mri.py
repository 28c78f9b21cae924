"""Parameter counts against the published oracles, shapes, freezing, adoption of bare state dicts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtl.errors import CheckpointError, ParameterError
from mtl.models.brain_mri import ClassificationHead, MultiTaskModel, infer_architecture
from mtl.models.unet import UNetDecoder, UNetEncoder


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (lambda: UNetEncoder(1, 64, 4), 18_846_016),
        (lambda: UNetEncoder(1, 32, 3), 1_172_640),
        (lambda: UNetDecoder(32, 3), 775_073),
        (lambda: ClassificationHead(1024), 262_914),
        (lambda: ClassificationHead(256), 66_306),
    ],
)
def test_parameter_counts_match_the_specification(module, expected):
    assert count(module()) == expected


def small_model(**changes) -> MultiTaskModel:
    torch.manual_seed(0)
    return MultiTaskModel(**{"base_filters": 4, "depth": 2, "image_size": 16} | changes)


@pytest.mark.parametrize("size", [(16, 16), (18, 22), (17, 31)])
def test_forward_gives_the_stated_shapes(size):
    output = small_model()(torch.randn(3, 1, *size))
    assert output["seg"].shape == (3, 1, *size)
    assert output["cls"].shape == (3, 2)
    expected = [(3, 4 * 2**i, size[0] // 2**i, size[1] // 2**i) for i in range(3)]
    assert [tuple(f.shape) for f in output["features"]] == expected


def test_heads_that_are_not_asked_for_are_absent_and_do_not_run():
    model = small_model()
    calls = []
    model.decoder.register_forward_hook(lambda *_: calls.append("decoder"))
    model.cls_head.register_forward_hook(lambda *_: calls.append("cls_head"))
    assert set(model(torch.randn(1, 1, 16, 16), do_seg=False)) == {"features", "cls"}
    assert set(model(torch.randn(1, 1, 16, 16), do_cls=False)) == {"features", "seg"}
    assert calls == ["cls_head", "decoder"]


def test_frozen_part_keeps_weights_and_statistics_in_training_mode():
    model = small_model()
    model.freeze("encoder")
    model.train()
    before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    output = model(torch.randn(4, 1, 16, 16) * 7 + 3)
    (output["seg"].square().mean() + output["cls"].square().mean()).backward()
    optimiser.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.encoder.state_dict().items())
    assert model.decoder.training and model.cls_head.dropout.training


def test_unfreezing_lets_statistics_move_again():
    model = small_model()
    model.freeze("encoder")
    model.unfreeze("encoder")
    model.train()
    before = model.encoder.levels[0][1].running_mean.clone()
    model(torch.randn(4, 1, 16, 16) + 3)
    assert not torch.equal(before, model.encoder.levels[0][1].running_mean)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_unknown_part_is_named():
    with pytest.raises(ParameterError, match="backbone.*encoder, decoder, cls_head"):
        small_model().freeze("backbone")


def test_shared_parameters_are_the_encoder():
    model = small_model()
    assert set(model.shared_parameters()) == {f"encoder.{n}" for n, _ in model.encoder.named_parameters()}


@pytest.mark.parametrize("sizes", [(4, 2), (8, 3), (2, 1)])
def test_architecture_is_inferred_from_shapes(sizes):
    model = small_model(base_filters=sizes[0], depth=sizes[1], in_channels=3, num_classes=4)
    expected = {"in_channels": 3, "base_filters": sizes[0], "depth": sizes[1], "num_classes": 4}
    assert infer_architecture(model.state_dict()) == expected


def test_a_state_dict_that_does_not_fit_is_refused_by_tensor_name():
    state = small_model().state_dict()
    with pytest.raises(CheckpointError, match="encoder.levels.0.0.weight"):
        infer_architecture({"conv1.weight": torch.zeros(1)})
    wrong = dict(state) | {"cls_head.hidden.weight": torch.zeros(7, 16)}
    with pytest.raises(CheckpointError, match=r"cls_head.hidden.weight.*\(7, 16\).*\(256, 16\)"):
        infer_architecture(wrong)
    with pytest.raises(CheckpointError, match="extra.weight"):
        infer_architecture(dict(state) | {"extra.weight": torch.zeros(1)})
    missing = {name: tensor for name, tensor in state.items() if name != "decoder.logits.bias"}
    with pytest.raises(CheckpointError, match="decoder.logits.bias.*missing"):
        infer_architecture(missing)


class Brightness(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.weights = nn.Linear(encoder.channels[-1], 1)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        return self.weights(features[-1].mean(dim=(2, 3)))[:, 0]


class WithBrightness(MultiTaskModel):
    added_heads = {"brightness": Brightness}


def test_an_added_head_is_a_part_of_its_own_and_changes_nothing_else():
    torch.manual_seed(0)
    plain = MultiTaskModel(base_filters=4, depth=2).eval()
    torch.manual_seed(0)
    extended = WithBrightness(base_filters=4, depth=2).eval()
    assert list(extended.parts) == [*plain.parts, "brightness_head"]
    assert extended.shared_parameters().keys() == plain.shared_parameters().keys()
    image = torch.randn(2, 1, 16, 16)
    outputs = plain(image), extended(image)
    assert outputs[1]["brightness"].shape == (2,)
    assert "brightness" not in extended(image, do_added=False)
    for name in ("seg", "cls"):
        torch.testing.assert_close(outputs[1][name], outputs[0][name])
    extended.freeze("brightness_head")
    assert not any(p.requires_grad for p in extended.brightness_head.parameters())
    assert list(WithBrightness.part_names) == list(MultiTaskModel.part_names)


@pytest.mark.parametrize("name", ["cls", "seg", "features", "tumour area"])
def test_an_added_head_needs_a_name_of_its_own(name):
    model = type("Model", (MultiTaskModel,), {"added_heads": {name: Brightness}})
    with pytest.raises(ParameterError, match=f"added_heads: '{name}' cannot name a task"):
        model(base_filters=4, depth=2)
