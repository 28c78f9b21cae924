r"""The brain_mri phantom: two scanners, lesions with exact masks, and a dial for the source shortcut.

The dial $\rho \in [0, 1]$ couples source and class,

$$P(\text{cls}=1 \mid \text{scanner\_a}) = \frac{1+\rho}{2}, \qquad
  P(\text{cls}=1 \mid \text{scanner\_b}) = \frac{1-\rho}{2},$$

met exactly up to rounding to whole patients: at $\rho=1$ the scanner gives the class away, at $\rho=0$ it
says nothing. The scanners differ in scalp, bone, padding, grey scale, noise and shading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from mtl.datasets.brain_mri.slices import MIN_TUMOR_PIXELS, Finding, Slice
from mtl.datasets.phantoms.brain_anatomy import Head, Lesion, Scanner, draw_slice, random_head, random_lesion
from mtl.errors import ParameterError

SMALLEST = 48
VISIBLE = 24  # pixels at the smallest size: a copy at three quarters still has MIN_TUMOR_PIXELS
SCANNERS = {
    "scanner_a": Scanner(
        scalp=0.95, scalp_thickness=0.05, bone_thickness=0.05, aspect=1.15, zoom=0.98,
        gain=255.0, noise=0.025, shading=0.05, blur=0.6,
    ),
    "scanner_b": Scanner(
        scalp=0.6, scalp_thickness=0.07, bone_thickness=0.055, aspect=1.0, zoom=1.3,
        gain=1400.0, noise=0.045, shading=0.12, blur=0.8,
    ),
}  # fmt: skip

#: Which way the dial moves a scanner's prevalence: P(cls=1) = (1 + LEANING * rho) / 2.
LEANING = {"scanner_a": 1, "scanner_b": -1}


@dataclass(frozen=True)
class _Recipe:
    """How to draw one slice again; a copy is a second picture of ``copy_of`` with a placement of its own."""

    head: Head
    lesion: Lesion | None
    height: float
    scanner: Scanner
    seed: int
    copy_seed: int | None = None


class BrainPhantom:
    """Made-up patients from two scanners, ``slices_per_patient`` each; patients alternate between scanners.

    ``rho``: the dial above. ``size``: shorter side in pixels. ``duplicate_rate``: share of slices of which a
    near copy (rescaled, shifted, brightened) is planted under another id and patient name, with the same
    ``group``. ``masked_sources``: scanners that deliver masks; the others are mask-less (``has_mask`` false),
    and their truth is `true_mask`. A patient with a tumour shows it in every slice.

    Same arguments, same pixels. Raises `ParameterError` for a value out of range.
    """

    name = "phantom"

    def __init__(
        self,
        n_patients: int = 60,
        slices_per_patient: int = 4,
        rho: float = 0.0,
        size: int = 128,
        seed: int = 0,
        duplicate_rate: float = 0.0,
        masked_sources: Sequence[str] = ("scanner_a",),
    ) -> None:
        _check(n_patients, slices_per_patient, rho, size, duplicate_rate, masked_sources)
        self.size, self.rho, self.seed, self.masked_sources = size, rho, seed, tuple(masked_sources)
        self.min_tumor_pixels = MIN_TUMOR_PIXELS
        self.problems: list[Finding] = []
        self._recipes: dict[str, _Recipe] = {}
        self.slices: list[Slice] = []
        for position, (source, has_tumor) in enumerate(_assign(n_patients, rho, seed)):
            self._add_patient(position, source, has_tumor, slices_per_patient)
        self._plant_copies(duplicate_rate)

    def read(self, item: Slice) -> tuple[np.ndarray, np.ndarray | None]:
        """Image float32 ``(H, W)`` in the scanner's units, mask uint8 ``(H, W)`` or ``None``."""
        image, mask = self._draw(item)
        return image, mask if item.has_mask else None

    def true_mask(self, item: Slice) -> np.ndarray:
        """The exact lesion mask, uint8 ``(H, W)``, also of a scanner that delivers none."""
        return self._draw(item)[1]

    def _draw(self, item: Slice) -> tuple[np.ndarray, np.ndarray]:
        recipe = self._recipes[item.id]
        image, mask = draw_slice(
            recipe.head, recipe.lesion, recipe.height, recipe.scanner, self.size, recipe.seed
        )
        return (image, mask) if recipe.copy_seed is None else _near_copy(image, mask, recipe.copy_seed)

    def _add_patient(self, position: int, source: str, has_tumor: bool, n_slices: int) -> None:
        rng = np.random.default_rng([self.seed, position])
        head = random_head(rng)
        lesion, heights = _visible_lesion(rng, head, SCANNERS[source], n_slices)
        patient = f"{source}/p{position:03d}"
        for number, height in enumerate(heights):
            item = self._record(f"{patient}/s{number:02d}", source, patient, patient, number, has_tumor)
            tumor = lesion if has_tumor else None
            noise = int(rng.integers(2**31))
            self._recipes[item.id] = _Recipe(head, tumor, height, SCANNERS[source], noise)

    def _record(self, identity: str, source: str, patient: str, group: str, number: int, cls: bool) -> Slice:
        masked = source in self.masked_sources
        item = Slice(identity, source, patient, group, number, int(cls), has_mask=masked, strong=masked)
        self.slices.append(item)
        return item

    def _plant_copies(self, rate: float) -> None:
        rng = np.random.default_rng([self.seed, 7_919])
        originals = list(self.slices)
        chosen = rng.choice(len(originals), round(rate * len(originals)), replace=False)
        for number, original in enumerate(originals[position] for position in sorted(chosen)):
            patient = f"{original.source}/x{number:03d}"
            item = self._record(
                f"{patient}/s00", original.source, patient, original.group, original.slice, bool(original.cls)
            )
            self._recipes[item.id] = replace(self._recipes[original.id], copy_seed=int(rng.integers(2**31)))


def _assign(n_patients: int, rho: float, seed: int) -> list[tuple[str, bool]]:
    """Scanner and class of every patient: exact shares, in seeded random order within a scanner."""
    rng = np.random.default_rng([seed, 104_729])
    shares = {name: (1 + leaning * rho) / 2 for name, leaning in LEANING.items()}
    counts = {"scanner_a": (n_patients + 1) // 2, "scanner_b": n_patients // 2}
    labels = {
        name: list(rng.permutation(np.arange(count) < round(count * shares[name])))
        for name, count in counts.items()
    }
    order = [("scanner_a", "scanner_b")[position % 2] for position in range(n_patients)]
    return [(name, bool(labels[name].pop())) for name in order]


def _visible_lesion(
    rng: np.random.Generator, head: Head, scanner: Scanner, n_slices: int
) -> tuple[Lesion, list[float]]:
    """A lesion, and slice heights through it, that shows in all of them (not swallowed by a ventricle)."""
    while True:
        lesion = random_lesion(rng)
        reach = min(0.12, lesion.radius / 2)
        middle = lesion.centre[2]
        heights = [float(h) for h in np.linspace(middle - reach, middle + reach, n_slices + 2)[1:-1]]
        masks = (draw_slice(head, lesion, height, scanner, SMALLEST, 0)[1] for height in heights)
        if all(mask.sum() >= VISIBLE for mask in masks):
            return lesion, heights


def _near_copy(image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same slice as somebody else would upload it: rescaled, shifted, brighter or darker."""
    rng = np.random.default_rng(seed)
    scale, gain = rng.uniform(0.75, 1.3), rng.uniform(0.8, 1.2)
    shape = tuple(max(8, round(side * scale)) for side in image.shape)
    border = rng.integers(1, 9, (2, 2))
    resized = [_resized(array, shape) for array in (image * gain, mask)]
    bigger, bigger_mask = (np.pad(array, border, mode="reflect") for array in resized)
    return bigger.astype(np.float32), (bigger_mask > 0.5).astype(np.uint8)


def _resized(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    picture = Image.fromarray(array.astype(np.float32))
    return np.asarray(picture.resize(shape[::-1], Image.Resampling.BILINEAR))


def _check(
    n_patients: int, slices_per_patient: int, rho: float, size: int, rate: float, masked: Sequence[str]
) -> None:
    rules = {
        f"n_patients={n_patients} must be at least 2": n_patients >= 2,
        f"slices_per_patient={slices_per_patient} must be at least 1": slices_per_patient >= 1,
        f"rho={rho} must lie in [0, 1]": 0 <= rho <= 1,
        f"size={size} must be at least {SMALLEST}": size >= SMALLEST,
        f"duplicate_rate={rate} must lie in [0, 1]": 0 <= rate <= 1,
        f"masked_sources={tuple(masked)} must be among {', '.join(SCANNERS)}": set(masked) <= set(SCANNERS),
    }
    for message, holds in rules.items():
        if not holds:
            raise ParameterError(message)
