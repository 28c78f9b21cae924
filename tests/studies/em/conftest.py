"""A study on a tiny phantom whose networks were trained for a step or two."""

from __future__ import annotations

import pytest

from mtl.studies.em.parameters import EMParameters

TINY = {
    "phantom_planes": 30, "phantom_side": 40, "phantom_neurites": 9, "gap_planes": 2, "crop_planes": 8,
    "crop_side": 24, "features": 4, "levels": 2, "embedding_channels": 4, "batch_size": 2,
    "crops_per_epoch": 6, "epochs": 1, "probe_every": 0, "probe_batches": 3, "window_planes": 8,
    "window_side": 40, "click_objects": 2, "click_planes": 8, "click_side": 32, "max_clicks": 2,
    "n_bootstrap": 100, "precision": "32-true", "device": "cpu", "variants": "late",
    "ablations": "automatic_only",
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny_parameters():
    """Folder and changes to the parameters of a study that trains in seconds."""
    return lambda folder, **changes: EMParameters(**(TINY | {"output_root": str(folder)} | changes))


@pytest.fixture(scope="session", params=[3, 2], ids=["3-D", "2-D"])
def trained_study(request, tmp_path_factory, tiny_parameters):
    """Both variants trained; in 2-D on the same phantom, plane by plane."""
    from mtl.studies.em.study import EMStudy

    study = EMStudy(tiny_parameters(tmp_path_factory.mktemp("em"), dims=request.param))
    for variant in study.training_order():
        study.train(variant)
    return study
