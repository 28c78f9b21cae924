"""Masks and maps as files and pictures: PNG, NIfTI, outlines, heat."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mtl.files import atomic_path

OUTLINE = (86, 180, 233)  # Okabe and Ito's sky blue: light on grey, told apart with any colour vision
_HEAT, _MOST_HEAT = "inferno", 0.65
_COMPRESSION = 3  # of 9: a third of the time of the usual 6, files of the same size
_BLACK, _WHITE = 0.5, 99.5  # percentiles of the grey values


def mask_png(mask: NDArray) -> bytes:
    """A mask ``(H, W)`` as a grey PNG: 255 in it, 0 outside."""
    return png_of(Image.fromarray((np.asarray(mask) > 0).astype(np.uint8) * 255))


def png_of(picture: Image.Image) -> bytes:
    """A picture's PNG file."""
    target = io.BytesIO()
    picture.save(target, "PNG", compress_level=_COMPRESSION)
    return target.getvalue()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_nifti_mask(path: Path, mask: NDArray[np.uint8], like: Any) -> None:
    """Write a mask as NIfTI (``.nii`` or ``.nii.gz``) with the affine, codes and units of the image ``like``.

    Args:
        mask: uint8, in the voxel order of ``like``.
        like: a nibabel image; one of four axes gives its first three.
    """
    header = like.header.copy()
    header.set_data_dtype(np.uint8)
    header["cal_max"], header["cal_min"] = 0, 0
    data = type(like)(mask, like.affine, header).to_bytes()
    write_bytes(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def grey_picture(image: NDArray, side: int | None = None) -> Image.Image:
    """A slice ``(H, W)`` of any grey range as an 8-bit RGB picture, ``side`` pixels along its longer side."""
    low, high = np.percentile(image, [_BLACK, _WHITE])
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    picture = Image.fromarray((255 * scaled).astype(np.uint8))
    return picture.resize(_size(image.shape, side), Image.Resampling.LANCZOS).convert("RGB")


def outline_picture(image: NDArray, mask: NDArray, side: int | None = None) -> Image.Image:
    """The slice with the mask's outline, two pixels wide at the picture's own size."""
    picture = grey_picture(image, side)
    drawn = np.asarray(_map_picture(np.asarray(mask, dtype=np.float32), picture.size)) > 0.5
    rim = ndimage.binary_dilation(drawn, iterations=1) & ~ndimage.binary_erosion(drawn, iterations=1)
    pixels = np.array(picture)
    pixels[rim] = OUTLINE
    return Image.fromarray(pixels)


def heat_picture(image: NDArray, heat: NDArray, side: int | None = None) -> Image.Image:
    """The slice under a non-negative map ``(H, W)``, scaled to its own largest value; none where it is 0."""
    from matplotlib import colormaps  # imported here: predictions without a picture do without it

    picture = grey_picture(image, side)
    share = np.asarray(_map_picture(np.asarray(heat, dtype=np.float32), picture.size))
    share = np.clip(share / max(float(share.max()), 1e-12), 0, 1) if share.max() > 0 else np.zeros_like(share)
    colour = 255 * colormaps[_HEAT](share)[..., :3]
    weight = _MOST_HEAT * share[..., None]
    return Image.fromarray(np.round((1 - weight) * np.asarray(picture) + weight * colour).astype(np.uint8))


def _map_picture(values: NDArray[np.float32], size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)


def _size(shape: tuple[int, ...], side: int | None) -> tuple[int, int]:
    ratio = 1.0 if side is None else side / max(shape)
    return max(1, round(shape[1] * ratio)), max(1, round(shape[0] * ratio))
