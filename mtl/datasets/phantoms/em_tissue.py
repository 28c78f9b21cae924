r"""Made-up neuropil: wandering neurites that fill space, and the cells that they become.

A neurite is a curve of points $p_k$ with squared radii $w_k$. A voxel $x$ belongs to the neurite of the
nearest point in the power diagram,

$$\mathrm{cell}(x) = \arg\min_k \; \lVert T(x) - p_k \rVert^2 - w_k,$$

found box by box, in halves: of all points only those can win in a ball of radius $h$ around $c$ whose least
power distance there, $\max(\lVert c - p_k \rVert - h, 0)^2 - w_k$, is at most the least of the greatest ones,
$(\lVert c - p_k \rVert + h)^2 - w_k$. $T$ is a smooth random displacement: it turns the diagram's flat faces
into the wavy membranes of tissue. All lengths are in nm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

BUNDLES = 3
STEP_SHARE = 0.15  # distance between the points of a curve, in typical radii
WANDER = 0.22  # how fast a neurite changes its direction, per step
MARGIN = 1.0  # curves start and end this many typical radii outside the volume
SIZE_SPREAD = 0.75  # of the logarithm of a neurite's radius: a few thick ones among many thin ones
BOX = 16  # voxels: side of the boxes in which winners are sought
FEW_POINTS, FEW_VOXELS = 24, 200  # below, a box is not halved further
VARICOSITY = 0.3  # of the logarithm along one neurite
WAVINESS = 0.3  # displacement in typical radii
SLIVER = 60  # voxels: a neurite's piece with a smaller core is not one
OUTLIER = 1.5  # standard deviations: in a power diagram a thicker one would swallow all its neighbours
BRANCHING = 0.3  # share of the curves that are branches of another one


@dataclass(frozen=True)
class Neurites:
    """All curves: points (n, 3) and tangents (n, 3) in nm, squared radii (n,), index of the neurite (n,)."""

    points: np.ndarray
    tangents: np.ndarray
    weights: np.ndarray
    owner: np.ndarray
    radius: float


def grow_neurites(extent: np.ndarray, n_neurites: int, rng: np.random.Generator) -> Neurites:
    """Neurites through a box of ``extent`` (z, y, x) nm; their typical radius follows from their number."""
    radius = float(np.sqrt(np.prod(extent) / np.mean(extent) / (np.pi * n_neurites)))
    bundles = _directions(BUNDLES, rng)
    homes = rng.uniform(0, 1, (BUNDLES, 3)) * extent
    starts = _spread_starts(extent, n_neurites, rng)
    curves: list[tuple[np.ndarray, ...]] = []
    for number, start in enumerate(starts):
        heading = bundles[int(np.argmin(np.linalg.norm(homes - start, axis=1)))]
        is_branch = number > 0 and rng.random() < BRANCHING
        owner = number
        if is_branch:
            trunk, _, _, owners = curves[rng.integers(number)]
            start, owner = trunk[rng.integers(len(trunk))], int(owners[0])
        points, tangents = _curve(start, heading, extent, radius, rng, both_ways=not is_branch)
        size = np.clip(rng.standard_normal(), -OUTLIER, OUTLIER) * SIZE_SPREAD / 2
        swelling = np.clip(_smooth(rng.standard_normal(len(points)), 10), -OUTLIER, OUTLIER) * VARICOSITY
        weights = (radius * np.exp(size + swelling)) ** 2
        curves.append((points, tangents, weights, np.full(len(points), owner)))
    joined = [np.concatenate(parts) for parts in zip(*curves, strict=True)]
    return Neurites(*joined, radius=radius)


def cells(
    neurites: Neurites, shape: tuple[int, ...], spacing: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The neurite of every voxel: int32 ids from 1, one for each neurite, without gaps between cells."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) * spacing
    for length, share in ((2.2, 1.0), (0.8, 0.4)):
        amplitude = WAVINESS * share * neurites.radius
        for axis in range(3):
            grid[..., axis] += amplitude * smooth_noise(shape, spacing, length * neurites.radius, rng)
    owner = np.empty(shape, np.int32)
    everyone = np.arange(len(neurites.points))
    for corner in np.ndindex(*(-(-side // BOX) for side in shape)):
        box = tuple(slice(i * BOX, (i + 1) * BOX) for i in corner)
        _fill(owner[box], grid[box], neurites, everyone)
    return owner + 1


def distance_to_neighbour(owner: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance of every voxel to the nearest one of another neurite, in nm; the volume's faces are none."""
    import edt

    return edt.edt(np.ascontiguousarray(owner), anisotropy=spacing, black_border=False, parallel=1)


def without_slivers(owner: np.ndarray, spacing: tuple[float, ...], half_membrane: float) -> np.ndarray:
    """Give pieces of neurites that their own membranes would fill to the neighbour that is nearest."""
    import cc3d
    from scipy.ndimage import distance_transform_edt

    inside = np.where(distance_to_neighbour(owner, spacing) > half_membrane, owner, 0)
    cores = cc3d.dust(inside, threshold=SLIVER, connectivity=26) > 0
    pieces = cc3d.connected_components(owner, connectivity=26)
    alive = np.zeros(int(pieces.max()) + 1, bool)
    alive[pieces[cores]] = True
    nearest = distance_transform_edt(
        ~alive[pieces], sampling=spacing, return_distances=False, return_indices=True
    )
    return owner[tuple(nearest)]


def smooth_noise(
    shape: tuple[int, ...], spacing: np.ndarray, length: float, rng: np.random.Generator
) -> np.ndarray:
    """A smooth random field float32 (z, y, x) of about unit variance that changes over ``length`` nm.

    Independent values on a coarse grid, blended with cubic B-splines: one small matrix per axis.
    """
    matrices = [_spline_matrix(n, n * step / length) for n, step in zip(shape, spacing, strict=True)]
    values = rng.standard_normal([matrix.shape[1] for matrix in matrices]).astype(np.float32)
    for axis, matrix in enumerate(matrices):
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
    return values


def _spline_matrix(n_fine: int, n_cells: float) -> np.ndarray:
    """Cubic B-spline weights (n_fine, n_coarse) float32 over ``n_cells`` cells, scaled to unit variance."""
    position = (np.arange(n_fine) + 0.5) / n_fine * n_cells
    n_coarse = int(np.ceil(n_cells)) + 3
    gap = np.abs(position[:, None] + 1 - np.arange(n_coarse)[None])
    near = 2 / 3 - gap**2 + gap**3 / 2
    weights = np.where(gap < 1, near, np.clip(2 - gap, 0, None) ** 3 / 6)
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)


def _fill(owner: np.ndarray, grid: np.ndarray, neurites: Neurites, candidates: np.ndarray) -> None:
    """Write the winners among candidate points at places ``grid`` (z, y, x, 3); halving boxes prunes them."""
    places = grid.reshape(-1, 3)
    centre = (places.min(axis=0) + places.max(axis=0)) / 2
    places = places - centre
    reach = np.sqrt(np.einsum("ij,ij->i", places, places).max())
    points, weights = neurites.points[candidates] - centre, neurites.weights[candidates]
    squared = np.einsum("ij,ij->i", points, points)
    gap = np.sqrt(squared)
    possible = np.maximum(gap - reach, 0) ** 2 - weights <= ((gap + reach) ** 2 - weights).min()
    candidates, points = candidates[possible], points[possible]
    owners = neurites.owner[candidates]
    if (owners == owners[0]).all():
        owner[...] = owners[0]
    elif len(candidates) <= FEW_POINTS or len(places) <= FEW_VOXELS:
        power = (squared - weights)[possible] - 2 * places @ points.T
        owner[...] = owners[np.argmin(power, axis=1)].reshape(owner.shape)
    else:
        axis = int(np.argmax(np.ptp(places, axis=0) * (np.array(owner.shape) > 1)))
        middle = owner.shape[axis] // 2
        for part in (slice(None, middle), slice(middle, None)):
            box = (slice(None),) * axis + (part,)
            _fill(owner[box], grid[box], neurites, candidates)


def number_for(extent: np.ndarray, radius: float) -> int:
    """How many straight fibres of a radius and the box's mean length fill the box; one at least."""
    return max(1, round(float(np.prod(extent) / np.mean(extent) / (np.pi * radius**2))))


def _directions(count: int, rng: np.random.Generator) -> np.ndarray:
    """Directions of the bundles: random, turned away from one another as far as chance allows."""
    drawn = rng.standard_normal((40, count, 3))
    drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
    closeness = np.abs(np.einsum("nij,nkj->nik", drawn, drawn)).sum(axis=(1, 2))
    return drawn[np.argmin(closeness)]


def _spread_starts(extent: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Starting points by best candidate: every new one as far from the others as the best of some draws."""
    starts = rng.uniform(0, 1, (1, 3)) * extent
    while len(starts) < count:
        candidates = rng.uniform(0, 1, (12, 3)) * extent
        gaps = np.linalg.norm(candidates[:, None] - starts[None], axis=-1).min(axis=1)
        starts = np.vstack([starts, candidates[np.argmax(gaps)]])
    return starts


def _curve(
    start: np.ndarray,
    direction: np.ndarray,
    extent: np.ndarray,
    radius: float,
    rng: np.random.Generator,
    both_ways: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit tangents of a smooth random walk that leaves the box at one end, or at both."""
    step = STEP_SHARE * radius
    n_steps = int(2 * np.linalg.norm(extent) / step)
    ahead = _walk(start, direction + 0.45 * rng.standard_normal(3), step, n_steps, rng)
    ahead = ahead[: _length_inside(ahead, extent, MARGIN * radius)]
    if both_ways:
        first = ahead[0] - ahead[1] if len(ahead) > 1 else -direction
        back = _walk(start, first / np.linalg.norm(first), step, n_steps, rng)
        back = back[: _length_inside(back, extent, MARGIN * radius)]
        ahead = np.concatenate([back[:0:-1], ahead])
    tangents = np.gradient(ahead, axis=0) if len(ahead) > 1 else np.tile(direction, (len(ahead), 1))
    return ahead, tangents / np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9)


def _walk(
    start: np.ndarray, direction: np.ndarray, step: float, n_steps: int, rng: np.random.Generator
) -> np.ndarray:
    turns = _smooth(rng.standard_normal((n_steps, 3)), 6) * WANDER
    heading = direction / np.linalg.norm(direction) + np.cumsum(turns, axis=0) * 0.25 + turns
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    return np.concatenate([start[None], start + np.cumsum(heading * step, axis=0)])


def _length_inside(points: np.ndarray, extent: np.ndarray, margin: float) -> int:
    """Number of points before the walk leaves the box for the first time; one at least."""
    outside = ((points < -margin) | (points > extent + margin)).any(axis=1)
    return max(1, int(np.argmax(outside)) if outside.any() else len(points))


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Noise smoothed along the first axis, again of unit variance."""
    return gaussian_filter1d(values, sigma, axis=0, mode="reflect") * np.sqrt(2 * np.sqrt(np.pi) * sigma)
