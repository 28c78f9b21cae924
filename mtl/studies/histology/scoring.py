"""Every image scored once per network and decoding, with settings chosen on validation tiles alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from mtl.datasets.histology import NucleiTile
from mtl.errors import MissingArtefactError
from mtl.evaluation.contingency import contingency
from mtl.evaluation.histology import calibration_scores, image_scores
from mtl.evaluation.objects import count_objects, object_metrics
from mtl.evaluation.protocol import require_same_test_set
from mtl.files import read_json, sha256_of, write_json
from mtl.inference.histology import (
    METHODS,
    Decoding,
    NucleiMaps,
    decode,
    decode_each,
    otsu_nuclei,
    predict_maps,
)
from mtl.studies.code_fingerprint import decoding_code_fingerprint
from mtl.studies.histology.loss_sets import Training, arm_name
from mtl.studies.histology.parameters import HistologyParameters
from mtl.studies.histology.study import HistologyStudy
from mtl.studies.histology.validation import THRESHOLDS

MIN_DISTANCES = (3, 5, 8, 12)
MARKERS = (0.3, 0.4, 0.55)
OTSU_GRID = {"min_distance": MIN_DISTANCES, "sigma": (0.5, 1.0, 2.0)}
OTSU = "otsu"
TEST, OUTSIDE = "test", "outside"
EVALUATION_NOTEBOOK = "04_label_fractions"
BASELINE_NOTEBOOK = "01_data_and_sparse_labels"


@dataclass(frozen=True)
class Chosen:
    """Settings that validation chose, and the mean PQ that they had there."""

    settings: dict[str, Any]
    validation_pq: float


def methods_of(study: HistologyStudy, losses: str) -> tuple[str, ...]:
    """Decodings that a network of this set allows: a map that was never trained floods nothing."""
    return METHODS if "hv" in study.tasks(losses) else tuple(name for name in METHODS if name != "watershed")


def candidates(method: str, parameters: HistologyParameters) -> list[Decoding]:
    """Decodings that are tried on validation tiles."""
    p = parameters
    plain = [Decoding(method, threshold, min_size=p.min_nucleus_pixels) for threshold in THRESHOLDS]
    if method == "components":
        return plain
    if method == "watershed" and p.hv == "hover":
        return [replace(one, marker=marker) for one, marker in product(plain, MARKERS)]
    return [replace(one, min_distance=pixels) for one, pixels in product(plain, MIN_DISTANCES)]


def tune_decoding(
    maps: Sequence[NucleiMaps], tiles: Sequence[NucleiTile], method: str, study: HistologyStudy
) -> Chosen:
    """The candidate with the highest mean PQ on validation tiles."""
    tried = candidates(method, study.parameters)

    def found_in(place: int) -> Iterable[np.ndarray]:
        return decode_each(maps[place].probability, maps[place].hv_map, tried)

    best, pq = _best(tried, found_in, tiles)
    return Chosen(asdict(best), pq)


def tune_otsu(study: HistologyStudy, fold: int) -> Chosen:
    """Settings of the baseline, chosen on the same validation tiles."""
    tiles = tuning_tiles(study, fold)
    grid = [dict(zip(OTSU_GRID, values, strict=True)) for values in product(*OTSU_GRID.values())]
    tried = [point | {"min_size": study.parameters.min_nucleus_pixels} for point in grid]

    def found_in(place: int) -> Iterable[np.ndarray]:
        return (otsu_nuclei(tiles[place].image, **settings) for settings in tried)

    return Chosen(*_best(tried, found_in, tiles))


def _best(
    candidates: Sequence[Any], found_in: Callable[[int], Iterable[np.ndarray]], tiles: Sequence[NucleiTile]
) -> tuple[Any, float]:
    """The first of the candidates with the highest mean PQ.

    found_in: of a tile's place, what each candidate finds there. A tile without a nucleus on either side does
    not count; a candidate for which none counts has 0.
    """
    values = np.array([[_pq(found, tile) for found in found_in(place)] for place, tile in enumerate(tiles)])
    counts = (~np.isnan(values)).sum(0)
    scores = np.nansum(values, axis=0) / np.maximum(counts, 1)
    best = int(np.argmax(scores))
    return candidates[best], float(scores[best])


def _pq(found: np.ndarray, tile: NucleiTile) -> float:
    table = contingency(found, tile.instances, background="segment")
    return float(object_metrics(count_objects(table))["pq"][0])


def tuning_tiles(study: HistologyStudy, fold: int) -> list[NucleiTile]:
    """The validation tiles that settings are chosen on: the first of them, as many as the parameters say."""
    return study.part(fold, "validation")[: study.parameters.tuning_tiles]


def score_network(study: HistologyStudy, training: Training) -> pd.DataFrame:
    """Scores of the test part and of the outside set, kept in ``predictions/``; made once.

    Returns:
        A row per image and decoding: ``image, group, appearance, part`` (test or outside), ``fold, seed,
        losses, fraction, method, test_hash``, and what ``image_scores`` gives.
    """
    name, made_from = _name(study, training), _made_from(study, training)
    try:
        return _read(study, name, made_from)
    except MissingArtefactError:
        pass
    model, methods = study.model(training), methods_of(study, training.losses)
    maps_of = partial(
        predict_maps, model,
        with_hv="watershed" in methods, device=study.fabric.device, autocast=study.fabric.autocast,
    )  # fmt: skip
    validation = tuning_tiles(study, training.fold)
    validation_maps = maps_of([tile.image for tile in validation])
    chosen = {method: tune_decoding(validation_maps, validation, method, study) for method in methods}
    rows = []
    for part, tiles in _parts(study, training.fold).items():
        for tile, (maps,) in ((tile, maps_of([tile.image])) for tile in tiles):
            calibration = calibration_scores(maps.probability, tile.instances)
            rows += [
                _row(study, tile, decode(maps.probability, maps.hv_map, Decoding(**of.settings)), part)
                | calibration
                | {"method": method}
                for method, of in chosen.items()
            ]
    arm = {
        "fold": training.fold,
        "seed": training.seed,
        "losses": training.losses,
        "fraction": training.fraction,
    }
    return _kept(study, name, made_from, pd.DataFrame(rows).assign(**arm), chosen)


def score_otsu(study: HistologyStudy, fold: int) -> pd.DataFrame:
    """As ``score_network``, of the baseline: ``losses`` is ``otsu``, seed and fraction are 0."""
    name, made_from = f"{OTSU}_fold_{fold}", _made_from(study, None)
    try:
        return _read(study, name, made_from)
    except MissingArtefactError:
        pass
    chosen = tune_otsu(study, fold)
    rows = [
        _row(study, tile, otsu_nuclei(tile.image, **chosen.settings), part) | {"method": OTSU}
        for part, tiles in _parts(study, fold).items()
        for tile in tiles
    ]
    arm = {"fold": fold, "seed": 0, "losses": OTSU, "fraction": 0.0}
    return _kept(study, name, made_from, pd.DataFrame(rows).assign(**arm), {OTSU: chosen})


def chosen_settings(study: HistologyStudy, training: Training) -> dict[str, Chosen]:
    """Method to what validation chose for a network, as ``score_network`` kept it."""
    record = read_json(study.run.require(_record(study, _name(study, training)), EVALUATION_NOTEBOOK))
    return {method: Chosen(**of) for method, of in record["chosen"].items()}


def best_method(study: HistologyStudy, training: Training) -> tuple[str, Decoding]:
    """The decoding with the highest PQ on validation."""
    chosen = chosen_settings(study, training)
    best = max(chosen, key=lambda method: chosen[method].validation_pq)
    return best, Decoding(**chosen[best].settings)


def all_scores(study: HistologyStudy) -> pd.DataFrame:
    """Rows of every network of the run and of the baseline, by each network's best decoding.

    Raises:
        MissingArtefactError: some were not made yet, or from other networks; the message names the notebook.
        ProtocolError: they were made on different test sets.
    """
    tables = [_read(study, f"{OTSU}_fold_{fold}", _made_from(study, None)) for fold in study.folds]
    for training in study.all_trainings():
        rows = _read(study, _name(study, training), _made_from(study, training))
        tables.append(rows[rows["method"] == best_method(study, training)[0]])
    table = pd.concat(tables, ignore_index=True)
    require_same_test_set(dict(zip(table["losses"], table["test_hash"], strict=True)))
    return table


def instances_of(study: HistologyStudy, training: Training, tiles: Sequence[NucleiTile]) -> list[np.ndarray]:
    """What a network finds in tiles, by its best decoding: int32 ``(H, W)`` each."""
    _, decoding = best_method(study, training)
    maps = predict_maps(study.model(training), [t.image for t in tiles], device=study.fabric.device)
    return [decode(m.probability, m.hv_map, decoding) for m in maps]


def _parts(study: HistologyStudy, fold: int) -> dict[str, list[NucleiTile]]:
    return {TEST: study.part(fold, TEST), OUTSIDE: study.outside_tiles}


def _row(study: HistologyStudy, tile: NucleiTile, found: np.ndarray, part: str) -> dict[str, Any]:
    scores = image_scores(found, tile.instances, radius=study.parameters.detection_radius)
    return {"image": tile.id, "group": tile.group, "appearance": tile.appearance, "part": part} | scores


def _name(study: HistologyStudy, training: Training) -> str:
    return f"{arm_name(training.losses, training.fraction)}_fold_{training.fold}_seed_{training.seed}"


def _record(study: HistologyStudy, name: str) -> Any:
    return study.run.path / "predictions" / f"{name}.json"


def _made_from(study: HistologyStudy, training: Training | None) -> str:
    """Network, test set, and whatever else scores depend on."""
    p = study.parameters
    settings = p.model_dump(include={"min_nucleus_pixels", "detection_radius", "tuning_tiles", "hv"})
    weights = "no network" if training is None else study.fingerprint(training)
    code = decoding_code_fingerprint("histology")
    return sha256_of(
        weights,
        study.data_fingerprint,
        study.split.hash,
        study.outside_fingerprint,
        code,
        json.dumps(settings),
    )


def _kept(
    study: HistologyStudy, name: str, made_from: str, table: pd.DataFrame, chosen: Mapping[str, Chosen]
) -> pd.DataFrame:
    """The table, written to the run directory with its record, which is written last."""
    table = table.assign(test_hash=study.split.test_hash)
    study.run.write_predictions(name, table)
    record = {"made_from": made_from, "chosen": {method: asdict(of) for method, of in chosen.items()}}
    write_json(_record(study, name), record)
    return table


def _read(study: HistologyStudy, name: str, made_from: str) -> pd.DataFrame:
    notebook = BASELINE_NOTEBOOK if name.startswith(OTSU) else EVALUATION_NOTEBOOK
    record = read_json(study.run.require(_record(study, name), notebook))
    if record["made_from"] != made_from:
        raise MissingArtefactError(
            f"predictions/{name} in {study.run.path} is of another network, other data or settings: run "
            "notebook "
            f"{notebook} first"
        )
    return study.run.read_predictions(name, notebook)
