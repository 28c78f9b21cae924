"""The tutorials' parameters become those of brain_mri, and what that study refuses is refused at once."""

from __future__ import annotations

import pytest

from mtl.errors import ParameterError
from mtl.studies import parameters_class

MethodsParameters = parameters_class("methods")
BrainMriParameters = parameters_class("brain_mri")


def test_what_is_shared_has_the_same_type_in_both():
    for name in MethodsParameters.shared:
        ours, theirs = MethodsParameters.model_fields[name], BrainMriParameters.model_fields[name]
        assert ours.annotation == theirs.annotation, name


def test_values_are_handed_on_and_the_run_lies_within_this_one(tmp_path):
    ours = MethodsParameters(
        run="x", output_root=str(tmp_path), image_size=32, depth=2, seed=3, balancer="dwa"
    )
    theirs = ours.for_brain_mri(run="own", joint_epochs=2)
    assert (theirs.image_size, theirs.depth, theirs.seed, theirs.balancer) == (32, 2, 3, "dwa")
    assert theirs.joint_epochs == 2
    assert theirs.run_directory == tmp_path / "methods" / "x" / "runs" / "brain_mri" / "own"


def test_an_unknown_change_is_named():
    with pytest.raises(ParameterError, match="did you mean 'joint_epochs'"):
        MethodsParameters().for_brain_mri(joint_epoch=2)


def test_what_brain_mri_refuses_is_refused_when_the_file_is_read():
    with pytest.raises(ParameterError, match="mine.yaml.*\n.*\n.*image_size=36 must be a multiple of"):
        MethodsParameters.from_values({"image_size": 36, "depth": 3}, "mine.yaml")
