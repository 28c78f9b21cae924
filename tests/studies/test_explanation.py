"""Explanations of a study: randomised networks, the head of a prepared slice, the table of a small run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mtl.datasets.brain_mri import BrainNormalisation
from mtl.inference.brain_mri.grad_cam import bottleneck_grad_cam
from mtl.models.brain_mri import MultiTaskModel
from mtl.models.unet import UNetEncoder, receptive_field
from mtl.studies import parameters_class
from mtl.studies.brain_mri import explanation
from mtl.studies.brain_mri.explanation_cases import balanced_cases, maps_of, off_target
from mtl.studies.brain_mri.randomised import randomised_copy, reestimate_statistics
from mtl.studies.brain_mri.study import BrainMriStudy


@pytest.fixture
def model() -> MultiTaskModel:
    torch.manual_seed(0)
    return MultiTaskModel(base_filters=4, depth=2, image_size=32).eval()


def weights(module: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def test_a_randomised_copy_differs_is_reproducible_and_leaves_all_else_alone(model):
    before, state = weights(model), torch.random.get_rng_state()
    first, again, other = (randomised_copy(model.cls_head, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))
    for kind in (model.cls_head, other):
        assert not any(torch.equal(a, b) for a, b in zip(weights(first), weights(kind), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    assert torch.equal(state, torch.random.get_rng_state())
    assert not first.training


def test_statistics_are_those_of_the_training_images_and_weights_stay(model):
    encoder = randomised_copy(model.encoder, 3)
    images = [5 + 3 * torch.randn(8, 1, 32, 32) for _ in range(3)]
    convolutions = [p.clone() for p in encoder.parameters()]
    reestimate_statistics(encoder, images)
    first_convolution, first_norm = encoder.levels[0][0], encoder.levels[0][1]
    with torch.no_grad():
        means = torch.stack([first_convolution(batch).mean((0, 2, 3)) for batch in images]).mean(0)
    torch.testing.assert_close(first_norm.running_mean, means)
    assert all(torch.equal(a, b) for a, b in zip(convolutions, encoder.parameters(), strict=True))
    assert not encoder.training


def test_the_receptive_field_is_where_the_bottlenecks_gradient_reaches():
    torch.manual_seed(0)
    encoder = UNetEncoder(1, 4, 2)
    for layer in encoder.modules():  # nothing may block a path: no negative weight, no zero at a ReLU
        if isinstance(layer, nn.Conv2d):
            nn.init.uniform_(layer.weight, 0.5, 1.0)
    image = torch.rand(1, 1, 96, 96, requires_grad=True)
    monotone = nn.Sequential(*(layer for layer in encoder.eval().levels[2]))
    features = encoder.levels[1](nn.functional.avg_pool2d(encoder.levels[0](image), 2))
    monotone(nn.functional.avg_pool2d(features, 2))[0, :, 12, 12].sum().backward()
    reached = torch.nonzero(image.grad[0, 0])
    assert (reached.max(0).values - reached.min(0).values + 1).tolist() == [receptive_field(2)] * 2


def test_the_head_is_what_is_not_background():
    disc = np.hypot(*(np.indices((40, 40)) - 20)) < 15
    rng = np.random.default_rng(0)
    picture = np.where(disc, 100 + 20 * rng.random((40, 40)), 0).astype(np.float32)
    normalisation = BrainNormalisation(background=-1.0, crop=False)
    prepared, _ = normalisation.prepare(picture, 40)
    prepared[20, 20] = normalisation.background  # a value that the head may take by chance
    found = explanation.head_of(prepared, normalisation.background)
    assert found[20, 20] and (found & disc).sum() / (found | disc).sum() > 0.85


def test_a_gallery_is_balanced_drawn_by_seed_and_shows_a_case_once():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"id": [f"a/{i}" for i in range(60)], "cls": np.arange(60) % 2, "threshold": 0.4})
    table["tumor_prob"] = np.where(rng.random(60) < 0.7, table["cls"], 1 - table["cls"]) * 0.9
    table.loc[table["cls"] == 1, "tumor_prob"] = 0.9  # no missed tumour
    folds = pd.concat([table.assign(fold=0), table.assign(fold=1)])
    drawn = balanced_cases(folds, per_kind=3, seed=0)
    assert drawn["kind"].value_counts().to_dict() == {
        "true positive": 3, "true negative": 3, "false positive": 3,
    }  # fmt: skip
    assert drawn["id"].is_unique
    right = (drawn["tumor_prob"] >= 0.4) == (drawn["cls"] == 1)
    assert (right == drawn["kind"].str.startswith("true")).all()
    assert drawn.set_index("kind")["available"]["true positive"].tolist() == [30] * 3
    assert drawn["id"].tolist() == balanced_cases(folds, per_kind=3, seed=0)["id"].tolist()
    assert drawn["id"].tolist() != balanced_cases(folds, per_kind=3, seed=1)["id"].tolist()


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> BrainMriStudy:
    """A run whose joint stage was never trained: an untrained network stands in for it."""
    values = {
        "output_root": str(tmp_path_factory.mktemp("outputs")), "image_size": 32, "depth": 2,
        "base_filters": 2, "phantom_patients": 24, "device": "cpu",
    }  # fmt: skip
    study = BrainMriStudy(parameters_class("brain_mri")(**values))
    torch.manual_seed(5)
    model = study.untrained_model()
    reestimate_statistics(
        model.encoder, [s["image"][None] for s in study.samples(study.split.folds[0].train)]
    )
    study.model = lambda stage, fold: model
    return study


@pytest.fixture(scope="module")
def table(study) -> pd.DataFrame:
    return explanation.write_explanations(study, draws=2)


def test_every_test_case_has_every_map_and_the_table_is_saved(study, table):
    test = list(study.split.folds[0].test)
    sizes = {"trained": 1, "random_head": 2, "random_network": 2, "centre": 1}
    for name, draws in sizes.items():
        assert sorted(table.loc[table["map"] == name, "id"]) == sorted(test * draws), name
    filled = table[(table["map"] == "trained") & (table["mask_pixels"] > 0)]
    assert sorted(table.loc[table["map"] == "coarse_mask", "id"]) == sorted(filled["id"])
    assert 0 < len(filled) < len(test)
    pd.testing.assert_frame_equal(table, pd.read_parquet(study.run.predictions("explanation")))
    pd.testing.assert_frame_equal(table, explanation.write_explanations(study, draws=2))


def test_the_tables_figures_are_those_of_the_case_itself(study, table):
    case = table[(table["map"] == "trained") & (table["mask_pixels"] > 0) & (table["undefined"] == 0)].iloc[0]
    (sample,) = study.samples([case["id"]])
    model = study.model("joint", 0).eval()
    cells = bottleneck_grad_cam(model.cls_head, model.encoder(sample["image"][None])[-1]).detach()
    cam = nn.functional.interpolate(cells[None], size=(32, 32), mode="bilinear")[0, 0].numpy()
    mask = sample["mask"][0].numpy() > 0
    assert case["energy_inside"] == pytest.approx(cam[mask].sum() / cam.sum(), rel=1e-5)
    assert case["pointing_hit"] == mask[np.unravel_index(cam.argmax(), cam.shape)]
    outside = sample["image"][0].numpy() == study.dataset.normalisation.background
    assert case["energy_outside_head"] == pytest.approx(cam[outside].sum() / cam.sum(), abs=1e-3)
    (again,) = maps_of(study, pd.DataFrame([case]))
    np.testing.assert_allclose(again, cam, rtol=1e-4, atol=1e-7)


def test_the_coarse_mask_beats_the_centre_and_no_map_of_a_random_network_is_the_trained_one(table):
    energy = table.groupby("map")["energy_inside"].mean()
    assert energy["coarse_mask"] > 2 * energy["centre"]
    similarity = table.groupby("map")["spearman"].mean()
    assert similarity["trained"] == pytest.approx(1) and similarity["random_network"] < 0.99


def test_off_target_lists_found_tumours_by_the_energy_on_them(study, table):
    rows = table[table["map"] == "trained"]
    figures = dict.fromkeys(["dice", "iou", "hd95", "predicted_pixels"], 0.5)
    predictions = rows.assign(stage="joint", tumor_prob=0.9, threshold=0.5, **figures)
    found = off_target(predictions, table, n=3)
    expected = rows.dropna(subset=["energy_inside"]).nsmallest(3, "energy_inside")["id"].tolist()
    assert found["id"].tolist() == expected
    assert off_target(predictions.assign(tumor_prob=0.1), table).empty
