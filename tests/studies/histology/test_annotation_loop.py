"""Two ways to spend an annotator's time: the same start, as many actions, resumed after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtl.errors import ParameterError
from mtl.studies.histology.annotation_loop import PROPOSALS, RANDOM, AnnotationLoop, effort_at
from mtl.studies.histology.annotation_rounds import AnnotationRounds
from mtl.studies.histology.study import HistologyStudy


def test_both_ways_start_alike_and_spend_as_many_actions(trained: HistologyStudy) -> None:
    p = trained.parameters
    tables = {way: AnnotationLoop(trained, way).run() for way in (PROPOSALS, RANDOM)}
    n_test = len(trained.part(0, "test"))
    for table in tables.values():
        assert len(table) == n_test * (p.loop_rounds + 1)
        efforts = table.groupby("round")[["actions", "outlined"]].first()
        assert efforts["actions"].tolist() == [n * p.loop_actions for n in range(p.loop_rounds + 1)]
        assert efforts["outlined"].iloc[0] == p.loop_start
    first = [table[table["round"] == 0].reset_index(drop=True) for table in tables.values()]
    pd.testing.assert_series_equal(first[0]["pq"], first[1]["pq"])
    last = tables[RANDOM].iloc[-1]
    assert last["accept"] == last["reject"] == 0 and last["add"] == last["actions"]


def test_a_run_that_was_done_is_read_back(trained: HistologyStudy) -> None:
    loop = AnnotationLoop(trained, PROPOSALS)
    table = loop.run()
    again = AnnotationLoop(trained, PROPOSALS)
    assert len(again.session.entries) == len(loop.session.entries)
    pd.testing.assert_frame_equal(again.run(), table)
    assert len(again.session.entries) == len(loop.session.entries), "no action twice"


@pytest.mark.parametrize("way", [PROPOSALS, RANDOM])
def test_what_a_kill_left_of_a_round_counts_and_the_rest_is_the_same(
    trained: HistologyStudy, way: str
) -> None:
    loop = AnnotationLoop(trained, way)
    loop.run()
    whole = list(loop.session.entries)
    loop.session.undo()  # as if the kill came before the last two actions
    loop.session.undo()
    resumed = AnnotationLoop(trained, way)
    assert len(resumed.session.entries) == len(whole) - 2
    resumed.run()
    assert resumed.session.entries == whole


def test_tiles_without_a_nucleus_are_not_annotated(
    trained: HistologyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, bare = trained.part, trained.part(0, "train")[:-2]
    empty = [replace(tile, instances=np.zeros_like(tile.instances)) for tile in bare]
    monkeypatch.setattr(trained, "part", lambda fold, name: [*empty, *part(fold, name)[-2:]])
    assert set(AnnotationRounds(trained, "bare", tmp_path, "").tiles) == {
        tile.id for tile in part(0, "train")[-2:]
    }


def test_an_unknown_way_is_refused(trained: HistologyStudy) -> None:
    with pytest.raises(ParameterError, match="strategy: 'lucky' is not one of proposals, random order"):
        AnnotationLoop(trained, "lucky")


def test_effort_is_read_between_rounds() -> None:
    rows = [
        {"round": n, "pq": pq, "actions": 10 * n} for n, pq in enumerate((0.2, 0.4, 0.8)) for _ in range(2)
    ]
    table = pd.DataFrame(rows)
    assert effort_at(table, 0.3, "actions") == pytest.approx(5)
    assert effort_at(table, 0.6, "actions") == pytest.approx(15)
    assert effort_at(table, 0.1, "actions") == 0 and effort_at(table, 0.9, "actions") is None
