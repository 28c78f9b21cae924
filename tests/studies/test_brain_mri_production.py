"""params/brain_mri/production.yaml and the model that reads it."""

from __future__ import annotations

import inspect

import pytest

from mtl.errors import ParameterError
from mtl.inference.brain_mri import MultiTaskPredictor
from mtl.studies.brain_mri.production import ProductionParameters, load_production


def test_the_file_is_valid_and_names_every_parameter(project_root, monkeypatch):
    from mtl.studies.parameters import read_yaml

    monkeypatch.chdir(project_root)
    file = project_root / "params" / "brain_mri" / "production.yaml"
    assert load_production("", {}) == ProductionParameters.from_yaml(file)
    assert set(read_yaml(file)) == set(ProductionParameters.model_fields)
    assert all(field.description for field in ProductionParameters.model_fields.values())


def test_options_are_those_of_the_predictor():
    known = inspect.signature(MultiTaskPredictor).parameters
    assert set(ProductionParameters().predictor_options) <= set(known)


def test_outside_of_a_project_the_defaults_and_overrides_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_production("", {"batch_size": 3}) == ProductionParameters(batch_size=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mask_treshold: 0.4", "unknown parameter 'mask_treshold'; did you mean 'mask_threshold'"),
        ("mask_threshold: 4", "parameter 'mask_threshold': .*less than or equal to 1"),
        ("precision: float16", "parameter 'precision': .*'float32' or 'bfloat16'"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(tmp_path, text, expected):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ParameterError, match=rf"(?s)mine.yaml.*{expected}"):
        load_production(str(tmp_path / "mine.yaml"), {})
