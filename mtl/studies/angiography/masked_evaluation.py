"""Masked video on the test clips, judged by error and by codewords."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mtl.datasets.angiography import Clip
from mtl.evaluation.angiography import fit_codebook, masked_scores
from mtl.inference.angiography.batches import evaluating
from mtl.models.angiography.masked_video import masked_video, normalised
from mtl.studies.angiography.scoring import test_batches
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import Training

CODEBOOK_CLIPS = 64
MASK_SEED = 11


def masked_table(study: AngiographyStudy, training: Training) -> pd.DataFrame:
    """A row per test clip (see ``masked_scores``); codewords and the mean patch come from training clips."""
    model = study.model(training).to(study.fabric.device)
    generator = torch.Generator(study.fabric.device).manual_seed(MASK_SEED)
    patches = _training_patches(study, model.video.patches, study.parts.train[:CODEBOOK_CLIPS])
    codebook = fit_codebook(patches, study.parameters.codebook, study.parameters.seed)
    predicted, true, studies = [], [], []
    with evaluating(model):
        for batch in test_batches(study, study.parts.test):
            video = batch["video"].to(study.fabric.device)
            with study.fabric.autocast():
                found = masked_video(model.video, model.masked, video, generator=generator)
            predicted += list(found["masked_prediction"].float().cpu().numpy())
            true += list(found["masked_target"].float().cpu().numpy())
            studies += batch["studies"]
    return masked_scores(predicted, true, studies, codebook, patches.mean(0))


def _training_patches(
    study: AngiographyStudy, cut: Callable[[Tensor], Tensor], clips: Sequence[Clip]
) -> np.ndarray:
    batches = test_batches(study, clips)
    cut_up = [normalised(cut(batch["video"].to(study.fabric.device))) for batch in batches]
    return torch.cat([part.flatten(0, 1) for part in cut_up]).cpu().numpy()
