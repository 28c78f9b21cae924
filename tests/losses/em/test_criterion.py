"""``EMLoss``: what is there, what is left out, and the total."""

from __future__ import annotations

import pytest
import torch
from em_batches import random_labels, random_tensor, targets

from mtl.errors import ParameterError
from mtl.losses.em import (
    EMLoss,
    discriminative_loss,
    geometry_channels,
    geometry_loss,
    semantic_loss,
    target_loss,
)

DIMS = 2


@pytest.fixture
def batch():
    output = {
        "semantic": random_tensor(0, 2, DIMS),
        "instance": random_tensor(1, 3, DIMS),
        "geometry": random_tensor(2, geometry_channels(DIMS), DIMS),
        "target": random_tensor(3, 1, DIMS),
        "features": random_tensor(4, 5, DIMS),
    }
    image = random_tensor(5, None, DIMS)[:, None]
    return {"output": output, "labels": random_labels(6, DIMS), "image": image, "targets": targets(7, DIMS)}


def test_parts_are_those_of_the_single_losses_and_total_is_their_weighted_sum(batch):
    loss = EMLoss(weight_semantic=0.5, weight_instance=2.0, weight_geometry=0.25, weight_target=3.0)
    ids = torch.tensor([1, 2])
    parts = loss(**batch, target_ids=ids)
    labels, given = batch["labels"], batch["targets"]
    expected = {
        **semantic_loss(batch["output"]["semantic"], torch.where(labels > 0, 1, labels)),
        **discriminative_loss(batch["output"]["instance"], labels, given["weight"]),
        **geometry_loss(
            batch["output"]["geometry"], labels, batch["image"], given["direction"], given["tensor"]
        ),
        **target_loss(batch["output"]["target"], labels, ids),
    }
    assert set(parts) == {*expected, "total"}
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value)
    weights = {"semantic": 0.5, "instance": 2.0, "geometry": 0.25, "target": 3.0}
    torch.testing.assert_close(parts["total"], sum(w * parts[head] for head, w in weights.items()))


@pytest.mark.parametrize("head", ["semantic", "instance", "geometry", "target"])
def test_a_weight_of_zero_removes_a_head(batch, head):
    parts = EMLoss(**{f"weight_{head}": 0.0})(**batch, target_ids=torch.tensor([1, 2]))
    assert not [name for name in parts if name.split("/")[0] == head]
    assert len([name for name in parts if "/" not in name]) == 4


def test_tasks_without_a_valid_sample_are_absent(batch):
    background = batch | {"labels": torch.zeros_like(batch["labels"])}
    parts = EMLoss()(**background, target_ids=torch.tensor([1, 2]))
    assert {name for name in parts if "/" not in name} == {"semantic", "geometry", "total"}
    parts = EMLoss(raw_region="foreground")(**background)
    assert {name for name in parts if "/" not in name} == {"semantic", "total"}
    unknown = batch | {"labels": torch.full_like(batch["labels"], -100)}
    assert set(EMLoss()(**unknown)) == {"total"}


def test_valid_units_count_samples(batch):
    labels = torch.stack([batch["labels"][0], torch.zeros_like(batch["labels"][0])])
    assert EMLoss().valid_units(labels, torch.tensor([1, 1])) == {
        "semantic": 2,
        "instance": 1,
        "geometry": 2,
        "target": 1,
    }
    assert EMLoss(weight_raw=0.0).valid_units(labels)["geometry"] == 1


def test_means_over_micro_batches_weighted_by_units_are_those_of_the_joint_batch():
    labels = random_labels(6, DIMS, batch=3)
    labels[1] = torch.where(labels[1] > 0, 0, labels[1])
    given, image = targets(7, DIMS, batch=3), random_tensor(5, None, DIMS, batch=3)[:, None]
    output = {
        "semantic": random_tensor(0, 2, DIMS, batch=3),
        "instance": random_tensor(1, 3, DIMS, batch=3),
        "geometry": random_tensor(2, geometry_channels(DIMS), DIMS, batch=3),
    }
    loss = EMLoss()

    def part(index):
        chosen = ({k: v[index] for k, v in d.items()} for d in (output, given))
        o, t = chosen
        return loss(o, labels[index], image[index], t), loss.valid_units(labels[index])

    joint, units = part([0, 1, 2])
    pieces = [part([0]), part([1, 2])]
    for head in ("semantic", "instance", "geometry"):
        mean = sum(n[head] * p[head] for p, n in pieces if head in p) / units[head]
        torch.testing.assert_close(mean, joint[head])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight_pull": -1.0}, "weight_pull = -1.0"),
        ({"weight_geometry": float("nan")}, "weight_geometry = nan"),
        ({"weight_ce": 0.0, "weight_iou": 0.0, "weight_dice": 0.0}, "weight_semantic = 1.0.*are all 0"),
        ({"delta_v": -1.0}, "delta_v = -1.0"),
        ({"delta_d": float("nan")}, "delta_d = nan"),
        ({"geometry_kind": "l3"}, "geometry_kind: 'l3'"),
        ({"raw_region": "all"}, "raw_region: 'all'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(arguments, message):
    with pytest.raises(ParameterError, match=message):
        EMLoss(**arguments)
