"""Parameters behave the same from YAML, from notebooks and from papermill."""

from __future__ import annotations

import pytest
import yaml

from mtl.errors import ParameterError
from mtl.studies import FORECAST, STUDIES, parameters_class
from mtl.studies.parameters import read_parameters, read_yaml


@pytest.mark.parametrize("study", STUDIES)
def test_every_parameter_file_is_valid_flat_and_explained(project_root, study):
    files = sorted((project_root / "params" / study).glob("*.yaml"))
    on_real_data = {"real", "full"} if study in FORECAST else set()
    assert {"smoke", "quick"} | on_real_data <= {file.stem for file in files}
    for file in files:
        if file.stem != "production":
            parameters_class(study).from_yaml(file)
        header = [line for line in file.read_text().splitlines() if line.startswith("#")]
        assert len(header) >= 3, f"{file}: a header with command, minutes and expected scores is needed"
        assert not any(isinstance(value, (dict, list)) for value in read_yaml(file).values())


def test_every_parameter_has_a_description():
    for study in STUDIES:
        for name, field in parameters_class(study).model_fields.items():
            assert field.description, name


def notebook(*cells: str) -> dict:
    namespace: dict = {}
    for cell in cells:
        exec(cell, namespace)
    return namespace | {"In": ["", *cells, "read_parameters(...)"]}


def test_notebook_values_and_injected_values_are_read():
    namespace = notebook(
        "# Parameters of this notebook\nrun = 'x'\nseed = 1", "# Parameters\nseed = 7\naugment = 'false'"
    )
    parameters = read_parameters("brain_mri", namespace)
    assert (parameters.run, parameters.seed, parameters.augment) == ("x", 7, False)


def test_other_keys_of_the_study_are_accepted_and_unknown_ones_refused_by_name():
    cell = "# Parameters\nrun = 'x'"
    assert read_parameters("brain_mri", notebook(cell, "# Parameters\ndepth = 2")).depth == 2
    with pytest.raises(ParameterError, match="unknown parameter 'dpeth'; did you mean 'depth'"):
        read_parameters("brain_mri", notebook(cell, "# Parameters\ndpeth = 2"))


def test_names_of_other_cells_are_not_parameters():
    namespace = notebook("import math\nx = 3", "# Parameters\nseed = 2")
    assert read_parameters("brain_mri", namespace).seed == 2


def test_a_name_that_was_put_right_is_not_held_against_the_reader():
    namespace = notebook("# Parameters\nsede = 1", "1 + 1", "# Parameters\nseed = 3")
    assert read_parameters("brain_mri", namespace).seed == 3


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"test_fraction": 1.5}, "'test_fraction'.*less than 0.9"),
        ({"base_filters": "many"}, "'base_filters'.*integer.*many"),
        ({"balancer": "sum"}, "'balancer'.*'fixed', 'schedule'"),
        ({"image_size": 100, "depth": 3}, "multiple of 2\\*\\*depth"),
        ({"run": "a/b"}, "'run'"),
    ],
)
def test_values_out_of_range_are_named_with_what_is_expected(tmp_path, value, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(value))
    with pytest.raises(ParameterError, match=message) as caught:
        parameters_class("brain_mri").from_yaml(path)
    assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "just text"])
def test_files_that_are_not_a_mapping_are_refused(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match="broken.yaml"):
        read_yaml(path)


def test_a_missing_file_and_an_unknown_study_are_named(tmp_path):
    with pytest.raises(ParameterError, match="none.yaml"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ParameterError, match="'liver'.*brain_mri"):
        parameters_class("liver")
