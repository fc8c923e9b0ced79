"""Records are made anew from their predictions, without training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from harness.board import RATES, Board, Row
from harness.errors import UnknownNameError
from harness.execution import local, planning
from harness.execution.claims import Claims
from harness.execution.planning import Settings
from harness.execution.rescore import rescore
from harness.registry import Registry, load_registry
from harness.results.store import read_records, read_resamples, write_record

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"


@pytest.fixture(scope="module")
def toys() -> Registry:
    return load_registry([TOY])


@pytest.fixture
def board(tmp_path, toys) -> Board:
    """A board that has been run."""
    row = Row(model="toy-net", loss="bce", recipe="toy")
    made = Board(
        folder=tmp_path / "board",
        title="Toys",
        objective="auroc",
        seeds=(0, 1),
        metrics=("auroc", "f1"),
        dataset="toy",
        rows=(row,),
    )
    settings = Settings(data_root=tmp_path / "data", cache=tmp_path / "cache", device="cpu")
    local.run(planning.plan(made, toys, settings, lambda event: None), lambda event: None)
    return made


def test_nothing_changes_where_the_metrics_are_the_same(board, toys):
    before = read_records(board.folder).records
    files = {path: path.read_bytes() for path in (board.folder / "records").iterdir()}
    told: list[str] = []
    found = rescore(board, toys, told.append)
    assert found.done == tuple(told) == ("toy-net--bce--toy--s0", "toy-net--bce--toy--s1")
    assert found.left == ()
    assert read_records(board.folder).records == before
    assert {path: path.read_bytes() for path in (board.folder / "records").iterdir()} == files


def test_a_metric_that_a_board_gains_is_measured_with_its_interval(board, toys):
    changed = dataclasses.replace(board, metrics=("auroc", "brier", "sensitivity@val-sens0.7"))
    rescore(changed, toys)
    for record in read_records(board.folder).records:
        assert record.metrics["brier"].macro is not None
        assert "sensitivity@val-sens0.7" in record.metrics
        assert "f1@val-f1" not in record.metrics
        resamples = read_resamples(board.folder, record)
        assert resamples is not None
        assert set(resamples.macro) == set(record.metrics)


def test_a_record_without_its_predictions_is_left_and_named(board, toys):
    first, second = read_records(board.folder).records
    (board.folder / "runs" / first.key / "predictions-val.npz").unlink()
    path = board.folder / "runs" / second.key / "predictions-test.npz"
    path.write_bytes(path.read_bytes() + b" ")
    found = rescore(board, toys)
    assert found.done == ()
    assert "toy-net--bce--toy--s0: its predictions are not in" in found.left[0]
    assert "is not what the record was made of" in found.left[1]
    assert read_records(board.folder).records == (first, second)


def test_a_record_that_is_being_made_or_was_made_meanwhile_is_not_overwritten_by_the_old_one(board, toys):
    first, second = read_records(board.folder).records
    held = Claims(board.folder).take("toy-net--bce--toy--s0")
    assert held is not None
    newer = second.model_copy(update={"provenance": first.provenance.model_copy(update={"finished": "later"})})

    def tell(name: str) -> None:
        if name.endswith("s1"):
            write_record(board.folder, newer)

    found = rescore(board, toys, tell)
    assert found.left == ("toy-net--bce--toy--s0: it is being run; rescore it when it is done",)
    assert found.done == ("toy-net--bce--toy--s1",)
    kept, made = read_records(board.folder).records
    assert kept == first
    assert made.provenance.finished == "later"
    held.require()


def test_an_unknown_metric_changes_nothing(board, toys):
    before = read_records(board.folder).records
    with pytest.raises(UnknownNameError, match="did you mean 'auroc'"):
        rescore(dataclasses.replace(board, metrics=("aurok",)), toys)
    assert read_records(board.folder).records == before


def test_a_record_of_schema_1_gets_what_schema_2_added(board, toys):
    wanted = read_records(board.folder).records
    for path in (board.folder / "records").glob("*.json"):
        document = json.loads(path.read_text())
        for part in document["metrics"].values():
            del part["micro"], part["weighted"]
        for fitted in ("before", "temperature", "platt"):
            for label in document["calibration"][fitted]["per_label"].values():
                del label["test_slope"], label["test_intercept"]
        del document["predictive"]
        path.write_text(json.dumps(document | {"schema": 1}))
    old = read_records(board.folder)
    assert old.problems == ()
    assert old.records != wanted
    rescore(board, toys)
    assert read_records(board.folder).records == wanted
    assert all(json.loads(path.read_text())["schema"] == 2 for path in (board.folder / "records").glob("*.json"))
    shares = dataclasses.replace(board, metrics=(*board.metrics, *RATES), prevalence={wanted[0].dataset.labels[0]: 0.1})
    rescore(shares, toys)
    for record in read_records(board.folder).records:
        assert record.predictive is not None
        assert record.predictive["val-f1"][wanted[0].dataset.labels[0]].prevalence == 0.1
