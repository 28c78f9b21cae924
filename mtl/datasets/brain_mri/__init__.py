"""Brain MRI slices from several sources, some with tumour masks and some with a yes/no label only."""

from mtl.datasets.brain_mri.augmentation import Augmentation
from mtl.datasets.brain_mri.brats import BratsVolumes
from mtl.datasets.brain_mri.folder_check import FolderReport, check_folder
from mtl.datasets.brain_mri.kaggle import KaggleTumor
from mtl.datasets.brain_mri.layouts import open_sources
from mtl.datasets.brain_mri.lgg import LggKaggle3m
from mtl.datasets.brain_mri.multisource import MultiSourceDataset, collate
from mtl.datasets.brain_mri.normalisation import BrainNormalisation, Geometry
from mtl.datasets.brain_mri.npz import NpzSlices
from mtl.datasets.brain_mri.slices import Finding, Slice, Source, is_positive

__all__ = [
    "Augmentation",
    "BrainNormalisation",
    "BratsVolumes",
    "Finding",
    "FolderReport",
    "Geometry",
    "KaggleTumor",
    "LggKaggle3m",
    "MultiSourceDataset",
    "NpzSlices",
    "Slice",
    "Source",
    "check_folder",
    "collate",
    "is_positive",
    "open_sources",
]
