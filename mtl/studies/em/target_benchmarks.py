"""Benchmarks of the EM targets: edge, bone, direction and structure tensor (E1), skeleton direction (E2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from mtl.studies.em.peeling_peer import peeled_skeletons
from mtl.studies.em.target_peers import boxed_tensor, instance_ids, looped_targets
from mtl.targets.em import em_targets, skeleton, skeleton_direction, structure_tensor
from mtl.timing import Case, scaling_exponent

Labels = NDArray[np.int64]
SHAPE = (32, 128, 128)
SPACING = (6.0, 6.0, 6.0)
TOLERANCE = 1e-3


def blobs(n: int, shape: Sequence[int] = SHAPE, seed: int = 0) -> Labels:
    """Cells of compact form: each voxel belongs to the nearest of n points."""
    rng = np.random.default_rng(seed)
    points = (rng.uniform(0, 1, (n, len(shape))) * shape).astype(int)
    free = np.ones(tuple(shape), bool)
    free[tuple(points.T)] = False
    nearest = ndimage.distance_transform_edt(free, return_distances=False, return_indices=True)
    numbers = np.zeros(tuple(shape), np.int64)
    numbers[tuple(points.T)] = np.arange(1, n + 1)
    return numbers[tuple(nearest)]


def neurites(n: int, shape: Sequence[int] = SHAPE, seed: int = 0) -> Labels:
    """Long thin cells in all directions: each voxel belongs to the nearest of n lines."""
    rng = np.random.default_rng(seed)
    ways = rng.normal(size=(n, len(shape)))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    grid = np.indices(tuple(shape), np.float32).reshape(len(shape), -1).T
    labels, closest = np.zeros(len(grid), np.int64), np.full(len(grid), np.inf)
    for number, (way, point) in enumerate(zip(ways, rng.uniform(0, 1, ways.shape) * shape, strict=True), 1):
        offset = grid - point
        gap = np.einsum("ij,ij->i", offset, offset) - (offset @ way) ** 2
        labels[gap < closest] = number
        closest = np.minimum(closest, gap)
    return labels.reshape(tuple(shape))


def target_cases(shape: Sequence[int] = SHAPE, n: int = 200, sample: int = 10) -> list[Case]:
    """E1 and E2.

    Args:
        shape, n: crop and number of instances of E1.
        sample: of so many instances the loop over instances is timed, and its time is scaled up to n: its
            instances cost the same, and all of them would take a minute a round.
    """
    labels, crop = blobs(n, shape), "x".join(map(str, shape))
    few = instance_ids(labels)[:: max(1, n // sample)]
    loop = partial(looped_targets, labels, SPACING, few)
    ours = partial(em_targets, labels, SPACING)
    tensor, boxed = partial(structure_tensor, labels, SPACING), partial(boxed_tensor, labels, SPACING)
    small = blobs(6, [max(4, side) for side in (shape[0] // 2, shape[1] * 5 // 16, shape[2] * 5 // 16)])
    peeled = partial(peeled_skeletons, small, SPACING)
    all_targets = f"edge, bone, direction, structure tensor, labels {crop}"
    gate = partial(_same_targets, ours, loop, np.isin(labels, few))
    small_crop = "x".join(map(str, small.shape))
    return [
        Case(
            "E1",
            f"{all_targets}, K = {n}",
            f"loop over instances (scipy), timed on {len(few)} of them",
            ours,
            loop,
            gate,
            500.0,
            peer_share=len(few) / n,
        ),
        Case(
            "E1",
            f"structure tensor, labels {crop}, K = {n}",
            "bounding boxes (scipy)",
            tensor,
            boxed,
            partial(_same_tensor, tensor, boxed),
            30.0,
        ),
        Case(
            "E2",
            f"skeleton direction, labels {small_crop}, K = 6",
            "skeletons peeled one instance after the other, without directions",
            partial(skeleton_direction, small, SPACING),
            peeled,
            partial(_same_skeleton, small, peeled),
            250.0,
        ),
        Case(
            "E2",
            f"skeletons, labels {crop}, K = {n}",
            "scikit-image's skeletonize (another skeleton, not anisotropic), each instance in its box",
            partial(skeleton, labels, SPACING),
            partial(_skeletonized, labels),
            lambda: "not the same skeleton: times only",
        ),
        *(
            Case(
                "E2",
                f"all targets with skeleton direction, labels {crop}, K = {k}; .5 s is the goal for ours",
                "the same with centroid direction",
                partial(em_targets, cells, SPACING, "skeleton"),
                partial(em_targets, cells, SPACING),
                lambda: "targets tested elsewhere: times only",
            )
            for k, cells in ((50, blobs(50, shape)), (n, labels))
        ),
    ]


def target_exponents(
    shape: Sequence[int] = SHAPE, instances: Sequence[int] = (10, 50, 200), rounds: int = 7
) -> dict[str, float]:
    """E1's exponents: time over K at one crop; over voxels at one size of cells, for blobs and neurites.

    Crops grow by doubling one axis after the other, up to ``shape``; K grows with the voxels of blobs, and
    with the area that neurites cross.
    """
    over_k = [partial(em_targets, blobs(n, shape), SPACING) for n in instances]
    shapes = [tuple(max(4, side // part) for side in shape) for part in (4, 2, 1)]
    voxels = [float(np.prod(one)) for one in shapes]
    found = {"E1, K": scaling_exponent(instances, over_k, rounds)}
    for name, make, power in (("blobs", blobs, 1.0), ("neurites", neurites, 2 / 3)):
        numbers = [max(2, round(50 * (size / voxels[-1]) ** power)) for size in voxels]
        calls = [partial(em_targets, make(n, one), SPACING) for n, one in zip(numbers, shapes, strict=True)]
        found[f"E1, voxels of {name}"] = scaling_exponent(voxels, calls, rounds)
    return found


def _skeletonized(labels: Labels) -> Labels:
    result = np.zeros_like(labels)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            result[box][skeletonize(labels[box] == number)] = number
    return result


def _same_targets(ours: Callable[[], Any], loop: Callable[[], Any], where: NDArray[np.bool_]) -> str:
    found, expected = ours(), loop()
    gaps = {name: float(abs(found[name] - expected[name])[..., where].max()) for name in expected}
    text = ", ".join(f"{name} off by {gap:.1e}" for name, gap in gaps.items())
    assert max(gaps.values()) <= TOLERANCE, text
    return text


def _same_tensor(ours: Callable[[], Any], theirs: Callable[[], Any]) -> str:
    gap = float(abs(ours() - theirs()).max())
    assert gap <= TOLERANCE, f"tensor off by {gap:.1e}"
    return f"tensor off by {gap:.1e}"


def _same_skeleton(labels: Labels, peeled: Callable[[], Any]) -> str:
    differing = int((skeleton(labels, SPACING) != peeled()).sum())
    assert differing == 0, f"skeletons differ in {differing} voxels"
    return "skeletons identical"
