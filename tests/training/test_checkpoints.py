"""Model folders and training states: whole or not at all, and refused with a reason."""

from __future__ import annotations

import os

import pytest
import torch
from toy_study import ToyModel

from mtl.errors import CheckpointError
from mtl.models.brain_mri import MultiTaskModel
from mtl.training.checkpoints import (
    load_bare_state_dict,
    load_model,
    load_training_state,
    save_model,
    save_training_state,
)


def test_a_model_folder_needs_nothing_but_its_path(tmp_path):
    model = MultiTaskModel(base_filters=3, depth=2, image_size=48, normalisation={"clip": 5.0}).eval()
    save_model(model.to(memory_format=torch.channels_last), tmp_path / "best", "# card")
    loaded = load_model(MultiTaskModel, tmp_path / "best")
    x = torch.randn(2, 1, 48, 48)
    torch.testing.assert_close(loaded(x)["seg"], model(x)["seg"])
    assert loaded.image_size == 48 and loaded.normalisation == {"clip": 5.0}
    assert (tmp_path / "best" / "README.md").read_text() == "# card"


def test_saving_again_replaces_the_folder(tmp_path):
    first, second = ToyModel(width=4), ToyModel(width=6)
    save_model(first, tmp_path / "best", "1")
    save_model(second, tmp_path / "best", "2")
    assert load_model(ToyModel, tmp_path / "best").head_a.in_features == 6
    assert [entry.name for entry in tmp_path.iterdir()] == ["best"]


def test_a_checkpoint_of_another_study_is_refused_by_name(tmp_path):
    save_model(ToyModel(), tmp_path / "toy", "")
    with pytest.raises(CheckpointError, match=r"ToyModel.*MultiTaskModel is needed"):
        load_model(MultiTaskModel, tmp_path / "toy")


def test_missing_and_damaged_folders_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere.*config.json"):
        load_model(ToyModel, tmp_path / "nowhere")
    save_model(ToyModel(), tmp_path / "m", "")
    weights = tmp_path / "m" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_model(ToyModel, tmp_path / "m")


def test_weights_of_another_size_do_not_load(tmp_path):
    save_model(ToyModel(width=4), tmp_path / "m", "")
    config = tmp_path / "m" / "config.json"
    config.write_text(config.read_text().replace('"width": 4', '"width": 5'))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_model(ToyModel, tmp_path / "m")


def test_a_failed_save_leaves_the_old_state_untouched(tmp_path):
    path = tmp_path / "training_state.pt"
    save_training_state(path, {"epoch": 3})

    class Unpicklable:
        def __reduce__(self):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        save_training_state(path, {"epoch": 4, "bad": Unpicklable()})
    assert load_training_state(path) == {"epoch": 3}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_damaged_state_says_so(tmp_path):
    path = tmp_path / "training_state.pt"
    save_training_state(path, {"x": torch.zeros(1000)})
    os.truncate(path, 300)
    with pytest.raises(CheckpointError, match="training_state.pt"):
        load_training_state(path)
    assert load_training_state(tmp_path / "none.pt") is None


def test_bare_state_dicts_are_unwrapped(tmp_path):
    state = ToyModel().state_dict()
    wrapped = {"epoch": 1, "model_state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}
    torch.save(wrapped, tmp_path / "a.pth")
    assert load_bare_state_dict(tmp_path / "a.pth").keys() == state.keys()


class Evil:
    def __reduce__(self):
        return (os.system, ("true",))


@pytest.mark.parametrize("content", [{"w": Evil()}, ToyModel(), [1, 2], {"lr": 0.1}])
def test_files_that_are_not_plain_tensors_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="b.pth"):
        load_bare_state_dict(tmp_path / "b.pth")
