"""From a picture to nuclei: the network's maps, instances decoded from them, a baseline without a network."""

from mtl.inference.histology.decoding import METHODS, Decoding, decode, decode_each
from mtl.inference.histology.otsu import otsu_nuclei
from mtl.inference.histology.prediction import NucleiMaps, predict_maps

__all__ = ["METHODS", "Decoding", "NucleiMaps", "decode", "decode_each", "otsu_nuclei", "predict_maps"]
