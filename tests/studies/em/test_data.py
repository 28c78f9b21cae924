"""What the parameters say of the volume, its split and its crops."""

from __future__ import annotations

from functools import partial

import h5py
import numpy as np
import pytest
import torch
import zarr

from mtl.datasets.em import open_volume
from mtl.errors import DataError
from mtl.files import read_json
from mtl.studies.em.data import gap_planes, open_run_volume
from mtl.studies.em.parameters import EMParameters
from mtl.studies.em.study import EMStudy


@pytest.mark.parametrize(
    ("depth", "gap"), [(136, 16), (96, 16), (72, 12), (50, 8), (22, 3), (12, 2), (8, 2), (1000, 16)]
)
def test_the_gap_that_nobody_set_is_16_planes_and_less_in_thin_volumes(depth, gap):
    assert gap_planes(EMParameters(), depth) == gap
    assert gap_planes(EMParameters(gap_planes=0), depth) == 0
    assert gap_planes(EMParameters(gap_planes=5), depth) == 5


def test_the_split_says_which_gap_it_has(tmp_path, tiny_parameters):
    study = EMStudy(tiny_parameters(tmp_path, gap_planes=-1))  # of 30 planes
    assert study.split.gap == 5 == study.split.test[0] - study.split.validation[1]
    assert read_json(study.run.split)["gap"] == 5


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("volume", "dims", "gap"),
    [("fib25_neuroproof_sample", 3, 16), ("gala_fibsem", 3, 8), ("isbi2012_em", 2, 3)],
)
def test_gaps_of_the_real_sets(data_root, volume, dims, gap):
    depth = open_volume(data_root / volume).shape[0]
    assert gap_planes(EMParameters(data_root=str(data_root), volume=volume, dims=dims), depth) == gap


def test_the_phantom_has_a_black_plane_where_asked_for(tiny_parameters, tmp_path):
    whole, torn = (
        open_run_volume(tiny_parameters(tmp_path, phantom_missing_section=missing))
        for missing in (False, True)
    )
    images = [volume.read(volume.box)[0] for volume in (whole, torn)]
    black = [np.flatnonzero(image.reshape(len(image), -1).max(1) == 0) for image in images]
    assert len(black[0]) == 0 and len(black[1]) == 1
    assert whole.fingerprint() != torn.fingerprint()


def test_grey_values_are_scaled_as_asked_for_and_the_model_carries_it(tiny_parameters, tmp_path):
    plain, study = (
        EMStudy(tiny_parameters(tmp_path)),
        EMStudy(tiny_parameters(tmp_path, intensity_range="51,204")),
    )
    found, grey = (one.volume.read(one.volume.box)[0] for one in (study, plain))
    np.testing.assert_allclose(found, np.clip((255 * grey - 51) / 153, 0, 1), atol=1e-6)
    assert study.untrained_model("late").intensity == {"range": (51.0, 204.0)}
    assert plain.untrained_model("late").intensity is None


def test_keys_and_scale_levels_of_users_files(tmp_path):
    labels = np.arange(1, 9).reshape(2, 2, 2).repeat(8, 0).repeat(8, 1).repeat(8, 2)
    image = (labels * 3000).astype(np.uint16)
    for name, key, array in (("em.h5", "raw", image), ("truth.h5", "ids", labels)):
        with h5py.File(tmp_path / name, "w") as file:
            file[key] = array
    values = partial(EMParameters, data_root=str(tmp_path), spacing="10,10,10")
    named = {"volume": "em.h5", "labels": "truth.h5", "hdf5_key": "raw"}
    volume = open_run_volume(values(**named, hdf5_labels_key="ids", intensity_range="0,24000"))
    found, ids = volume.read(volume.box)
    assert np.array_equal(ids, labels) and found.max() == 1
    with pytest.raises(
        DataError, match=r"truth\.h5: expected a data set 'raw', which is not there; found ids"
    ):
        open_run_volume(values(**named))
    with pytest.raises(DataError, match=r"em\.h5: expected a data set 'stack'"):
        open_run_volume(values(volume="em.h5", labels="truth.h5"))
    write_pyramid(tmp_path / "em.zarr", image, labels)
    coarse = open_run_volume(values(volume="em.zarr", ngff_level=1))
    assert coarse.shape == (8, 8, 8) and np.array_equal(coarse.read_labels(coarse.box), labels[::2, ::2, ::2])
    with pytest.raises(DataError, match="has 2 scale levels; level=2 does not exist"):
        open_run_volume(values(volume="em.zarr", ngff_level=2))


def write_pyramid(path, image, labels):
    """An OME-NGFF image of two levels with one label image."""
    root = zarr.create_group(str(path), zarr_format=2)
    nested = root.create_group("labels")
    nested.attrs["labels"] = ["ids"]
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    for group, array in ((root, image), (nested.create_group("ids"), labels)):
        scales = []
        for level, step in enumerate((1, 2)):
            group.create_array(str(level), data=array[::step, ::step, ::step], chunks=(4, 8, 8))
            scale = [{"type": "scale", "scale": [10.0 * step] * 3}]
            scales.append({"path": str(level), "coordinateTransformations": scale})
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": scales}]


def test_prompts_keep_off_crumbs(tiny_parameters, tmp_path):
    """The picked object has as many voxels as asked for wherever its crop has one of that size."""

    def picked(**changes) -> list[tuple[int, int]]:
        study = EMStudy(tiny_parameters(tmp_path, run=f"least{len(changes)}", crops_per_epoch=24, **changes))
        pairs = []
        for batch in study.loader("late").batches(0):
            for labels, target in zip(batch["labels"], batch["target_ids"].tolist(), strict=True):
                sizes = torch.bincount(labels.clamp_min(0).flatten())[1:]
                pairs.append((int(sizes[target - 1]), int(sizes.max())))
        return pairs

    assert any(size < 300 for size, _ in picked())
    assert all(size >= min(300, largest) for size, largest in picked(min_target_voxels=300))


@pytest.mark.parametrize("dims", [3, 2])
def test_another_backbone(tiny_parameters, tmp_path, dims):
    study = EMStudy(tiny_parameters(tmp_path, backbone="VISTA3D", dims=dims))
    model = study.untrained_model("late")
    assert type(model.backbone).__name__ == "Vista3DFeatures"
    batch = next(iter(study.loader("late").batches(0)))
    losses = study.objective("late")(model, batch)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert study.validate(model, "late")["objects"] >= 0
