"""Metrics of heat maps on a board: from a run to its record, its page, and again without training."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.board import Board, Row, add_controls
from harness.components import Inputs, Recipe
from harness.data.boxes import find_boxes
from harness.data.loading import find_source, load_disjoint
from harness.data.placement import place
from harness.data.prepare import prepare
from harness.errors import UsageError
from harness.evaluation.bootstrap import draw_resamples
from harness.evaluation.localization import measure_maps
from harness.execution import board_run, local, planning
from harness.execution.planning import Settings
from harness.execution.rescore import rescore
from harness.registry import Registry, load_registry
from harness.report.details import gather_details
from harness.results.staleness import why_evaluate_again
from harness.results.store import read_records, read_resamples
from harness.training.attribution import Explainer
from harness.training.maps import hold_against_boxes
from harness.training.task import make_task
from tests.fixtures.narrow import build as build_narrow

FIXTURES = Path(__file__).parents[1] / "fixtures"
MAPS = ("pointing", "energy", "iou")


@pytest.fixture(scope="module")
def toys() -> Registry:
    return load_registry([FIXTURES / "toy.py", FIXTURES / "boxed.py"])


def make_board(folder, *, metrics=("auroc", *MAPS), models=("tiny-cnn",), **changes) -> Board:
    rows = tuple(Row(model=model, loss="bce", recipe="toy") for model in models)
    board = Board(
        folder=folder,
        title="Toys",
        objective="auroc",
        seeds=(0,),
        metrics=metrics,
        dataset="boxed",
        rows=rows,
    )
    return dataclasses.replace(board, **changes)


def settings_of(folder) -> Settings:
    return Settings(data_root=folder / "data", cache=folder / "cache", device="cpu")


def run(board, toys):
    """Run the board as `harness run` does; what was left, and the trained combos' names."""
    planned = planning.plan(board, toys, settings_of(board.folder.parent), lambda event: None)
    again = {item.job.combo.name: item.job for item in planned if item.lacks is not None}
    makers = board_run.list_makers(again, toys)
    left = rescore(board, toys, only=again, make_maps=makers).left if again else ()
    trained = local.run(planned, lambda event: None)
    return left, [record.combo.name for record in trained]


def read(board):
    (record,) = read_records(board.folder).records
    return record


def test_a_run_measures_heat_maps_beside_baselines(tmp_path, toys):
    board = make_board(tmp_path / "board")
    run(board, toys)
    record = read(board)
    assert record.status == "done", record.failure
    for name in MAPS:
        part = record.metrics[name]
        assert part.maps.about.startswith("Grad-CAM at ")
        assert set(part.maps.baselines) == {"center", "usual place"}
        assert 0 < part.per_label["first"].positives < part.maps.images
        assert 0 <= part.macro <= 1
    assert record.metrics["pointing"].maps.baselines["usual place"].macro == 1
    assert record.metrics["iou"].maps.thresholds.keys() == {"first", "second", "third"}
    assert "explain" in record.efficiency.seconds
    drawn = read_resamples(board.folder, record)
    assert drawn is not None
    assert {"auroc", *MAPS} == set(drawn.macro)
    localized = gather_details([record]).localized
    assert list(localized) == list(MAPS)
    assert [line.name for line in localized["energy"].lines] == ["mean of labels", "first", "second", "third"]
    assert localized["energy"].lines[0].beside[1].value == record.metrics["energy"].maps.baselines["usual place"].macro


def test_a_board_without_such_a_metric_has_the_record_that_it_had(tmp_path, toys):
    with_boxes, without = (make_board(tmp_path / name, metrics=("auroc", "f1")) for name in ("a", "b"))
    without = dataclasses.replace(without, dataset="toy", options={"count": 160})
    for board in (with_boxes, without):
        run(board, toys)
    text = [next((board.folder / "records").glob("*.json")).read_text() for board in (with_boxes, without)]
    assert '"maps"' not in text[0]
    one, other = (json.loads(each) for each in text)
    assert one["metrics"] == other["metrics"]
    assert one.keys() == other.keys()
    assert one["efficiency"]["seconds"].keys() == other["efficiency"]["seconds"].keys()
    assert one["artifacts"].keys() == other["artifacts"].keys()
    assert not list((with_boxes.folder / "runs").rglob("maps.npz"))


def test_rescoring_needs_neither_weights_nor_images(tmp_path, toys):
    board = make_board(tmp_path / "board")
    run(board, toys)
    before = read(board)
    for weights in (board.folder / "runs").rglob("weights.safetensors"):
        weights.unlink()
    shutil.rmtree(tmp_path / "cache")
    found = rescore(board, toys)
    assert found.left == ()
    assert read(board) == before


def test_a_metric_that_a_board_gains_is_measured_by_the_stored_weights(tmp_path, toys):
    whole = make_board(tmp_path / "whole")
    run(whole, toys)
    board = make_board(tmp_path / "board", metrics=("auroc",))
    run(board, toys)
    gained = dataclasses.replace(board, metrics=("auroc", *MAPS))
    assert why_evaluate_again(gained, read(board)) is not None
    (line,) = rescore(gained, toys).left
    assert "energy, iou, pointing are of heat maps, which take the row's weights and images" in line
    assert "pointing" not in read(board).metrics
    assert run(gained, toys) == ((), [])
    assert why_evaluate_again(gained, read(board)) is None
    assert read(board).metrics == read(whole).metrics
    assert rescore(gained, toys).left == ()  # what was made of the maps is kept


def test_lost_weights_are_named(tmp_path, toys):
    board = make_board(tmp_path / "board", metrics=("auroc",))
    run(board, toys)
    for weights in (board.folder / "runs").rglob("weights.safetensors"):
        weights.unlink()
    (line,), trained = run(dataclasses.replace(board, metrics=("auroc", "pointing")), toys)
    assert trained == []
    assert "its weights, which heat maps need, are not in " in line


def test_a_network_that_cannot_be_explained_is_measured_in_all_else(tmp_path, toys):
    board = make_board(tmp_path / "board", models=("flat",))
    run(board, toys)
    record = read(board)
    assert record.metrics["auroc"].macro is not None
    assert record.metrics["pointing"].macro is None
    assert "no layer of this network has a grid of places" in str(record.metrics["pointing"].why_left_out)
    assert rescore(board, toys).left == ()
    assert why_evaluate_again(board, record) is None


def test_controls_have_their_say(tmp_path, toys):
    board = make_board(tmp_path / "board")
    board = dataclasses.replace(board, rows=add_controls(board.rows))
    run(board, toys)
    records = {record.combo.control: record for record in read_records(board.folder).records}
    assert records["prevalence"].metrics["pointing"].macro is None
    assert "the control trains no network" in str(records["prevalence"].metrics["pointing"].why_left_out)
    assert records["shuffled"].metrics["pointing"].macro is not None
    assert rescore(board, toys).left == ()


def test_a_dataset_without_boxes_in_test_is_refused_before_anything_is_trained(tmp_path, toys):
    board = make_board(tmp_path / "board", dataset="toy")
    with pytest.raises(UsageError, match="cannot be measured on 'toy': the dataset has no boxes; take them out"):
        run(board, toys)


@pytest.mark.parametrize("where", ["objective", "select_on"])
def test_heat_maps_neither_rank_nor_pick_an_epoch(tmp_path, toys, where):
    board = make_board(tmp_path / "board")
    if where == "objective":
        board = dataclasses.replace(board, objective="pointing")
    else:
        row = Row(model="tiny-cnn", loss="bce", recipe="toy", params={"recipe": {"select_on": "pointing"}})
        board = dataclasses.replace(board, rows=(row,))
    with pytest.raises(UsageError, match="metric 'pointing' is of heat maps, which are made of the finished network"):
        run(board, toys)


def test_a_file_of_predictions_has_no_heat_maps(harness):
    np.savez("p.npz", labels=["a"], image=["i", "j"], logits=np.zeros((2, 1)), targets=np.array([[0], [1]]))
    code, _, error = harness("score", "p.npz", "--metrics", "auroc,pointing")
    assert code == 2
    assert "metric 'pointing' is of heat maps, which a file of predictions does not have" in error


# --- what it is for: a trained network looks where findings are, and one of random weights does not -------------------

PHANTOM = {"size": 128, "train": 1000, "val": 100, "test": 400}


def count_won(metrics) -> int:
    """Labels whose pointing game beats the image's center, with an interval of the difference above 0."""
    labels = metrics["pointing"].maps.baselines["center"].per_label.values()
    return sum(one.interval is not None and one.interval[0] > 0 for one in labels)


def run_phantom(folder, **recipe):
    registry = load_registry([FIXTURES / "narrow.py"])
    sizes = {"size": 128, "load_size": 128}
    row = Row(model="narrow-chexnet", loss="bce", recipe="demo", params={"recipe": {**sizes, **recipe}})
    board = make_board(folder / "board", metrics=("auroc", *MAPS), dataset="phantom", options=PHANTOM, rows=(row,))
    run(board, registry)
    return read(board)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_trained_network_points_better_than_the_center(tmp_path):
    record = run_phantom(tmp_path, epochs=8)
    assert record.metrics["auroc"].macro > 0.75
    assert count_won(record.metrics) >= 5
    assert record.metrics["pointing"].maps.baselines["center"].interval[0] > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in (1, 2, 3))])
def test_a_network_of_random_weights_does_not(tmp_path, registry, seed):
    source = find_source(registry.offer("dataset", "phantom"), PHANTOM | {"train": 200}, tmp_path)
    recipe = Recipe(name="r", size=128, load_size=128)
    prepared = prepare(source, load_disjoint(source), recipe.load_size, tmp_path)
    task, placed = make_task(prepared, recipe, Inputs()), place(prepared, torch.device("cpu"))
    torch.manual_seed(seed)
    network = build_narrow(task)
    explainer = Explainer.of(network, task, recipe, mirrors=True)
    pointing = registry.metric("pointing")
    maps = hold_against_boxes(explainer, placed, find_boxes(prepared.data), [pointing])
    drawn = draw_resamples(prepared.data.table["patient"][prepared.data.table["split"] == "test"], seed="x")
    part, _ = measure_maps(maps, pointing, prepared.data.labels, drawn)
    assert count_won({"pointing": part}) < 5
    assert part.maps is not None
    center, usual = (part.maps.baselines[name].interval for name in ("center", "usual place"))
    assert center is not None
    assert center[0] < 0
    assert usual is not None
    assert usual[1] < 0
