"""EM volumes with neuron instances: readers, splits by z, crops with targets and clicks."""

from mtl.datasets.em.augmentation import Augmentation
from mtl.datasets.em.batches import collate
from mtl.datasets.em.crops import CropDataset
from mtl.datasets.em.fib25 import read_fib25
from mtl.datasets.em.hdf5 import read_cremi, read_gala, read_hdf5
from mtl.datasets.em.label_changes import contact_membrane, relabel, split_components
from mtl.datasets.em.ome_zarr import open_zarr
from mtl.datasets.em.opening import open_volume
from mtl.datasets.em.prompt_sampling import PointSample, proofread_mode, resolve_fractionary, sample_points
from mtl.datasets.em.tiff import read_isbi2012, read_snemi3d, read_tiff_stack
from mtl.datasets.em.volumes import UNKNOWN, EMVolume, check_contrast, check_foreground
from mtl.datasets.em.z_split import ZSplit, z_split

__all__ = [
    "UNKNOWN",
    "Augmentation",
    "CropDataset",
    "EMVolume",
    "PointSample",
    "ZSplit",
    "check_contrast",
    "check_foreground",
    "collate",
    "contact_membrane",
    "open_volume",
    "open_zarr",
    "proofread_mode",
    "read_cremi",
    "read_fib25",
    "read_gala",
    "read_hdf5",
    "read_isbi2012",
    "read_snemi3d",
    "read_tiff_stack",
    "relabel",
    "resolve_fractionary",
    "sample_points",
    "split_components",
    "z_split",
]
