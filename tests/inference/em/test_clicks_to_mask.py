"""The rule, against the same rule written voxel by voxel with a flood fill."""

from __future__ import annotations

import itertools
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.errors import ParameterError
from mtl.inference.em import clicks_to_mask as rule
from mtl.inference.em.clicks_to_mask import (
    clicks_to_mask,
    connected_part,
    grown_from_clicks,
    painted,
    predicted_foreground,
)


def by_hand(embedding, foreground, points, labels, delta_d, threshold, spacing):
    """The rule in float64 over every voxel, a flood fill from each positive click, growth by brute force."""
    field, probability = embedding.double().numpy(), foreground.numpy()
    positive, negative = (
        [tuple(p) for p, label in zip(points, labels, strict=True) if label == wanted] for wanted in (1, 0)
    )
    heart = np.zeros(probability.shape, bool)
    if not positive:
        return heart

    def good(voxel):
        near, far = (
            min((np.linalg.norm(field[:, *voxel] - field[:, *p]) for p in clicked), default=np.inf)
            for clicked in (positive, negative)
        )
        return voxel in positive or (probability[voxel] > threshold and near <= delta_d and near < far)

    queue = deque(positive)
    while queue:
        voxel = queue.popleft()
        if heart[voxel]:
            continue
        heart[voxel] = True
        for axis, step in itertools.product(range(len(voxel)), (-1, 1)):
            other = tuple(v + step * (a == axis) for a, v in enumerate(voxel))
            if all(0 <= o < n for o, n in zip(other, probability.shape, strict=True)) and good(other):
                queue.append(other)
    return heart if threshold == 0.5 else grown_by_hand(heart, probability, negative, threshold, spacing)


def grown_by_hand(heart, probability, negative, threshold, spacing):
    """Steps in which every free voxel joins the one side, if it is one, that its neighbours are of."""
    mine = {voxel for voxel in np.ndindex(heart.shape) if heart[voxel]}
    core = {voxel for voxel in np.ndindex(heart.shape) if probability[voxel] > threshold}
    theirs = (core | set(negative)) - mine
    free = {v for v in np.ndindex(heart.shape) if probability[v] > 0.5} - core - theirs - mine
    for step in range(1, rule.GROWTH + 1):
        axes = [a for a in range(heart.ndim) if step % round(spacing[a] / min(spacing)) == 0]
        touched = {
            voxel: {
                side
                for side, seeds in (("mine", mine), ("theirs", theirs))
                for axis in axes
                for other in (-1, 1)
                if tuple(v + other * (a == axis) for a, v in enumerate(voxel)) in seeds
            }
            for voxel in free
        }
        mine = mine | {voxel for voxel, sides in touched.items() if sides == {"mine"}}
        theirs = theirs | {voxel for voxel, sides in touched.items() if sides == {"theirs"}}
        free = {voxel for voxel, sides in touched.items() if not sides}
    grown = np.zeros_like(heart)
    for voxel in mine:
        grown[voxel] = True
    return grown


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_equals_the_rule_voxel_by_voxel(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(5, 9, 11), (1, 6, 6), (12, 13)]))
    seed = data.draw(st.integers(0, 2**16))
    make = torch.Generator().manual_seed(seed)
    embedding = torch.randn(3, *shape, generator=make)
    foreground = torch.rand(shape, generator=make) ** 0.3
    threshold = data.draw(st.sampled_from([0.5, 0.6, 0.9]))
    n = data.draw(st.integers(0, 5))
    points = torch.stack([torch.randint(0, size, (n,), generator=make) for size in shape], dim=1)
    labels = torch.randint(0, 2, (n,), generator=make)
    spacing = data.draw(st.sampled_from([(4.0, 4.0, 4.0), (8.0, 4.0, 4.0), (30.0, 6.0, 6.0)]))[-len(shape) :]
    mask = clicks_to_mask(embedding, foreground, points, labels, 1.7, threshold, spacing)
    assert mask.dtype == bool
    expected = by_hand(embedding, foreground, points.tolist(), labels.tolist(), 1.7, threshold, spacing)
    assert np.array_equal(mask, expected)


def snake(shape: tuple[int, int, int]) -> torch.Tensor:
    """A foreground that winds through planes and rows, so that it leaves every box many times."""
    foreground = torch.zeros(shape, dtype=torch.bool)
    foreground[:, ::2] = True
    for row in range(1, shape[1], 2):
        foreground[0, row, -1 if row % 4 == 1 else 0] = True
    return foreground


@pytest.mark.parametrize("reach", [0, 1, 3, 16])
def test_growing_boxes_find_all_of_a_winding_object(reach: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "FIRST_REACH", reach)
    foreground = snake((3, 31, 40))
    mask = clicks_to_mask(torch.zeros(2, 3, 31, 40), foreground, torch.tensor([[2, 0, 5]]), torch.ones(1))
    assert np.array_equal(mask, foreground.numpy())


@pytest.mark.parametrize(("likely", "boxes"), [("nowhere", 3), ("on it", 2), ("elsewhere", 1)])
def test_a_likely_place_changes_what_is_looked_at_and_not_what_is_found(likely: str, boxes: int) -> None:
    shape = (9, 60)
    thing = np.zeros(shape, dtype=bool)
    thing[4, 5:50] = thing[2:8, 49] = thing[0, 5:20] = True
    places = {
        "nowhere": np.zeros(shape, dtype=bool),
        "on it": thing & (np.indices(shape)[1] < 44),
        "elsewhere": np.indices(shape)[0] == 8,
    }
    looked_at = []

    def found(box):
        looked_at.append(box)
        return torch.from_numpy(thing[box].copy())

    box, part = grown_from_clicks(found, np.array([[4, 8]]), shape, places[likely])
    np.testing.assert_array_equal(painted(box, part, shape), connected_part(thing, np.array([[4, 8]])))
    assert len(looked_at) == boxes


def test_parts_of_all_positive_clicks_and_of_no_other() -> None:
    foreground = torch.zeros(4, 60, dtype=torch.bool)
    foreground[:, 0:10] = foreground[:, 20:30] = foreground[:, 50:60] = True
    points, labels = torch.tensor([[1, 3], [2, 55]]), torch.tensor([1, 1])
    mask = clicks_to_mask(torch.zeros(2, 4, 60), foreground, points, labels)
    assert mask[:, :10].all() and mask[:, 50:].all()
    assert mask.sum() == 80


def test_a_negative_click_moves_the_border_and_padding_counts_for_nothing() -> None:
    embedding = torch.linspace(0, 2, 41).expand(1, 6, 41).clone()
    foreground = torch.ones(6, 41, dtype=torch.bool)
    alone = clicks_to_mask(embedding, foreground, torch.tensor([[0, 0], [0, 40]]), torch.tensor([1, -1]))
    against = clicks_to_mask(embedding, foreground, torch.tensor([[0, 0], [0, 40]]), torch.tensor([1, 0]))
    assert alone[0].sum() == 31  # 0 to 1.5 in steps of .05
    assert against[0].sum() == 20  # nearer to 0 than to 2


def test_every_negative_click_counts_for_itself() -> None:
    """The mean of negative clicks on both sides would lie on the object itself."""
    embedding = torch.linspace(-2, 2, 41).expand(1, 6, 41)
    points, labels = torch.tensor([[0, 20], [0, 0], [0, 40]]), torch.tensor([1, 0, 0])
    mask = clicks_to_mask(embedding, torch.ones(6, 41), points, labels)
    assert mask[0].nonzero()[0].tolist() == list(range(11, 30))  # nearer to 0 than to -2 and 2


def test_a_strict_threshold_keeps_the_mask_from_leaking_and_it_grows_back() -> None:
    foreground = torch.ones(8, 30)
    foreground[:, 14:16] = 0.6  # a faint membrane
    click = torch.tensor([[4, 5]])
    loose = clicks_to_mask(torch.zeros(2, 8, 30), foreground, click, torch.ones(1))
    strict = clicks_to_mask(torch.zeros(2, 8, 30), foreground, click, torch.ones(1), threshold=0.9)
    assert loose.all()
    assert np.array_equal(strict, np.broadcast_to(np.arange(30) < 15, (8, 30)))


def test_a_mask_does_not_jump_over_background() -> None:
    foreground = torch.full((7, 12), 0.97)
    foreground[:, 8] = 0
    foreground[:, 9] = 0.6
    foreground[:, 10:] = 0
    mask = clicks_to_mask(
        torch.zeros(2, 7, 12), foreground, torch.tensor([[3, 3]]), torch.ones(1), threshold=0.9
    )
    assert np.array_equal(mask, np.broadcast_to(np.arange(12) < 8, (7, 12)))


def test_growing_back_leaves_out_what_was_clicked_as_negative() -> None:
    foreground = torch.full((7, 12), 0.97)
    foreground[:, 6:] = 0.7
    points, labels = torch.tensor([[3, 3], [3, 7]]), torch.tensor([1, 0])
    embedding = (torch.arange(12) >= 7).float().expand(1, 7, 12)
    alone = clicks_to_mask(embedding, foreground, points[:1], labels[:1], threshold=0.9)
    against = clicks_to_mask(embedding, foreground, points, labels, threshold=0.9)
    assert alone[3, 7] and not against[3, 7]
    assert against[0, 6], "away from the click nothing changes"


def test_voxels_far_from_a_click_are_compared_with_what_it_was_without_clicks() -> None:
    """Prompts moved the embedding near the click: without its old one, the mask would end at their reach."""
    alone = torch.zeros(2, 9, 20)
    alone[:, :, 12:] = 5.0  # another object
    prompted = alone.clone()
    prompted[:, 2:7, 2:7] += 3.0
    click, label = torch.tensor([[4, 4]]), torch.ones(1)
    inside = torch.ones(9, 20)
    near = clicks_to_mask(prompted, inside, click, label)
    assert near.sum() == 25
    both = clicks_to_mask(prompted, inside, click, label, unprompted=alone[:, *click.T])
    assert np.array_equal(both, np.broadcast_to(np.arange(20) < 12, (9, 20)))


def test_negative_clicks_are_known_without_clicks_as_well() -> None:
    alone = torch.zeros(1, 5, 30)
    alone[..., 15:] = 1.0
    prompted = alone.clone()
    prompted[..., 20:25] += 9.0
    points, labels = torch.tensor([[2, 3], [2, 22]]), torch.tensor([1, 0])
    inside, settings = torch.ones(5, 30), {"delta_d": 1.5}
    deaf = clicks_to_mask(prompted, inside, points, labels, **settings)
    assert deaf[2, 16]
    heard = clicks_to_mask(prompted, inside, points, labels, unprompted=alone[:, *points.T], **settings)
    assert not heard[2, 16] and heard[2, 10]


def test_a_positive_click_is_in_the_mask_whatever_is_predicted_there() -> None:
    foreground = torch.zeros(5, 5)
    foreground[2, 3] = 1
    mask = clicks_to_mask(torch.zeros(2, 5, 5), foreground, torch.tensor([[2, 2]]), torch.ones(1))
    assert np.argwhere(mask).tolist() == [[2, 2], [2, 3]]


@pytest.mark.parametrize("threshold", [0.4, 1.0, float("nan")])
def test_a_threshold_outside_of_its_range_is_named(threshold: float) -> None:
    with pytest.raises(ParameterError, match="threshold = "):
        clicks_to_mask(
            torch.zeros(1, 3, 3), torch.ones(3, 3), torch.tensor([[0, 0]]), torch.ones(1), threshold=threshold
        )


def test_without_positive_clicks_the_mask_is_empty() -> None:
    arguments = torch.zeros(2, 4, 4), torch.ones(4, 4, dtype=torch.bool)
    assert not clicks_to_mask(*arguments, torch.zeros(0, 2, dtype=torch.long), torch.zeros(0)).any()
    assert not clicks_to_mask(*arguments, torch.tensor([[1, 1]]), torch.tensor([0])).any()


@pytest.mark.parametrize(
    ("point", "said"),
    [((0, 3, 9), "x = 9, 0 to 5"), ((-1, 0, 0), "z = -1, 0 to 3"), ((0, 5, 0), "y = 5, 0 to 4")],
)
def test_points_outside_are_named(point: tuple[int, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        clicks_to_mask(
            torch.zeros(2, 4, 5, 6),
            torch.ones(4, 5, 6, dtype=torch.bool),
            torch.tensor([point]),
            torch.ones(1),
        )


def test_predicted_foreground_is_every_class_but_the_first() -> None:
    semantic = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    odds = semantic.double().exp()
    expected = (odds[1:].sum(0) / odds.sum(0)).float()
    torch.testing.assert_close(predicted_foreground(semantic), expected)
