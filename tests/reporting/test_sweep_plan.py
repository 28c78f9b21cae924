"""A sweep file is expanded and checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mtl.errors import ParameterError
from mtl.reporting.sweep_plan import differing_parameters, read_sweep_plan, sweep_file
from mtl.reporting.sweep_results import METRIC_NAMES

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "params" / "sweeps").glob("*.yaml"))
BASE = {
    "study": "brain_mri",
    "base": "smoke",
    "arms": {"plain": {}, "heavy": {"lambda_cls": 3}},
    "baseline": "plain",
    "seeds": [0, 7],
    "metrics": ["roc_auc"],
    "margins": {"roc_auc": 0.05},
}


def write(folder: Path, **changes: object) -> str:
    path = folder / "mine.yaml"
    values = {key: value for key, value in (BASE | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return str(path)


def test_arms_times_seeds_each_in_a_folder_of_its_own(tmp_path):
    plan = read_sweep_plan(write(tmp_path), {"output_root": str(tmp_path / "outputs"), "joint_epochs": 5})
    assert [point.name for point in plan.points] == [
        "plain-seed0",
        "heavy-seed0",
        "plain-seed7",
        "heavy-seed7",
    ]
    last = plan.points[-1].parameters
    assert (last.seed, last.lambda_cls, last.joint_epochs) == (7, 3.0, 5)
    assert plan.folder == tmp_path / "outputs" / "sweeps" / "mine"
    assert last.run_directory == plan.folder / "points" / "brain_mri" / "heavy-seed7"
    assert differing_parameters(plan) == {"plain": {"lambda_cls": 1.0}, "heavy": {"lambda_cls": 3.0}}


def test_data_and_split_are_those_of_the_bases_seed_for_every_training_seed(tmp_path):
    for base_seed in (0, 4):
        plan = read_sweep_plan(write(tmp_path, set={"seed": base_seed}), {})
        assert {(p.parameters.data_seed, p.parameters.split_seed) for p in plan.points} == {
            (base_seed, base_seed)
        }
        assert [p.parameters.seed for p in plan.points] == [0, 0, 7, 7]


def test_a_grid_names_its_points_by_value_and_finds_the_baseline(tmp_path):
    grid = {"lambda_cls": [1, "1e-1"], "balancer": ["fixed", "dwa"]}
    plan = read_sweep_plan(write(tmp_path, arms=None, baseline=None, grid=grid), {})
    assert list(plan.arms) == [
        "lambda_cls-1--balancer-fixed", "lambda_cls-1--balancer-dwa",
        "lambda_cls-0.1--balancer-fixed", "lambda_cls-0.1--balancer-dwa",
    ]  # fmt: skip
    assert plan.baseline == "lambda_cls-1--balancer-fixed"
    assert len(plan.points) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": [0]}, "unknown key 'seed'; did you mean 'seeds'"),
        ({"seeds": None}, "key 'seeds': Field required"),
        ({"seeds": [1, 1]}, "'seeds' names a seed twice"),
        ({"study": "liver"}, "unknown study 'liver'"),
        ({"base": "gone"}, "gone.yaml: no such parameter file"),
        ({"grid": {"lambda_cls": [1]}}, "either 'arms' or 'grid'"),
        ({"arms": {"plain": {}}}, "two arms or more, it has 1"),
        ({"arms": {"plain": {}, "b": {"lambda_csl": 2}}}, "(?s)point b-seed0.*'lambda_csl'; did you mean"),
        ({"arms": {"plain": {}, "b": {"lambda_cls": -2}}}, "(?s)point b-seed0.*'lambda_cls'.*greater than"),
        ({"arms": {"plain": {}, "b/c": {"lambda_cls": 2}}}, "arm 'b/c': letters"),
        ({"arms": {"plain": {}, "b": {"lambda_cls": 1.0}}}, "arms 'plain' and 'b' are the same"),
        ({"arms": {"plain": {}, "b": {"phantom_rho": 0.9}}}, "'b' changes 'phantom_rho'.*same test cases"),
        ({"arms": {"plain": {}, "b": {"seed": 3}}}, "'b' sets 'seed', which the sweep itself sets"),
        ({"set": {"run": "mine"}}, "'set' sets 'run'"),
        ({"baseline": "gone"}, "baseline 'gone' is no arm; the arms are plain, heavy"),
        ({"baseline": None, "arms": {"a": {"dropout": 0.2}, "b": {"dropout": 0.3}}}, "one as 'baseline'"),
        ({"metrics": ["auc"]}, "'metrics': unknown \\['auc'\\]; there is roc_auc"),
        ({"margins": {}}, "'margins' needs a number above 0 for roc_auc"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_the_file(tmp_path, changes, message):
    with pytest.raises(ParameterError, match=message) as caught:
        read_sweep_plan(write(tmp_path, **changes), {"output_root": str(tmp_path / "outputs")})
    assert not (tmp_path / "outputs").exists()
    assert "mine.yaml" in str(caught.value) or "study" in changes or "base" in changes


def test_every_metric_has_a_name_for_people():
    from mtl.evaluation.brain_mri.stages import METRICS

    assert list(METRIC_NAMES) == list(METRICS)


def test_an_unknown_sweep_lists_what_there_is():
    with pytest.raises(
        ParameterError, match="gone.yaml: no such sweep; params/sweeps/ has balancers, .*smoke"
    ):
        sweep_file("gone")


def test_the_sweeps_of_the_issue_are_there():
    wanted = {
        "learning_rates",
        "lambda_cls",
        "skipping_stages",
        "mixing_ratio",
        "frozen_normalisation",
        "balancers",
    }
    assert wanted | {"smoke"} == {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sweeps_are_valid_and_say_command_and_minutes(path):
    plan = read_sweep_plan(str(path), {})
    assert len(plan.seeds) >= (2 if path.stem == "smoke" else 5)
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"# Command: mtl sweep {path.stem}\n" in header and "# Expected: " in header
