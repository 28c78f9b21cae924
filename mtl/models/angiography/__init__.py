"""Video encoder, text encoder, captioning decoder and masked video of the angiography study."""

from mtl.models.angiography.captioning_decoder import CaptioningDecoder, memory_of
from mtl.models.angiography.external_backbone import ExternalVideoBackbone
from mtl.models.angiography.hugging_face_text import HuggingFaceTextEncoder
from mtl.models.angiography.masked_video import MaskedVideoDecoder, MaskedVideoModeling
from mtl.models.angiography.teacher import EMATeacher
from mtl.models.angiography.text_encoder import TextEncoder
from mtl.models.angiography.video_encoder import VideoEncoder
from mtl.models.angiography.video_text_model import VideoTextModel

__all__ = [
    "CaptioningDecoder",
    "EMATeacher",
    "ExternalVideoBackbone",
    "HuggingFaceTextEncoder",
    "MaskedVideoDecoder",
    "MaskedVideoModeling",
    "TextEncoder",
    "VideoEncoder",
    "VideoTextModel",
    "memory_of",
]
