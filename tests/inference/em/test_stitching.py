"""Tiles of a known labelling give the labelling back; halves of overlaps, chains of matches, errors."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from scipy import ndimage

from mtl.errors import DataError, ParameterError
from mtl.evaluation.em import adapted_rand_error
from mtl.inference.em.decoding import decode_embeddings
from mtl.inference.em.stitching import stitch, stitched, tile_boxes
from mtl.studies.em.made_embeddings import cells, made_embeddings


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal up to the names of the instances, background aside."""
    pairs = set(zip(one.ravel().tolist(), other.ravel().tolist(), strict=True))
    left, right = {a for a, _ in pairs}, {b for _, b in pairs}
    return len(pairs) == len(left) == len(right) and ((0, 0) in pairs or 0 not in left | right)


def blobs(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Connected random blobs with background between some of them."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.5)
    labels = ndimage.label(field > 0)[0]
    other = ndimage.label(field < -0.02)[0]
    return np.where(other > 0, other + labels.max(), labels)


def renamed(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same instances under random ids, as a tile decoded on its own would name them."""
    ids = np.unique(labels[labels > 0])
    names = dict(zip(ids.tolist(), rng.permutation(10 * len(ids) + 1)[: len(ids)] + 1, strict=True))
    return np.vectorize(lambda i: names.get(i, 0), otypes=[np.int64])(labels)


@pytest.mark.parametrize(
    ("shape", "tile", "overlap"),
    [((60, 70), (24, 30), (8, 10)), ((14, 40, 44), (8, 24, 20), (4, 8, 8)), ((90,), (40,), (10,))],
)
@pytest.mark.parametrize("order", ["as listed", "shuffled"])
def test_tiles_of_a_known_labelling_give_it_back(shape, tile, overlap, order: str) -> None:
    labels, rng = blobs(shape), np.random.default_rng(1)
    boxes = tile_boxes(shape, tile, overlap)
    if order == "shuffled":
        rng.shuffle(boxes)
    found = stitch(((box, renamed(labels[box], rng)) for box in boxes), shape)
    assert len(boxes) > 2 and same_partition(found, labels)
    assert sorted(np.unique(found[found > 0])) == list(range(1, labels.max() + 1))


def test_the_middle_of_an_overlap_parts_the_tiles() -> None:
    boxes = [(slice(0, 10),), (slice(6, 16),)]
    found = stitch([(boxes[0], np.full(10, 3)), (boxes[1], np.full(10, 5))], (16,))
    assert found.tolist() == [1] * 16  # they agree in the overlap: one instance
    apart = stitch([(boxes[0], np.full(10, 3)), (boxes[1], np.r_[0, 0, 0, np.full(7, 5)])], (16,))
    assert apart.tolist() == [1] * 8 + [0] + [2] * 7  # one of four voxels shared: two instances


def test_an_instance_joined_earlier_counts_whole() -> None:
    """Two tiles share an instance; a third sees half of it in each, which alone would be too little."""
    left, right, below = (slice(0, 4), slice(0, 8)), (slice(0, 4), slice(4, 12)), (slice(2, 6), slice(0, 12))
    tiles = [(left, np.full((4, 8), 1)), (right, np.full((4, 8), 1)), (below, np.full((4, 12), 1))]
    assert (stitch(tiles, (6, 12)) == 1).all()


def test_disagreeing_tiles_stay_apart_and_a_merge_in_one_tile_is_not_spread() -> None:
    upper = np.zeros((8, 10), np.int64)
    upper[:, :5], upper[:, 5:] = 1, 2
    lower = np.ones((8, 10), np.int64)  # the second tile merges the two
    found = stitch([((slice(0, 8), slice(0, 10)), upper), ((slice(4, 12), slice(0, 10)), lower)], (12, 10))
    assert found[0, 0] != found[0, 9]


def test_written_to_disk_in_boxes(tmp_path) -> None:
    labels, shape = blobs((150, 40)), (150, 40)
    out = zarr.create_array(store=str(tmp_path / "ids.zarr"), shape=shape, chunks=(32, 32), dtype="int32")
    found = stitched(lambda box: labels[box], shape, (48, 40), (8, 0), out=out)
    assert found is out and same_partition(out[:], labels)


def test_boxes_cover_the_volume_and_keep_the_tile_size() -> None:
    for shape, tile, overlap in (
        ((50, 33), (16, 16), (4, 5)),
        ((10, 33), (16, 16), (0, 15)),
        ((16,), (16,), (8,)),
    ):
        boxes = tile_boxes(shape, tile, overlap)
        covered = np.zeros(shape, int)
        for box in boxes:
            covered[box] += 1
            assert covered[box].shape == tuple(min(t, n) for t, n in zip(tile, shape, strict=True))
        assert covered.min() >= 1
        starts = sorted({box[-1].start for box in boxes})
        assert all(b - a <= tile[-1] - overlap[-1] for a, b in zip(starts, starts[1:], strict=False))


def test_embeddings_decoded_tile_by_tile_give_the_volume() -> None:
    spacing = (2.0, 1.0, 1.0)
    labels = cells((8, 64, 64), 12, spacing)
    embedding = made_embeddings(labels, spacing, noise=0.1, smear=1.0, drift=0.3)

    def decode(box: tuple[slice, ...]) -> np.ndarray:
        part = embedding[(slice(None), *box)]
        return decode_embeddings(part, np.ones(part.shape[1:], bool))

    whole = stitched(decode, labels.shape, (8, 40, 40), (0, 16, 16))
    assert adapted_rand_error(whole, labels) <= adapted_rand_error(decode((slice(None),) * 3), labels) + 0.01


def test_clear_errors() -> None:
    with pytest.raises(ParameterError, match="overlap 16 of tiles of 16"):
        tile_boxes((32,), (16,), (16,))
    with pytest.raises(ParameterError, match="one entry per axis"):
        tile_boxes((32, 32), (16,), (8,))
    with pytest.raises(ParameterError, match="min_iou = 0.3"):
        stitch([], (4,), min_iou=0.3)
    with pytest.raises(DataError, match=r"tile \[2:6\] does not lie in a volume of \(4,\)"):
        stitch([((slice(2, 6),), np.ones(4, int))], (4,))
    with pytest.raises(DataError, match=r"labels are float64 \(4,\); expected integers"):
        stitch([((slice(0, 4),), np.ones(4))], (4,))


def test_a_type_that_cannot_hold_the_ids_is_refused() -> None:
    labels = np.arange(1, 401, dtype=np.int32).reshape(20, 20)
    box = (slice(0, 20), slice(0, 20))
    with pytest.raises(ParameterError, match="out is uint8, which cannot hold 400 ids"):
        stitch([(box, labels)], (20, 20), out=np.zeros((20, 20), np.uint8))
