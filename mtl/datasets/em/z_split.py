"""One volume split by z into train, validation and test, with planes between that belong to none.

Neighbouring planes show the same neurites, so a gap keeps what is nearly a copy out of the other parts.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from mtl.datasets.em.volumes import EMVolume
from mtl.errors import ParameterError, ProtocolError
from mtl.files import sha256_of

GAP = 16


@dataclass(frozen=True)
class ZSplit:
    """Ranges of planes [start, stop) of one volume; `z_split` draws it."""

    volume: str
    shape: tuple[int, int, int]
    gap: int
    train: tuple[int, int]
    validation: tuple[int, int]
    test: tuple[int, int]

    @property
    def hash(self) -> str:
        """SHA-256 over everything the split consists of."""
        return sha256_of(json.dumps(asdict(self), sort_keys=True))

    @property
    def test_hash(self) -> str:
        """SHA-256 over the test part: results may be compared only where it is the same."""
        return sha256_of(json.dumps([self.volume, self.shape, self.test]))

    def parts(self, volume: EMVolume) -> dict[str, EMVolume]:
        """``train``, ``validation`` and ``test`` as volumes, named ``<volume>/<part>``; nothing is copied.

        Raises `ProtocolError` where the split was made for another volume, or two parts touch or overlap.
        """
        self.check()
        if (volume.name, volume.shape) != (self.volume, self.shape):
            raise ProtocolError(
                f"the split is of volume {self.volume!r} with shape {self.shape}, not of {volume.name!r} "
                f"with shape {volume.shape}"
            )
        ranges = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: volume.part(slice(*planes), f"{volume.name}/{part}") for part, planes in ranges.items()}

    def check(self) -> None:
        """Raise `ProtocolError` unless the parts lie in the volume, ``gap`` unused planes apart."""
        ranges = sorted((self.train, self.validation, self.test))
        inside = ranges[0][0] >= 0 and ranges[-1][1] <= self.shape[0]
        filled = all(start < stop for start, stop in ranges)
        apart = all(
            after[0] - before[1] >= self.gap for before, after in zip(ranges, ranges[1:], strict=False)
        )
        if not (inside and filled and apart):
            raise ProtocolError(
                f"split of volume {self.volume!r}: planes {ranges} of {self.shape[0]} must not be empty and "
                f"must lie {self.gap} planes apart"
            )


def z_split(volume: EMVolume, validation_planes: int, test_planes: int, gap: int = GAP) -> ZSplit:
    """Split a volume: train first, a gap, validation, a gap, test last; train gets what is left.

    ``gap`` in planes: 16, or 8 for volumes of 50 planes. Raises `ParameterError` where no plane is left to
    train on, or a part is empty.
    """
    depth = volume.shape[0]
    train_planes = depth - validation_planes - test_planes - 2 * gap
    if validation_planes < 1 or test_planes < 1 or gap < 0 or train_planes < 1:
        raise ParameterError(
            f"volume {volume.name!r} has {depth} planes: validation_planes={validation_planes}, "
            f"test_planes={test_planes} and two gaps of {gap} leave {train_planes} to train on; every part "
            "needs a plane"
        )
    validation = train_planes + gap
    split = ZSplit(
        volume=volume.name,
        shape=volume.shape,
        gap=gap,
        train=(0, train_planes),
        validation=(validation, validation + validation_planes),
        test=(depth - test_planes, depth),
    )
    split.check()
    return split
