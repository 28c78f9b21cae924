"""The fused discriminative loss against loops over voxels and instances, gradients included."""

from __future__ import annotations

import pytest
import torch
from em_batches import random_labels, random_tensor
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.losses.em import discriminative_loss, instance

SETTINGS = {"delta_v": 0.5, "delta_d": 1.5}


def slow_terms(f, labels, weight, classes=None, delta_v=0.5, delta_d=1.5):
    """Pull, push and norm as the formulas say them, voxel by voxel and pair by pair."""
    of_samples = []
    for b in range(len(f)):
        kinds = [0] if classes is None else sorted({int(c) for c in classes[b][labels[b] > 0]})
        groups = []
        for kind in kinds:
            ids = [
                k
                for k in sorted({int(v) for v in labels[b].flatten()})
                if k > 0 and (classes is None or int(classes[b][labels[b] == k].max()) == kind)
            ]
            mus, pulls = [], []
            for k in ids:
                places = [tuple(p) for p in (labels[b] == k).nonzero().tolist()]
                total = sum(weight[b][p] for p in places)
                if total == 0:
                    continue
                mu = sum(weight[b][p] * f[b][(slice(None), *p)] for p in places) / total
                pull = 0.0
                for p in places:
                    distance = (f[b][(slice(None), *p)] - mu).norm()
                    pull = pull + weight[b][p] * torch.clamp(distance - delta_v, min=0) ** 2
                mus.append(mu)
                pulls.append(pull / total)
            if not mus:
                continue
            push = f.new_zeros(())
            for i, first in enumerate(mus):
                for j, second in enumerate(mus):
                    if i != j:
                        gap = (first - second).norm()
                        push = push + torch.clamp(2 * delta_d - gap, min=0) ** 2 / (len(mus) * (len(mus) - 1))
            norm = sum(mu.norm() for mu in mus) / len(mus)
            groups.append(torch.stack([sum(pulls) / len(mus), push, norm]))
        if groups:
            of_samples.append(torch.stack(groups).mean(0))
    return torch.stack(of_samples).mean(0)


def both(f, labels, weight, **options):
    """(ours, slow) as pairs of terms and gradient of their weighted sum."""
    found = []
    for slow in (False, True):
        leaf = f.clone().requires_grad_()
        if slow:
            terms = slow_terms(leaf, labels, weight, options.get("classes"))
        else:
            parts = discriminative_loss(leaf, labels, weight, **SETTINGS, **options)
            terms = torch.stack([parts[f"instance/{name}"] for name in ("pull", "push", "norm")])
        total = (terms * torch.tensor([1.0, 1.0, 0.001])).sum()
        found.append((terms.detach(), torch.autograd.grad(total, leaf)[0]))
    return found


def assert_equal(pairs):
    (terms, gradient), (expected_terms, expected_gradient) = pairs
    torch.testing.assert_close(terms, expected_terms.to(terms.dtype), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient.to(gradient.dtype), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_terms_and_gradient_equal_the_slow_loop(dims, dtype):
    f, weight = random_tensor(0, 3, dims).to(dtype), random_tensor(1, None, dims).to(dtype)
    assert_equal(both(f, random_labels(2, dims), weight))


def test_terms_and_gradient_equal_the_slow_loop_per_class():
    labels = random_labels(2, 2, ids=5)
    classes = torch.where(labels > 0, labels % 2 + 1, labels)
    f, weight = random_tensor(0, 3, 2), random_tensor(1, None, 2)
    assert_equal(both(f, labels, weight, classes=classes))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([0.0, 0.5, 0.97]), st.sampled_from([0.1, 3.0])
)
def test_any_labels_one_voxel_instances_included(seed, ids, unknown, scale):
    labels = random_labels(seed, 2, ids=ids, unknown=unknown)
    labels[0, 0, 0] = 1
    f, weight = scale * random_tensor(seed, 2, 2), random_tensor(seed + 1, None, 2)
    weight = torch.where(weight < 0.2, 0.0, weight)
    weight[0, 0, 0] = 1.0
    assert_equal(both(f, labels, weight))


def test_many_pieces_and_lanes_give_the_same(monkeypatch):
    f, weight, labels = random_tensor(0, 3, 3), random_tensor(1, None, 3), random_labels(2, 3)
    whole = both(f, labels, weight)[0]
    monkeypatch.setattr(instance, "PIECE", {"cpu": 7})
    assert_equal([both(f, labels, weight)[0], whole])


def test_each_upstream_gradient_and_a_second_backward_pass_are_right():
    f, weight, labels = random_tensor(0, 3, 2), random_tensor(1, None, 2), random_labels(2, 2)
    leaf, slow_leaf = f.clone().requires_grad_(), f.clone().requires_grad_()
    parts = discriminative_loss(leaf, labels, weight, weight_norm=1.0)
    slow = slow_terms(slow_leaf, labels, weight)
    for i, name in enumerate(("pull", "push", "norm", "pull")):
        found = torch.autograd.grad(parts[f"instance/{name}"], leaf, retain_graph=True)[0]
        expected = torch.autograd.grad(slow[i % 3], slow_leaf, retain_graph=True)[0]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    total = torch.autograd.grad(parts["instance"], leaf)[0]
    torch.testing.assert_close(total, torch.autograd.grad(slow.sum(), slow_leaf)[0], rtol=1e-9, atol=1e-12)


def test_unknown_and_background_voxels_have_exactly_zero_gradient():
    labels = random_labels(3, 3)
    leaf = (random_tensor(0, 3, 3) * 1e3).requires_grad_()
    loss = discriminative_loss(leaf, labels, random_tensor(1, None, 3))["instance"]
    gradient = torch.autograd.grad(loss, leaf)[0]
    assert torch.count_nonzero(gradient.movedim(1, -1)[labels <= 0]) == 0
    assert torch.count_nonzero(gradient) > 0


def test_one_instance_has_no_push_and_its_own_pull_and_norm():
    labels = random_labels(4, 2).clamp(max=1)
    parts = discriminative_loss(random_tensor(0, 3, 2), labels)
    assert parts["instance/push"] == 0 and parts["instance/pull"] > 0 and parts["instance/norm"] > 0


def test_a_sample_without_instance_changes_nothing():
    labels, f = random_labels(5, 2, batch=3), random_tensor(0, 3, 2, batch=3)
    labels[1] = torch.where(labels[1] > 0, 0, labels[1])
    with_it = discriminative_loss(f, labels)["instance"]
    torch.testing.assert_close(discriminative_loss(f[[0, 2]], labels[[0, 2]])["instance"], with_it)


def test_centroids_at_one_place_give_a_finite_gradient():
    leaf = torch.zeros(1, 2, 4, 4, requires_grad=True)
    labels = torch.tensor([[[1, 1, 2, 2]] * 4])
    gradient = torch.autograd.grad(discriminative_loss(leaf, labels)["instance"], leaf)[0]
    assert gradient.isfinite().all()


def test_a_weight_of_zero_removes_a_term():
    parts = discriminative_loss(random_tensor(0, 3, 2), random_labels(1, 2), weight_push=0.0)
    assert set(parts) == {"instance", "instance/pull", "instance/norm"}
    torch.testing.assert_close(parts["instance"], parts["instance/pull"] + 0.001 * parts["instance/norm"])


def test_half_precision_of_the_surroundings_does_not_reach_the_terms():
    """Two pairs of near means far apart: in bfloat16 their differences would be lost."""
    means = torch.tensor([[0.0, 0.0], [0.4, 0.3], [40.0, 40.0], [40.5, 40.2]])
    labels = torch.arange(1, 5).repeat_interleave(6).view(1, 24)
    embedding = means[labels[0] - 1].T[None].clone().requires_grad_()
    exact = discriminative_loss(embedding, labels)["instance"]
    (expected,) = torch.autograd.grad(exact, embedding)
    with torch.autocast("cpu", torch.bfloat16):
        total = discriminative_loss(embedding, labels)["instance"]
    (gradient,) = torch.autograd.grad(total, embedding)
    assert torch.equal(total, exact)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)


def test_large_instances_keep_their_digits():
    """Two instances of 200,000 voxels: one running sum in float32 would be off in the sixth digit."""
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(1, 4, 400_000, generator=generator) + 1
    weight = torch.rand(1, 400_000, generator=generator) * 10
    labels = torch.arange(1, 3).repeat_interleave(200_000)[None]
    embedding[..., 200_000:] += 1
    gradients = []
    for f in (embedding, embedding.double()):
        leaf = f.clone().requires_grad_()
        gradients += torch.autograd.grad(discriminative_loss(leaf, labels, weight)["instance"], leaf)
    single, double = gradients
    assert (single - double).norm() / double.norm() < 5e-7


def test_ids_of_any_size_cost_no_memory():
    f, weight, labels = random_tensor(0, 3, 2), random_tensor(1, None, 2), random_labels(2, 2)
    sparse = torch.where(labels > 0, labels * 2**40 + 17, labels)
    usual, large = (instance.discriminative_loss(f, ids, weight) for ids in (labels, sparse))
    assert (labels > 0).any()
    torch.testing.assert_close(large, usual, rtol=0, atol=0)
