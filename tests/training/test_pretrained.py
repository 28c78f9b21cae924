"""What fits is copied, what does not is listed, and a file of code is refused."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mtl.errors import CheckpointError
from mtl.training.pretrained import load_part


def encoder(first: int = 3, names: str = "abc") -> nn.ModuleDict:
    layers = zip(names, (first, 4, 5), (4, 5, 6), strict=True)
    return nn.ModuleDict({name: nn.Linear(i, o) for name, i, o in layers})


def results(table) -> dict[str, str]:
    return dict(zip(table["tensor"], table["result"], strict=True))


@pytest.fixture
def given() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    tensors = {
        f"encoder.{name}": tensor for name, tensor in encoder(first=7, names="abd").state_dict().items()
    }
    return tensors | {"decoder.a.weight": torch.zeros(4, 3)}


def written(tensors: dict[str, torch.Tensor], path):
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"state_dict": tensors}, path)
    return path


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_fitting_tensors_are_copied_and_the_rest_is_listed_and_left(given, tmp_path, name):
    torch.manual_seed(1)
    part = encoder()
    before = {key: tensor.clone() for key, tensor in part.state_dict().items()}
    found = load_part(part, written(given, tmp_path / name))
    assert results(found) == {
        "a.weight": "shape differs", "a.bias": "loaded",
        "b.weight": "loaded", "b.bias": "loaded",
        "c.weight": "not in the file", "c.bias": "not in the file",
        "d.weight": "not used", "d.bias": "not used",
    }  # fmt: skip
    for key, tensor in part.state_dict().items():
        expected = given[f"encoder.{key}"] if results(found)[key] == "loaded" else before[key]
        assert torch.equal(tensor, expected), key
    shapes = found.set_index("tensor")
    assert (shapes.loc["a.weight", "wanted"], shapes.loc["a.weight", "found"]) == ("4 x 3", "4 x 7")


def test_a_model_folder_and_a_file_of_the_part_alone(tmp_path):
    source, part = encoder(), encoder()
    save_file({f"encoder.{k}": v for k, v in source.state_dict().items()}, tmp_path / "model.safetensors")
    alone = written(source.state_dict(), tmp_path / "alone.pt")
    for path in (tmp_path, alone):
        part = encoder()
        assert set(load_part(part, path)["result"]) == {"loaded"}
        assert all(torch.equal(part.state_dict()[k], v) for k, v in source.state_dict().items())


def test_another_prefix(tmp_path):
    source = {f"backbone.{k}": v for k, v in encoder().state_dict().items()}
    path = written(source, tmp_path / "other.pth")
    assert set(load_part(encoder(), path, prefix="backbone.")["result"]) == {"loaded"}
    with pytest.raises(CheckpointError, match=r"other.pth: no tensor fits.*'a.weight'.*'backbone.a.weight'"):
        load_part(encoder(), path)


def test_values_are_converted_and_gradients_still_flow(tmp_path):
    source = {k: v.half() for k, v in encoder().state_dict().items()}
    part = encoder()
    load_part(part, written(source, tmp_path / "half.pth"))
    assert part["a"].weight.dtype == torch.float32
    assert torch.equal(part["a"].weight, source["a.weight"].float()) and part["a"].weight.requires_grad


class Malicious:
    def __reduce__(self):
        return print, ("run",)


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "bad.pth"
    path.write_bytes(pickle.dumps({"encoder.a.weight": Malicious()}, protocol=2))
    with pytest.raises(CheckpointError, match="bad.pth"):
        load_part(encoder(), path)
    assert capsys.readouterr().out == ""


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="none.pth"):
        load_part(encoder(), tmp_path / "none.pth")
