"""The networks of a run: with random weights, and the one that may be given as teacher."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer

from mtl.datasets.angiography.tokenizer import EOS, PAD
from mtl.errors import CheckpointError
from mtl.files import sha256_of
from mtl.model_folder import load_model
from mtl.models.angiography import VideoTextModel
from mtl.studies.angiography.parameters import AngiographyParameters
from mtl.studies.parameters import project_path


def random_network(
    parameters: AngiographyParameters, tokenizer: Tokenizer, pixels: tuple[float, float], seed: int
) -> VideoTextModel:
    """A network of the parameters' sizes; it keeps an average of its weights where that teaches it.

    pixels: mean and standard deviation of those that it learns from, in [0, 1].
    """
    p = parameters
    distils = p.weight_distillation > 0 and not p.teacher
    keeps_average = distils or (p.weight_masked > 0 and p.mask_target == "features")
    torch.manual_seed(seed)
    return VideoTextModel(
        vocabulary=tokenizer.get_vocab_size(), width=p.width, heads=p.heads, context=p.context + 1,
        pad=tokenizer.token_to_id(PAD), eos=tokenizer.token_to_id(EOS),
        frames=p.frames, image_size=p.size, tubelet=(p.tubelet_frames, p.tubelet_side, p.tubelet_side),
        video_depth=p.video_depth, text_depth=p.text_depth, text_model=p.text_model,
        mean=pixels[0], std=pixels[1], pool=p.pool,
        caption_depth=p.caption_depth, masked_width=max(64, p.width // 2),
        mask_ratio=p.mask_ratio, mask_shape=p.mask_shape, masked_target=p.mask_target,
        contrast=p.contrastive, contrast_batch=p.batch_size,
        teacher_decay=p.teacher_decay if keeps_average else 0.0,
    )  # fmt: skip


def given_teacher(parameters: AngiographyParameters) -> VideoTextModel | None:
    """The network that the parameters name as teacher, in eval mode; None where they name none.

    It must have learnt with the run's tokeniser. Raises ``CheckpointError`` where it cannot be read.
    """
    if not parameters.teacher:
        return None
    return load_model(VideoTextModel, project_path(parameters.teacher)).requires_grad_(False)


def teacher_hash(parameters: AngiographyParameters) -> str:
    """Of the given teacher's weights, empty without one. Raises ``CheckpointError`` where there are none."""
    if not (parameters.teacher and parameters.weight_distillation > 0):
        return ""
    weights = project_path(parameters.teacher) / "model.safetensors"
    if not weights.is_file():
        raise CheckpointError(f"parameter 'teacher': {weights} is missing; a trained network is expected")
    return sha256_of(weights.read_bytes())
