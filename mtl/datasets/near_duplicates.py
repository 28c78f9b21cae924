r"""Near-duplicate pictures: exact copies, and rescaled, cropped, mirrored or turned ones.

Two sieves on square thumbnails, over the eight flips and quarter turns of a square:

1. a perceptual hash, the signs of the lowest cosine-transform coefficients against their median (Zauner
   2010); pairs further apart than ``hash_distance`` bits are dropped;
2. the correlation of the thumbnails that remain,
   $r = \frac{1}{n}\sum_i \tilde a_i \tilde b_i$ with $\tilde a$ standardised; $r > 0.92$ is a near copy.

Groups are the connected components of those pairs. Give pictures already cropped to their subject (the head,
for MRI): then a different border, padding or mild crop does not hide a copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mtl.errors import DataError, ParameterError

THUMBNAIL = 32
BLUR = 1.0  # forgives a crop that is off by a pixel of the thumbnail
HASH_SIDE = 8
BLOCK = 512


def near_duplicate_pairs(
    images: Sequence[np.ndarray], min_correlation: float = 0.92, hash_distance: int = 24
) -> pd.DataFrame:
    """Find the pairs of near copies among pictures ``(H, W)`` of any size and numeric type.

    Returns a table with a row per pair ``first < second`` (positions in ``images``) and its ``correlation``,
    best first. ``hash_distance`` is in bits of 63. Raises `DataError` for a constant or non-finite picture.
    """
    if not 0 < min_correlation <= 1:
        raise ParameterError(f"min_correlation={min_correlation} must lie in (0, 1]")
    squares = np.stack([_thumbnail(image, position) for position, image in enumerate(images)])
    orientations = _orientations(squares)
    rows = [
        _pairs_of_block(squares, orientations, start, min_correlation, hash_distance)
        for start in range(0, len(squares), BLOCK)
    ]
    table = pd.concat(rows, ignore_index=True)
    return table.sort_values(
        ["correlation", "first", "second"], ascending=[False, True, True], ignore_index=True
    )


def find_near_duplicates(
    images: Sequence[np.ndarray], min_correlation: float = 0.92, hash_distance: int = 24
) -> np.ndarray:
    """Group number of every picture, int64 ``(N,)``; near copies share one, numbered by first appearance."""
    if not len(images):
        return np.zeros(0, np.int64)
    pairs = near_duplicate_pairs(images, min_correlation, hash_distance)
    links = (np.ones(len(pairs)), (pairs["first"], pairs["second"]))
    _, labels = connected_components(coo_matrix(links, shape=(len(images), len(images))), directed=False)
    return pd.factorize(labels)[0].astype(np.int64)


def audit_split(
    images: Mapping[str, np.ndarray], parts: Mapping[str, str], min_correlation: float = 0.92
) -> pd.DataFrame:
    """Near copies that lie in different parts of a split: the leaks.

    ``images``: id -> picture; ``parts``: id -> name of its part (``"train"``, ``"test"``, ...). Returns a
    table ``first, first_part, second, second_part, correlation``; empty where nothing leaks. Raises
    `DataError` for an id without a picture.
    """
    missing = sorted(set(parts) - set(images))
    if missing:
        raise DataError(f"no picture for {missing[0]} ({len(missing)} of {len(parts)} ids lack one)")
    ids = sorted(parts)
    pairs = near_duplicate_pairs([images[name] for name in ids], min_correlation)
    first, second = ([ids[position] for position in pairs[side]] for side in ("first", "second"))
    table = pd.DataFrame(
        {
            "first": first,
            "first_part": [parts[name] for name in first],
            "second": second,
            "second_part": [parts[name] for name in second],
            "correlation": pairs["correlation"],
        }
    )
    return table[table["first_part"] != table["second_part"]].reset_index(drop=True)


def perceptual_hash(squares: np.ndarray) -> np.ndarray:
    """Signs (-1/+1) of the low cosine coefficients against their median: float32 ``(N, 63)``.

    ``squares`` is ``(N, S, S)``; the constant coefficient is left out.
    """
    low = dctn(squares, axes=(-2, -1), norm="ortho")[:, :HASH_SIDE, :HASH_SIDE].reshape(len(squares), -1)[
        :, 1:
    ]
    return np.where(low > np.median(low, axis=1, keepdims=True), 1, -1).astype(np.float32)


def _thumbnail(image: np.ndarray, position: int) -> np.ndarray:
    """Standardised square thumbnail, float32 ``(S, S)``; the aspect ratio is given up."""
    if image.ndim != 2 or not np.isfinite(image).all() or image.min() == image.max():
        raise DataError(f"picture {position}: expected finite grey values that are not all the same")
    picture = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    sharp = np.asarray(picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))
    small = gaussian_filter(sharp, BLUR)
    return ((small - small.mean()) / max(small.std(), 1e-12)).astype(np.float32)


def _orientations(squares: np.ndarray) -> list[np.ndarray]:
    """The eight symmetries of the square, each ``(N, S, S)``."""
    turned = [np.rot90(squares, turns, axes=(1, 2)) for turns in range(4)]
    return turned + [square[:, :, ::-1] for square in turned]


def _pairs_of_block(
    squares: np.ndarray, orientations: list[np.ndarray], start: int, min_correlation: float, distance: int
) -> pd.DataFrame:
    """Pairs whose first picture lies in the block that begins at ``start``."""
    block = squares[start : start + BLOCK]
    hashes = perceptual_hash(block)
    best = np.full((len(block), len(squares)), -1.0, np.float32)
    for turned in orientations:
        bits = hashes.shape[1]
        close = (bits - hashes @ perceptual_hash(turned).T) / 2 <= distance
        correlation = block.reshape(len(block), -1) @ turned.reshape(len(turned), -1).T / THUMBNAIL**2
        best = np.maximum(best, np.where(close, correlation, -1.0))
    first, second = np.nonzero(best > min_correlation)
    ahead = second > first + start
    first, second = first[ahead], second[ahead]
    return pd.DataFrame(
        {"first": first + start, "second": second, "correlation": best[first, second].astype(np.float64)}
    )
