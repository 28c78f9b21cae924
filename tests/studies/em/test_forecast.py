"""The forecast counts what training, validation and tuning of every variant will do, and leaves nothing."""

from __future__ import annotations

import pytest

from mtl.evaluation.em import adapted_rand_error
from mtl.inference.em.decoding import decode_embeddings
from mtl.inference.em.directions import decode_directions
from mtl.studies.em import forecast as forecasts
from mtl.studies.em.made_embeddings import cells
from mtl.studies.em.study import EMStudy

SPACING = (24.0, 8.0, 8.0)


@pytest.fixture
def seconds_asked(monkeypatch):
    """Everything that is timed beside the steps takes one second; the calls are made and listed."""
    asked: list[str] = []
    predict = forecasts.predict
    monkeypatch.setattr(forecasts, "predict", lambda *a: asked.append("prediction") or predict(*a))

    def one_second(call, device):
        call()
        return 1.0

    monkeypatch.setattr(forecasts, "seconds_of", one_second)
    return asked


@pytest.mark.parametrize("dims", [3, 2])
def test_rows_are_variants_and_count_what_a_run_does(tmp_path, tiny_parameters, seconds_asked, dims):
    values = {"dims": dims, "epochs": 2, "accumulate": 2, "ablations": "automatic_only,no_geometry"}
    values |= {"crop_planes": 4, "crop_side": 16}
    study = EMStudy(tiny_parameters(tmp_path, **values))
    found = forecasts.forecast(study, n_steps=1)
    rows = {row["stage"]: row for row in found["stages"]}
    assert list(rows) == ["late", "automatic_only", "no_geometry"]
    assert seconds_asked == ["prediction"] * 4  # two parts, with and without the geometry head
    assert not (study.run.path / "checkpoints").exists()

    point = 1 / forecasts.TIMED_POINTS
    validation, test = (study.parts[name].shape[0] for name in ("validation", "test"))
    points = {"embedding": 5 * 2 * 4, "boundary": 3 * 4 * 4 + 2 * 2 * 7, "direction": 5 * 3}
    tuning = {name: sum(points.values()) + 3 * test / validation for name in ("late", "automatic_only")}
    tuning["no_geometry"] = points["embedding"] + points["boundary"] + 2 * test / validation
    for name, row in rows.items():
        parts = row["minutes_of"]
        assert parts["validation"] * 60 == pytest.approx(2 * (1 + 4 * point))
        assert parts["prediction and tuning"] * 60 == pytest.approx(2 + tuning[name] * point)
        assert (parts["gradient diagnostics"] > 0) == (name == "late")
        assert row["minutes"] == pytest.approx(sum(parts.values()))
    assert rows["late"]["steps"] == study.train("late")[0].steps == 4


def test_decodings_are_timed_on_outputs_that_hold_objects():
    labels = cells((8, 40, 40), 12, SPACING)
    made = forecasts._as_if_trained(labels, SPACING, channels=8, membrane=1)
    inside = made.foreground > 0.5
    by_embedding = decode_embeddings(made.embedding, inside, fill=True)
    by_direction = decode_directions(made.direction, inside, SPACING, reach=48.0, fill=True)
    assert adapted_rand_error(by_embedding, labels) < 0.1
    assert adapted_rand_error(by_direction, labels) < 0.3
