"""The brain_mri study's network put to use."""

from mtl.inference.brain_mri.calibration import Calibration
from mtl.inference.brain_mri.folder import predict_folder
from mtl.inference.brain_mri.prediction import Prediction
from mtl.inference.brain_mri.predictor import MultiTaskPredictor
from mtl.inference.brain_mri.response import DISCLAIMER, PredictionResponse
from mtl.inference.brain_mri.uncertainty import Uncertainty, UncertaintyOptions
from mtl.inference.brain_mri.volume import VolumePrediction, predict_volume

__all__ = [
    "DISCLAIMER",
    "Calibration",
    "MultiTaskPredictor",
    "Prediction",
    "PredictionResponse",
    "Uncertainty",
    "UncertaintyOptions",
    "VolumePrediction",
    "predict_folder",
    "predict_volume",
]
