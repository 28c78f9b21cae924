"""The angiography study's networks put to use: embeddings, reports, boxes, and where the captioner looked."""

from mtl.inference.angiography.attention_maps import (
    CaptionAttention,
    caption_attention,
    to_grid,
    upsampled,
    word_spans,
)
from mtl.inference.angiography.captioning import generate_reports
from mtl.inference.angiography.embedding import Embeddings, embed_clips, embed_reports, nearest_reports
from mtl.inference.angiography.location import locate_findings

__all__ = [
    "CaptionAttention",
    "Embeddings",
    "caption_attention",
    "embed_clips",
    "embed_reports",
    "generate_reports",
    "locate_findings",
    "nearest_reports",
    "to_grid",
    "upsampled",
    "word_spans",
]
