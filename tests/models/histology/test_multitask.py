"""The network: its flags, any size, every backbone, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mtl.errors import ParameterError
from mtl.model_folder import load_model, save_model
from mtl.models.histology import BACKBONES, UNetMultiTask

FLAGS = {
    "return_recon": "recon",
    "return_hv": "hv_map",
    "return_obj_emb": "obj_emb",
    "return_pixel_emb": "pixel_emb",
}
ALL = dict.fromkeys(FLAGS, True)


def small(**options) -> UNetMultiTask:
    torch.manual_seed(0)
    return UNetMultiTask(**{"base_filters": 4, "depth": 2} | options).eval()


def test_a_key_is_there_exactly_when_its_flag_is() -> None:
    model, x = small(), torch.rand(2, 3, 24, 32)
    assert set(model(x)) == {"preds"}
    for flag, key in FLAGS.items():
        assert set(model(x, **{flag: True})) == {"preds", key}
    assert set(model(x, **ALL)) == {"preds", *FLAGS.values()}


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("size", [(64, 64), (37, 50), (5, 3)])
def test_shapes_and_ranges_at_any_size(backbone: str, size: tuple[int, int]) -> None:
    model = small(backbone=backbone, embedding_channels=6)
    with torch.no_grad():
        output = model(torch.rand(2, 3, *size), **ALL)
    channels = {"preds": 1, "hv_map": 1, "recon": 3, "obj_emb": 6, "pixel_emb": 6}
    assert {name: tuple(value.shape) for name, value in output.items()} == {
        name: (2, n, *size) for name, n in channels.items()
    }
    for name in ("hv_map", "recon"):
        assert output[name].min() >= 0 and output[name].max() <= 1
    for name in ("obj_emb", "pixel_emb"):
        lengths = output[name].norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-4, rtol=0)


def test_the_native_grid_is_the_deepest_one() -> None:
    model, x = small(depth=3), torch.rand(1, 3, 40, 61)
    native = model(x, return_obj_emb="native")["obj_emb"]
    assert native.shape == (1, 16, 5, 8)


def test_two_signed_maps_with_hover() -> None:
    output = small(hv="hover")(torch.rand(1, 3, 32, 32), return_hv=True)
    assert output["hv_map"].shape == (1, 2, 32, 32)
    assert -1 <= output["hv_map"].min() < 0 < output["hv_map"].max() <= 1


def test_the_reconstruction_sees_the_bottleneck_alone() -> None:
    model, x = small(normalisation="none"), torch.rand(1, 3, 32, 32)
    features = [torch.zeros_like(f) for f in model.encoder(x)[:-1]]
    bottleneck = model.encoder((x - model.mean) / model.std)[-1]
    torch.testing.assert_close(
        torch.sigmoid(model.recon_decoder(bottleneck)), model(x, return_recon=True)["recon"]
    )
    assert len(features) == 2


@pytest.mark.parametrize("backbone", BACKBONES)
def test_before_anything_is_learnt_nuclei_have_the_prior(backbone: str) -> None:
    """So that unlabelled pixels can be pseudo-negatives from the first step (p < 0.2)."""
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        half, tenth = (small(backbone=backbone, prior=prior)(x)["preds"] for prior in (0.5, 0.1))
    torch.testing.assert_close(half - tenth, torch.full_like(half, 9.0).log())  # odds of 1 : 1 and 1 : 9


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1])
def test_a_prior_that_is_no_probability_is_refused(prior: float) -> None:
    with pytest.raises(ParameterError, match="prior"):
        small(prior=prior)


def test_normalisation_lives_inside() -> None:
    x = torch.rand(1, 3, 32, 32)
    moved = small(mean=[0.1, 0.2, 0.3], std=[0.5, 0.5, 0.5], normalisation="none")
    plain = small(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0], normalisation="none")
    shift = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    torch.testing.assert_close(moved(x)["preds"], plain((x - shift) / 0.5)["preds"])


def test_an_image_in_another_light_gives_the_same_nuclei() -> None:
    """And a flat one gives finite ones."""
    model, x = small(), torch.rand(2, 3, 33, 40)
    gain = torch.tensor([0.9, 0.5, 0.7]).view(1, 3, 1, 1)
    wanted, found = model(x, return_pixel_emb=True), model(gain * x, return_pixel_emb=True)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(x[:1])["preds"], wanted["preds"][:1], rtol=1e-4, atol=1e-4)
    for flat in (torch.zeros(1, 3, 32, 32), torch.full((1, 3, 5, 3), 0.7)):
        assert model(flat)["preds"].isfinite().all()
    other = small(normalisation="none")
    assert (other(x)["preds"] - other(gain * x)["preds"]).abs().max() > 1e-3


def test_parts_freeze_and_shared_weights_are_the_encoders() -> None:
    model = small()
    assert all(name.startswith("encoder.") for name in model.shared_parameters())
    reached = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert reached == set(model.part_names)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_folder_brings_the_network_back(backbone: str, tmp_path: Path) -> None:
    model = small(backbone=backbone, hv="hover", mean=[0.7, 0.5, 0.6])
    save_model(model, tmp_path / "best", "card")
    loaded, x = load_model(UNetMultiTask, tmp_path / "best"), torch.rand(1, 3, 40, 40)
    for name, value in model(x, **ALL).items():
        torch.testing.assert_close(loaded(x, **ALL)[name], value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"backbone": "vgg"},
        {"hv": "polar"},
        {"normalisation": "all"},
        {"mean": [0.5]},
        {"std": [0.1, 0.0, 0.1]},
    ],
)
def test_arguments_that_do_not_fit_are_named(wrong: dict) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        small(**wrong)
