"""The em network in its five arms: shapes, locality, parts, folders; two and three dimensions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtl.errors import ParameterError
from mtl.model_folder import load_model, save_model
from mtl.models.em import INJECTIONS, EMModel
from mtl.models.geodesic_reach import geodesic_distance, walking_cost
from mtl.models.prompts import PointPrompts

SHAPES = {2: (12, 14), 3: (6, 8, 10)}
OUTPUTS = ("semantic", "instance", "geometry", "features")
LOCAL = ("semantic", "instance", "geometry")


def small_model(dims: int = 2, injection: str = "late", opened: bool = False, **changes) -> EMModel:
    """A network of two levels; ``opened``: its prompt path as after some training."""
    torch.manual_seed(0)
    sizes = {"features": 4, "embedding_channels": 3, "blocks_down": (1, 1), "blocks_up": (1,)}
    model = EMModel(spatial_dims=dims, injection=injection, **sizes | changes)
    for module in model.modules() if opened else ():
        if hasattr(module, "gate"):
            nn.init.constant_(module.gate, 0.1)
            nn.init.normal_(module.convolution.weight, std=0.3)
    return model.eval()


def image(dims: int, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 1, *SHAPES[dims], generator=torch.Generator().manual_seed(1))


def clicks(*points: tuple[int, ...], labels: tuple[int, ...], batch: int = 2) -> PointPrompts:
    """The same clicks in every sample."""
    return PointPrompts(
        torch.tensor(points).expand(batch, -1, -1).contiguous(), torch.tensor(labels).expand(batch, -1)
    )


def some_clicks(dims: int) -> PointPrompts:
    return clicks((2, 3, 4)[:dims], (5, 7, 9)[:dims], (0, 0, 0)[:dims], labels=(1, 0, 1))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("injection", INJECTIONS)
def test_outputs_have_the_stated_shapes(dims, injection):
    model, n_geometry = small_model(dims, injection), dims + dims**2 + 4
    widths = {"semantic": 2, "instance": 3, "geometry": n_geometry, "features": 4}
    automatic, prompted = model(image(dims)), model(image(dims), some_clicks(dims), torch.tensor([1, 1]))
    assert {name: value.shape for name, value in automatic.items()} == {
        name: (2, width, *SHAPES[dims]) for name, width in widths.items()
    }
    has_target = injection in ("embedding", "target_head")
    assert set(prompted) - set(automatic) == ({"target"} if has_target else set())
    if has_target:
        assert prompted["target"].shape == (2, 1, *SHAPES[dims])


@pytest.mark.parametrize("size", [(12, 14), (13, 9)])
def test_any_size_will_do_and_padding_moves_nothing(size):
    model = small_model(2)
    assert model(torch.rand(1, 1, *size))["instance"].shape == (1, 3, *size)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("injection", INJECTIONS)
def test_no_prompts_or_only_padding_is_automatic_mode_to_the_last_bit(dims, injection):
    model = small_model(dims, injection, opened=True)
    automatic = model(image(dims))
    padding = clicks((99, 99, 99)[:dims], labels=(-1,))
    none = PointPrompts(torch.zeros(2, 0, dims, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.int64))
    for prompts in (padding, none):
        prompted = model(image(dims), prompts)
        assert all(torch.equal(prompted[name], automatic[name]) for name in OUTPUTS)


@pytest.mark.parametrize("injection", INJECTIONS)
def test_the_order_of_points_and_repetition_do_not_matter(injection):
    model = small_model(3, injection, opened=True)
    points, labels = some_clicks(3)
    previous = torch.rand(2, 1, *SHAPES[3])
    expected = model(image(3), PointPrompts(points, labels), previous_mask=previous)
    order = [2, 0, 1]
    shuffled = model(image(3), PointPrompts(points[:, order], labels[:, order]), previous_mask=previous)
    for name, value in expected.items():
        torch.testing.assert_close(shuffled[name], value, rtol=1e-6, atol=1e-6)
    if injection != "embedding":  # there a click twice counts twice in the mean
        twice = PointPrompts(points[:, [0, 0, 1, 2]], labels[:, [0, 0, 1, 2]])
        torch.testing.assert_close(model(image(3), twice, previous_mask=previous), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_late_clicks_change_their_reach_and_nothing_else(dims):
    model = small_model(dims, opened=True)
    centre = tuple(length // 2 for length in SHAPES[dims])
    automatic, prompted = model(image(dims)), model(image(dims), clicks(centre, labels=(1,)))
    assert model.click_reach == 2
    near = torch.zeros(SHAPES[dims], dtype=torch.bool)
    near[tuple(slice(c - model.click_reach, c + model.click_reach + 1) for c in centre)] = True
    for name in LOCAL:
        changed = (prompted[name] != automatic[name]).any(1).any(0)
        assert not bool(changed[~near].any()), name
        edge = [i for i in near.nonzero() if bool((i - torch.tensor(centre)).abs().max() == 2)]
        assert any(bool(changed[tuple(i)]) for i in edge), "the reach is smaller than stated"


@pytest.mark.parametrize(
    ("injection", "reach", "reruns"),
    [
        ("late", 2, False),
        ("input", None, True),
        ("multiscale", None, True),
        ("embedding", 0, False),
        ("target_head", 0, False),
    ],
)
def test_reach_and_cost_are_as_stated(injection, reach, reruns):
    model = small_model(2, injection, opened=True)
    assert (model.click_reach, model.reruns_encoder) == (reach, reruns)
    automatic, prompted = model(image(2)), model(image(2), some_clicks(2))
    same_features = torch.equal(automatic["features"], prompted["features"])
    assert same_features is not reruns
    assert all(torch.equal(automatic[name], prompted[name]) for name in LOCAL) is (reach == 0)
    assert model.prompts_reach_heads is (reach != 0)


def test_heads_are_spatially_local():
    model = small_model(3)
    features = torch.rand(1, 4, *SHAPES[3])
    moved = features.clone()
    moved[0, :, 3, 4, 5] += 7
    before, after = model.decode(features), model.decode(moved)
    for name in LOCAL:
        changed = (before[name] != after[name]).any(1)[0].nonzero()
        assert (changed.amin(0).tolist(), changed.amax(0).tolist()) == ([2, 3, 4], [4, 5, 6]), name


@pytest.mark.parametrize("dims", [2, 3])
def test_recomputing_around_clicks_gives_the_same_outputs_and_gradients(dims):
    model = small_model(dims, opened=True).double()
    corner, last = (0,) * dims, tuple(length - 1 for length in SHAPES[dims])
    points = clicks(
        corner, last, (3,) * dims, (4,) * dims, (3,) * dims, (50,) * dims, labels=(1, 0, 1, 0, 1, -1)
    )
    images, ids = image(dims).double(), torch.tensor([0, 1])
    found = []
    for reuse in (False, True):
        features = model.encode(images)
        automatic = model.decode(features)
        prompted = model.decode(features, points, ids, automatic=automatic if reuse else None)
        scores = [
            (value * torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)).square().sum()
            for output in (automatic, prompted)
            for name, value in output.items()
            if name in LOCAL
        ]
        gradients = torch.autograd.grad(sum(scores), list(model.parameters()))
        found.append(([prompted[name] for name in LOCAL], gradients))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_embedding_logits_follow_the_formula():
    model = small_model(2, "embedding", delta_d=0.7)
    output = model(image(2), some_clicks(2))
    f, found = output["instance"], output["target"]
    for b in range(2):
        positive = (f[b, :, 2, 3] + f[b, :, 0, 0]) / 2
        for y, x in ((2, 3), (5, 7), (11, 0)):
            to_negative = min(float((f[b, :, y, x] - f[b, :, 5, 7]).norm()), 0.7) ** 2
            expected = to_negative - float((f[b, :, y, x] - positive).norm()) ** 2
            assert float(found[b, 0, y, x]) == pytest.approx(expected, abs=1e-5)
    only = model(image(2), clicks((2, 3), labels=(1,)))["target"]
    distance = (f - f[:, :, 2:3, 3:4]).norm(dim=1, keepdim=True)
    assert torch.equal(only > 0, distance < 0.7)
    assert not [name for name, _ in model.named_parameters() if "prompt" in name or "target" in name]


def test_the_mask_head_looks_at_clicks_and_at_the_mask_before():
    model = small_model(2, "target_head")
    first = model(image(2), some_clicks(2))["target"]
    assert not torch.equal(model(image(2), clicks((2, 3), labels=(1,)))["target"], first)
    again = model(image(2), some_clicks(2), previous_mask=torch.ones(2, 1, 12, 14))["target"]
    assert not torch.equal(again, first)


def without_convolutions(slope: str) -> EMModel:
    """The mask head left with one of its two rules: the other one and its convolutions are at zero."""
    model = small_model(2, "target_head", delta_d=0.7)
    head = model.target_head
    for parameter in (head.logits.weight, head.logits.bias, getattr(head, slope)):
        nn.init.zeros_(parameter)
    return model


def test_the_mask_head_starts_from_the_nearest_click_in_embedding_space():
    model = without_convolutions("reach_slope")
    output = model(image(2), clicks((2, 3), (0, 0), (5, 7), labels=(1, 1, 0)))
    f = output["instance"]
    away = [
        (f - f[:, :, y : y + 1, x : x + 1]).norm(dim=1, keepdim=True) for y, x in ((2, 3), (0, 0), (5, 7))
    ]
    positive = torch.minimum(away[0], away[1])
    decided = (positive - torch.minimum(away[2], torch.tensor(0.7))).abs() > 1e-3
    expected = (positive < away[2]) & (positive < 0.7)
    assert torch.equal((output["target"] > 0)[decided], expected[decided]) and expected.any()


def test_the_mask_head_starts_from_the_click_that_gets_there_through_foreground():
    model = without_convolutions("slope")
    prompts = clicks((2, 3), (0, 0), (5, 7), labels=(1, 1, 0))
    output = model(image(2), prompts)
    cost = walking_cost(output["semantic"])
    away = [
        geodesic_distance(cost, prompts.points[:, n : n + 1], prompts.labels[:, :1] > 0) for n in range(3)
    ]
    positive = torch.minimum(away[0], away[1])
    decided = (positive - away[2].clamp_max(2)).abs() > 1e-3
    expected = (positive < away[2]) & (positive < 2)
    assert torch.equal((output["target"] > 0)[decided], expected[decided]) and expected.any()


@pytest.mark.parametrize("injection", ["late", "input", "multiscale", "target_head"])
def test_every_weight_of_the_prompt_path_gets_a_gradient(injection):
    model = small_model(3, injection).train()
    output = model(image(3), some_clicks(3), torch.tensor([1, 0]))
    scored = [output["target"]] if injection == "target_head" else [output[name] for name in LOCAL]
    sum(value.square().sum() for value in scored).backward()
    if injection == "input":
        assert all(layer.weight.grad[:, 1:].abs().sum() > 0 for layer in model.backbone.image_layers)
        return
    part = model.parts["target_head" if injection == "target_head" else "prompt_encoder"]
    for name, parameter in part.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("injection", INJECTIONS)
@torch.no_grad()
def test_training_starts_as_in_automatic_mode(injection):
    model = small_model(3, injection)
    automatic, prompted = model(image(3)), model(image(3), some_clicks(3))
    for name in LOCAL:
        moved = (automatic[name] - prompted[name]).abs().max() / automatic[name].std()
        assert float(moved) < 0.1, name


def test_a_model_folder_holds_all_that_is_needed(tmp_path):
    for injection in INJECTIONS:
        model = small_model(3, injection, spacing=[30.0, 6.0, 6.0], intensity={"scale": 255}, geometry=False)
        save_model(model, tmp_path / injection, "card")
        loaded = load_model(EMModel, tmp_path / injection)
        assert (loaded.injection, loaded.spacing, loaded.intensity) == (
            injection,
            [30.0, 6.0, 6.0],
            {"scale": 255},
        )
        found, expected = (m(image(3), some_clicks(3)) for m in (loaded, model))
        assert found.keys() == expected.keys() and "geometry" not in found
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("injection", "last"),
    [("late", "prompt_encoder"), ("target_head", "target_head"), ("input", "geometry_head")],
)
def test_parts_can_be_frozen_one_by_one(injection, last):
    model = small_model(2, injection)
    assert list(model.parts)[:3] == ["backbone", "semantic_head", "instance_head"]
    assert list(model.parts)[-1] == last
    owned = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert owned == set(model.parts)
    model.freeze(last)
    assert {n.split(".")[0] for n, p in model.named_parameters() if not p.requires_grad} == {last}
    assert {name.split(".")[0] for name in model.shared_parameters()} == {"backbone"}
    assert list(EMModel.part_names) == ["backbone", "semantic_head", "instance_head"]


def test_there_is_no_batch_norm():
    for module in small_model(3).modules():
        assert not isinstance(module, nn.modules.batchnorm._BatchNorm)


def test_the_arms_draw_the_same_weights_for_what_they_share():
    expected = small_model(2, "embedding").state_dict()
    for injection in ("late", "input", "multiscale", "target_head"):
        state = small_model(2, injection).state_dict()
        for name, value in expected.items():
            found = state[name][:, :1] if state[name].shape != value.shape else state[name]
            assert torch.equal(found, value), (injection, name)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("injection", ["late", "input", "target_head"])
def test_the_encoder_of_vista3d_fits_too(dims, injection):
    model = small_model(dims, injection, backbone="VISTA3D")
    size = (33, 40, 18)[:dims]
    output = model(torch.rand(2, 1, *size), some_clicks(dims))
    assert output["features"].shape == (2, 4, *size)
    sum(output[name].square().sum() for name in (*LOCAL, "target") if name in output).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    assert not [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"injection": "early"}, "injection: 'early' is not one of late, input"),
        ({"backbone": "UNet"}, "backbone: 'UNet'"),
        ({"dims": 4}, "spatial_dims = 4"),
        ({"spacing": [6.0]}, r"spacing = \(6.0,\): 2 positive numbers"),
        ({"spacing": [0.0, 1.0]}, r"spacing = \(0.0, 1.0\): 2 positive numbers"),
        ({"features": 0}, "features = 0: at least 1"),
        ({"n_classes": 1}, "n_classes = 1: at least 2"),
        ({"embedding_channels": 0}, "embedding_channels = 0: at least 1"),
        ({"ball_radius": float("nan")}, "ball_radius = nan"),
        ({"delta_d": 0.0}, "delta_d = 0.0"),
        ({"blocks_up": (1, 1)}, "blocks_up has 2 entries; 1 are expected"),
        ({"injection": "multiscale", "backbone": "VISTA3D"}, "'multiscale' needs the backbone SegResNet"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ParameterError, match=message):
        small_model(**arguments)


def test_a_volume_for_the_flat_network_is_refused():
    with pytest.raises(ParameterError, match=r"images have shape \(2, 1, 6, 8, 10\).*2 spatial axes"):
        small_model(2)(image(3))


@pytest.mark.parametrize("injection", INJECTIONS)
def test_prompts_that_do_not_fit_the_batch_are_refused_in_every_arm(injection):
    model = small_model(2, injection)
    prompts = clicks((2, 3), labels=(1,), batch=1)
    with pytest.raises(ParameterError, match="1 rows of points for a batch of 2: one each is expected"):
        model(image(2), prompts)
    prompts = clicks((2, 3), labels=(1,))
    with pytest.raises(ParameterError, match="2 rows of points and 1 semantic_ids for a batch of 2"):
        model(image(2), prompts, torch.tensor([1]))
    with pytest.raises(ParameterError, match="semantic_ids: class 7 is not one of 0 to 1"):
        model(image(2), prompts, torch.tensor([1, 7]))
