"""Eight losses together: names, weights, absence, finiteness, gradients."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mtl.errors import ParameterError
from mtl.losses.histology import ALPHAS, LOSSES, LossConfig, MultiTaskLoss
from mtl.targets.histology import distance_map

from .made_batches import blob_mask, output_of, random_mask, random_tensor

DESCRIBED = {
    "alpha_seg": 2, "alpha_edge": 10, "alpha_hv": 1, "alpha_recon": 0.5, "alpha_obj_emb": 0.5,
    "alpha_pixel_con": 0.1, "alpha_var": 0.1, "alpha_small_hole": 0.1,
}  # fmt: skip


def losses_of(y: torch.Tensor, config: LossConfig | None = None, maps: int = 1, **options) -> dict:
    images = random_tensor(9, len(y), 3, *y.shape[2:]).sigmoid()
    target = torch.zeros(len(y), maps, *y.shape[2:])
    found = MultiTaskLoss(config)(output_of(y, maps=maps), y, target, images, **options)
    return {name: value.detach() for name, value in found.items()}


def test_names_and_default_weights_are_the_described_ones() -> None:
    config = LossConfig()
    assert {name: getattr(config, name) for name in DESCRIBED} == DESCRIBED
    found = losses_of(blob_mask())
    assert list(found) == ["total", *LOSSES]
    assert LOSSES == (
        "segmentation", "edge", "hv", "recon", "obj_emb", "pixel_con", "total_var", "small_hole",
    )  # fmt: skip
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.alpha_seg = 1.0


@pytest.mark.parametrize("maps", [1, 2])
def test_the_total_is_the_weighted_sum(maps: int) -> None:
    config = LossConfig(alpha_seg=0.3, alpha_var=7)
    found = losses_of(blob_mask(), config, maps)
    expected = sum(getattr(config, ALPHAS[name]) * found[name] for name in LOSSES)
    assert float(found["total"]) == pytest.approx(float(expected), abs=1e-6)
    assert all(float(value) >= 0 for value in found.values())


def test_a_weight_of_zero_leaves_a_loss_out_and_so_does_a_missing_output() -> None:
    assert "edge" not in losses_of(blob_mask(), LossConfig(alpha_edge=0))
    y = blob_mask()
    output = {"preds": output_of(y)["preds"]}
    found = MultiTaskLoss()(output, y, torch.zeros_like(y))
    assert list(found) == ["total", "segmentation", "edge", "total_var", "small_hole"]
    some = losses_of(y, only=frozenset({"hv", "recon"}))
    assert list(some) == ["total", "hv", "recon"]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("fill", [0.0, 1.0])
@pytest.mark.parametrize("size", [(32, 32), (17, 23)])
def test_everything_is_finite_for_empty_and_full_masks_any_batch_any_size(batch, fill, size) -> None:
    y = torch.full((batch, 1, *size), fill)
    output, images = output_of(y), random_tensor(9, batch, 3, *size).sigmoid()
    found = MultiTaskLoss()(output, y, torch.zeros_like(y), images)
    assert all(torch.isfinite(value) for value in found.values())
    found["total"].backward()
    for name, tensor in output.items():
        assert tensor.grad is None or torch.isfinite(tensor.grad).all(), name
    assert ("obj_emb" in found) == ("pixel_con" in found) == False  # noqa: E712


def test_extreme_logits_and_half_precision_stay_finite() -> None:
    y = blob_mask()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        output = {
            name: (value.detach() * (80 if name == "preds" else 1)).to(dtype)
            for name, value in output_of(y).items()
        }
        images = random_tensor(9, 2, 3, 48, 48).sigmoid()
        found = MultiTaskLoss()(output, y, torch.zeros_like(y), images)
        assert all(torch.isfinite(value) and value.dtype == torch.float32 for value in found.values())


def test_probabilities_of_a_teacher_decide_on_pseudo_labels() -> None:
    y = random_mask(0, 2, 16, 16)
    z = torch.zeros(2, 1, 16, 16)
    unsure = MultiTaskLoss()({"preds": z}, y, y)["segmentation"]
    taught = MultiTaskLoss()({"preds": z}, y, y, pred_probs=torch.full_like(y, 0.01))["segmentation"]
    without = MultiTaskLoss()({"preds": z}, y, y, pred_probs=torch.full_like(y, 0.01), ramp=0.0)[
        "segmentation"
    ]
    assert taught != unsure
    torch.testing.assert_close(without, unsure)


def test_pixel_weights_multiply_the_outlined_pixels() -> None:
    y, z = blob_mask(), random_tensor(3, 2, 1, 48, 48, scale=0.3)
    heavy = torch.where(z > 0, 1.0, 5.0)  # of outlined pixels that are wrong
    plain, weighted = (
        MultiTaskLoss()({"preds": z}, y, y, pixel_weight=w)["segmentation"] for w in (None, heavy)
    )
    assert weighted > plain
    same = MultiTaskLoss()({"preds": z}, y, y, pixel_weight=torch.ones_like(y))["segmentation"]
    torch.testing.assert_close(same, plain)


def test_a_perfect_output_costs_next_to_nothing() -> None:
    y = blob_mask()
    target = torch.stack([torch.from_numpy(distance_map(plane[0].int().numpy())) for plane in y])
    output = {"preds": (2 * y - 1) * 9, "hv_map": target.clone(), "recon": torch.full((2, 3, 48, 48), 0.4)}
    found = MultiTaskLoss()(output, y, target, torch.full((2, 3, 48, 48), 0.4))
    assert found["segmentation"] < 0.01 and found["edge"] < 0.01
    assert found["hv"] == found["recon"] == 0


def test_what_does_not_fit_is_named() -> None:
    y = blob_mask()
    output = output_of(y)
    for name, arguments in {
        "positive_mask": (y[..., :-1], torch.zeros_like(y), None),
        "target_hv": (y, torch.zeros(2, 2, 48, 48), None),
        "images": (y, torch.zeros_like(y), torch.zeros(2, 3, 47, 48)),
    }.items():
        with pytest.raises(ParameterError, match=f"{name} has shape"):
            MultiTaskLoss()(output, *arguments)
    fits = (y, torch.zeros_like(y), torch.zeros(2, 3, 48, 48))
    for changed, message in (
        ({"pixel_emb": torch.zeros(2, 8, 24, 24)}, "pixel_emb has shape"),
        ({"obj_emb": torch.zeros(1, 8, 12, 12)}, "obj_emb has shape"),
        ({"obj_emb": torch.zeros(2, 8, 96, 96)}, "obj_emb has shape"),
    ):
        with pytest.raises(ParameterError, match=message):
            MultiTaskLoss()(output | changed, *fits)
    with pytest.raises(ParameterError, match="target_hv is None"):
        MultiTaskLoss()(output, y, None)
    with pytest.raises(ParameterError, match="positive_mask reaches 255"):
        MultiTaskLoss()(output, 255 * y, *fits[1:])
    with pytest.raises(ParameterError, match="'preds' is expected"):
        MultiTaskLoss()({"recon": output["preds"]}, *fits)
    for wrong in (
        {"alpha_seg": -1}, {"unlikely": 0.95}, {"temperature": 0}, {"most_pixels": 1}, {"smallest": -5},
        {"negative_below": float("nan")}, {"temperature": float("inf")},
    ):  # fmt: skip
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            LossConfig(**wrong)
