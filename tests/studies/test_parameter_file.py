"""What is written is read back the same, and only what differs from the defaults is written."""

from __future__ import annotations

import yaml

from mtl.studies import parameters_class
from mtl.studies.parameter_file import write_parameter_file

BrainMriParameters = parameters_class("brain_mri")


def test_a_written_file_is_read_back(tmp_path):
    chosen = BrainMriParameters(
        run="own", data_root="Ärzte: #1/daten", n_folds=3, cross_validated="all", seed=4
    )
    write_parameter_file(tmp_path / "own.yaml", chosen, ["Ours.", "Command: mtl run"])
    assert BrainMriParameters.from_yaml(tmp_path / "own.yaml") == chosen


def test_only_what_differs_is_written_below_the_header(tmp_path):
    chosen = BrainMriParameters(run="own", depth=2, output_root="elsewhere")
    text = write_parameter_file(tmp_path / "own.yaml", chosen, ["Ours.", "Command: x"])
    assert text.startswith("# Ours.\n# Command: x\nrun: own\n")
    assert yaml.safe_load(text) == {"run": "own", "depth": 2}


def test_the_name_of_the_run_is_always_there(tmp_path):
    text = write_parameter_file(tmp_path / "own.yaml", BrainMriParameters(), ["x"])
    assert yaml.safe_load(text) == {"run": "quick"}
