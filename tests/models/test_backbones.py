"""Encoders of another make carry decoder and head; what breaks the contract is named; folders reload."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtl.errors import CheckpointError, ParameterError
from mtl.model_folder import load_model, save_model
from mtl.models.backbones import ResNetEncoder, ResNetModel, feature_shapes
from mtl.models.brain_mri import MultiTaskModel
from mtl.models.unet import UNetDecoder, UNetEncoder


class StridedModel(MultiTaskModel):
    """On the encoder that MONAI's FlexibleUNet takes: its finest level has half the image's size."""

    def make_encoder(self, in_channels: int, base_filters: int, depth: int) -> nn.Module:
        from monai.networks.nets.resnet import ResNetEncoder as MonaiEncoder

        encoder = MonaiEncoder("resnet10", pretrained=False, spatial_dims=2, in_channels=in_channels)
        encoder.channels, encoder.stride = [64, 64, 128, 256, 512], 2
        return encoder


@pytest.fixture
def model() -> ResNetModel:
    torch.manual_seed(0)
    return ResNetModel(base_filters=4, depth=2, image_size=16).eval()


def test_the_residual_encoder_is_monais_network_level_by_level():
    from monai.networks.nets import ResNet

    torch.manual_seed(0)
    widths = [4, 8, 16, 32]
    whole = ResNet("basic", [2, 2, 2, 2], widths, spatial_dims=2, n_input_channels=1, conv1_t_size=3,
                   no_max_pool=True, feed_forward=False, bias_downsample=False).eval()  # fmt: skip
    encoder = ResNetEncoder(1, 4, 3).eval()
    renamed = dict(zip(encoder.state_dict(), whole.state_dict().values(), strict=True))
    encoder.load_state_dict(renamed)
    image = torch.randn(2, 1, 16, 16)
    pooled = encoder(image)[-1].mean(dim=(2, 3))
    torch.testing.assert_close(pooled, whole(image))


@pytest.mark.parametrize("model_class", [MultiTaskModel, ResNetModel])
@pytest.mark.parametrize(("depth", "size"), [(1, 16), (3, 24)])
def test_features_halve_and_both_heads_attach(model_class, depth, size):
    model = model_class(base_filters=4, depth=depth, image_size=size).eval()
    expected = [(4 * 2**i, size // 2**i, size // 2**i) for i in range(depth + 1)]
    assert feature_shapes(model.encoder, size=size) == expected
    output = model(torch.randn(2, 1, size, size))
    assert output["seg"].shape == (2, 1, size, size) and output["cls"].shape == (2, 2)


def test_a_stem_with_a_stride_is_enlarged_to_the_image():
    model = StridedModel(image_size=64).eval()
    assert [shape[1] for shape in feature_shapes(model.encoder, size=64)] == [32, 16, 8, 4, 2]
    output = model(torch.randn(2, 1, 64, 64))
    assert output["seg"].shape == (2, 1, 64, 64) and output["features"][0].shape[-1] == 32


def test_every_part_gets_a_gradient_and_the_encoder_freezes(model):
    model.train()
    output = model(torch.randn(4, 1, 16, 16))
    (output["seg"].square().mean() + output["cls"].square().mean()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.freeze("encoder")
    before = model.encoder.stem[1].running_mean.clone()
    model(torch.randn(4, 1, 16, 16) + 5)
    assert torch.equal(before, model.encoder.stem[1].running_mean)


def test_a_decoder_of_channels_is_the_decoder_of_those_filters():
    by_filters, by_channels = UNetDecoder(4, 2), UNetDecoder(channels=[4, 8, 16])
    by_channels.load_state_dict(by_filters.state_dict())
    features = UNetEncoder(1, 4, 2).eval()(torch.randn(1, 1, 17, 23))
    assert torch.equal(by_filters.eval()(features), by_channels.eval()(features))


def test_a_saved_variant_needs_its_folder_and_its_class(model, tmp_path):
    save_model(model, tmp_path / "best", "# A card\n")
    image = torch.randn(2, 1, 16, 16)
    for again in (load_model(ResNetModel, tmp_path / "best"), ResNetModel.from_pretrained(tmp_path / "best")):
        assert torch.equal(again.eval()(image)["seg"], model(image)["seg"])
        assert again.image_size == 16
    with pytest.raises(CheckpointError, match="holds a mtl.models.backbones.ResNetModel"):
        load_model(MultiTaskModel, tmp_path / "best")


def broken(**changes) -> nn.Module:
    encoder = UNetEncoder(1, 4, 2)
    for name, value in changes.items():
        setattr(encoder, name, value)
    return encoder


class OneTensor(nn.Module):
    channels = [1]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (nn.Identity(), "encoder.channels is None"),
        (broken(channels=[4, 8]), "returns 3 features; a list of 2"),
        (broken(channels=[16, 8, 4]), r"level 0 .* \(4, 16, 16\); \(16, 16, 16\) is expected"),
        (broken(stride=2), r"level 0 .* \(4, 8, 8\) is expected .* stride=2"),
        (OneTensor(), "returns Tensor"),
    ],
)
def test_what_breaks_the_contract_is_named(encoder, message):
    with pytest.raises(ParameterError, match=message):
        feature_shapes(encoder, size=16)


def test_looking_at_shapes_changes_nothing():
    encoder = UNetEncoder(1, 4, 2).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    feature_shapes(encoder, size=16)
    assert encoder.training
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


def test_a_residual_network_of_four_halvings_is_refused():
    with pytest.raises(ParameterError, match="depth=4"):
        ResNetModel(base_filters=4, depth=4)
