"""The geometry loss against a loop over voxels and channels, gradient included."""

from __future__ import annotations

import pytest
import torch
from em_batches import random_labels, random_tensor

from mtl.errors import ParameterError
from mtl.losses.em import geometry_channels, geometry_loss


def difference(kind, a, b):
    gap = abs(a - b)
    if kind == "mse":
        return gap**2
    return 0.5 * gap**2 if gap < 1 else gap - 0.5


def slow_geometry(prediction, labels, image, direction, tensor, kind, region):
    """Mean over samples with a known voxel (foreground, if raw needs it) of dir, cov and raw."""
    dims = labels.dim() - 1
    of_samples = []
    for b in range(len(labels)):
        known = [tuple(p) for p in (labels[b] != -100).nonzero().tolist()]
        foreground = [v for v in known if labels[b][v] > 0]
        coloured = known if region == "known" else foreground
        if not coloured:
            continue
        p = prediction[b]
        terms = []
        for first, wanted in ((0, direction[b]), (dims, tensor[b])):
            total = p.new_zeros(())
            for v in foreground:
                for c in range(len(wanted)):
                    at = (slice(None), *v)
                    total = total + difference(kind, p[at][first + c], wanted[at][c])
            terms.append(total / max(len(foreground) * len(wanted), 1))
        raw = p.new_zeros(())
        for v in coloured:
            rgba = [image[b, 0][v]] * 3 + [float(labels[b][v] > 0)]
            for c, wanted in enumerate(rgba):
                found = 1 / (1 + (-p[(slice(None), *v)][dims + dims**2 + c]).exp())
                raw = raw + difference(kind, found, wanted)
        of_samples.append(torch.stack([*terms, raw / (4 * len(coloured))]))
    return torch.stack(of_samples).mean(0)


@pytest.fixture(params=[2, 3])
def case(request):
    dims = request.param
    labels = random_labels(0, dims, batch=3)
    labels[1] = torch.where(labels[1] > 0, 0, labels[1])  # known, but no foreground
    labels[2] = -100
    return {
        "prediction": 2 * random_tensor(1, geometry_channels(dims), dims, batch=3),
        "labels": labels,
        "image": random_tensor(2, None, dims, batch=3)[:, None],
        "direction": random_tensor(3, dims, dims, batch=3),
        "tensor": random_tensor(4, dims**2, dims, batch=3),
    }


@pytest.mark.parametrize("kind", ["mse", "smooth_l1"])
@pytest.mark.parametrize("region", ["known", "foreground"])
def test_loss_and_gradient_equal_the_slow_loop(case, kind, region):
    leaf, slow_leaf = (case["prediction"].clone().requires_grad_() for _ in range(2))
    parts = geometry_loss(**case | {"prediction": leaf}, kind=kind, raw_region=region)
    slow = slow_geometry(**case | {"prediction": slow_leaf}, kind=kind, region=region)
    for name, expected in zip(("dir", "cov", "raw"), slow, strict=True):
        torch.testing.assert_close(parts[f"geometry/{name}"], expected, rtol=1e-9, atol=1e-12)
    expected = torch.autograd.grad(slow.sum(), slow_leaf)[0]
    found = torch.autograd.grad(parts["geometry"], leaf)[0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert torch.count_nonzero(found.movedim(1, -1)[case["labels"] == -100]) == 0


def test_a_weight_of_zero_removes_a_term_and_the_need_for_its_target(case):
    parts = geometry_loss(**case | {"tensor": None}, weight_cov=0.0, weight_dir=0.25)
    assert set(parts) == {"geometry", "geometry/dir", "geometry/raw"}
    torch.testing.assert_close(parts["geometry"], 0.25 * parts["geometry/dir"] + parts["geometry/raw"])


def test_what_does_not_fit_is_named(case):
    with pytest.raises(ParameterError, match="kind: 'l3'.*mse, smooth_l1"):
        geometry_loss(**case, kind="l3")
    with pytest.raises(ParameterError, match="raw_region: 'all'.*known, foreground"):
        geometry_loss(**case, raw_region="all")
    with pytest.raises(ParameterError, match="prediction has 5 channels"):
        geometry_loss(**case | {"prediction": case["prediction"][:, :5]})
