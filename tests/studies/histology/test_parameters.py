"""Parameters that make no sense together are refused by name; every file of the study is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtl.errors import ParameterError
from mtl.losses.histology import ALPHAS, LOSSES, LossConfig
from mtl.studies.histology.loss_sets import ALPHAS as LIGHT_ALPHAS
from mtl.studies.histology.loss_sets import LOSS_SETS, SHOWN, shown_arm
from mtl.studies.histology.parameters import HistologyParameters

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("path", sorted((ROOT / "params/histology").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_parameter_file_is_valid(path: Path) -> None:
    assert HistologyParameters.from_yaml(path).run == path.stem


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sets": "all,most"}, "sets: unknown most"),
        ({"sets": "segmentation_only"}, "sets: 'all' must be among them"),
        ({"sparse_sets": "segmentation_only"}, "segmentation_only is named twice"),
        ({"fractions": "1,0.1"}, "rising numbers above 0 and up to 1"),
        ({"fractions": "0.1,x"}, "numbers separated by commas"),
        ({"fractions": "0,1"}, "rising numbers above 0"),
        ({"sparse_fraction": 0.5}, "sparse_fraction=0.5 is none of fractions='0.1,1'"),
        ({"tiles": "dsb"}, "tiles='dsb' needs data_root"),
        ({"outside": "cpm"}, "outside='cpm' needs data_root"),
        ({"alpha_seg": 0}, "alpha_seg is 0"),
        ({"patch": 200}, "patch=200 is larger than phantom_side=128"),
        ({"patches_per_epoch": 10}, "patches_per_epoch=10 is less than probe_batches"),
        ({"label_fraction": 0.1}, "unknown parameter 'label_fraction'"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        HistologyParameters.from_values(changes, "test")


def test_one_fraction_may_be_a_number() -> None:
    assert HistologyParameters.from_values({"fractions": 0.1}, "test").label_fractions == (0.1,)


def test_names_and_weights_are_those_of_the_losses() -> None:
    assert LIGHT_ALPHAS == ALPHAS and tuple(SHOWN) == LOSSES
    described = {loss: getattr(LossConfig(), alpha) for loss, alpha in ALPHAS.items()}
    assert HistologyParameters.from_yaml(ROOT / "params/histology/described.yaml").alphas == described
    assert HistologyParameters().alphas == described | {"edge": 0.0}, "the one that validation left out"
    assert set(LOSS_SETS) == {"all", "segmentation_only", *(f"without_{loss}" for loss in LOSSES)}
    assert shown_arm("without_hv", 0.1) == "without inner map, 10% of labels"
