"""Nuclei in stained tissue: readers, sparse labels, patches."""

from mtl.datasets.histology.augmentation import StainAugmentation
from mtl.datasets.histology.cpm15 import read_cpm15
from mtl.datasets.histology.dsb2018 import read_dsb2018
from mtl.datasets.histology.label_images import read_label_images
from mtl.datasets.histology.opening import open_tiles
from mtl.datasets.histology.patches import PatchDataset, collate
from mtl.datasets.histology.revealing import only_nuclei, reveal_all, revealed, revealed_ids
from mtl.datasets.histology.tiles import NucleiTile

__all__ = [
    "NucleiTile",
    "PatchDataset",
    "StainAugmentation",
    "collate",
    "only_nuclei",
    "open_tiles",
    "read_cpm15",
    "read_dsb2018",
    "read_label_images",
    "reveal_all",
    "revealed",
    "revealed_ids",
]
