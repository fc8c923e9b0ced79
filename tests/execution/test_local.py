"""A board is run combo by combo; what fails is a result, what is done is kept."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import DataError, UsageError
from harness.board import Board, Row
from harness.errors import UnknownNameError, WeightsError
from harness.evaluation.predictions import load_predictions
from harness.execution import local, planning
from harness.execution.events import ComboFinished, ComboStarted, EpochFinished
from harness.execution.planning import Settings
from harness.registry import Registry, load_registry
from harness.results.provenance import find_commit
from harness.results.record import Record
from harness.results.store import read_records

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"


@pytest.fixture(scope="module")
def toys() -> Registry:
    return load_registry([TOY])


@pytest.fixture
def board(tmp_path) -> Board:
    return make_board(tmp_path)


def make_board(folder: Path, *models: str, **changes) -> Board:
    rows = tuple(Row(model=model, loss="bce", recipe="toy") for model in models or ("toy-net",))
    board = Board(
        folder=folder / "board",
        title="Toys",
        objective="auroc",
        seeds=(0, 1),
        metrics=("auroc", "auprc", "f1", "brier", "ece"),
        dataset="toy",
        rows=rows,
    )
    return dataclasses.replace(board, **changes)


def settings(folder: Path, **changes) -> Settings:
    return dataclasses.replace(Settings(data_root=folder / "data", cache=folder / "cache", device="cpu"), **changes)


def run(board: Board, registry: Registry, folder: Path, **changes) -> tuple[Record, ...]:
    where = settings(folder, **changes)
    return local.run(planning.plan(board, registry, where, ignore), ignore)


def ignore(event: object) -> None:
    """Listens to nothing."""


def test_every_combo_leaves_a_record_with_everything_in_it(board, toys, tmp_path):
    records = run(board, toys, tmp_path)
    assert [record.status for record in records] == ["done", "done"]
    record = read_records(board.folder).records[0]
    assert record == records[0]
    f1 = {f"f1@{policy}" for policy in ("0.5", "val-f1", "val-youden", "val-sens0.9", "val-spec0.9", "oracle")}
    assert set(record.metrics) == {"auroc", "auprc", "brier", "ece"} | f1
    assert record.dataset.splits["train"].images == 24
    assert record.training is not None
    assert len(record.training.history) == record.training.epochs == 3
    assert record.efficiency.parameters == 467
    assert record.efficiency.train_images_per_second is not None
    assert record.combo.resolved["recipe"]["lr"] == 0.01
    assert record.thresholds["0.5"] == {"first": 0.5, "second": 0.5, "third": 0.5}
    assert str(tmp_path) not in record.model_dump_json()


def test_the_commit_is_looked_up_before_the_first_training(board, toys, tmp_path):
    found = []

    def listen(event: object) -> None:
        if isinstance(event, ComboStarted):
            found.append(find_commit.cache_info().currsize)

    find_commit.cache_clear()
    local.run(planning.plan(board, toys, settings(tmp_path), ignore), listen)
    assert found == [1, 1]


def test_what_is_stored_is_what_was_measured(board, toys, tmp_path):
    from sklearn.metrics import roc_auc_score

    record = run(board, toys, tmp_path)[0]
    folder = board.folder / "runs" / record.key
    predictions = load_predictions(folder / "predictions-test.npz")
    for index, label in enumerate(predictions.labels):
        expected = roc_auc_score(predictions.targets[:, index], predictions.logits[:, index])
        assert record.metrics["auroc"].per_label[label].value == pytest.approx(expected, abs=1e-12)
    assert set(record.artifacts) == {path.name for path in folder.iterdir()} | {"resamples.npz"}


def test_the_stored_weights_give_the_stored_predictions(board, toys, tmp_path):
    from safetensors.torch import load_file

    from harness.data.augmentation import evaluation_views
    from harness.training.task import make_task

    planned = planning.plan(board, toys, settings(tmp_path), ignore)
    record = local.run(planned, ignore)[0]
    job = planned[0].job
    task = make_task(job.prepared, job.choices.recipe, job.choices.model.inputs)
    network = job.choices.model.build(task, **job.choices.model_params)
    network.load_state_dict(load_file(board.folder / "runs" / record.key / "weights.safetensors"))
    test = (job.prepared.data.table["split"] == "test").to_numpy()
    images = torch.from_numpy(job.prepared.images[test])
    (view,) = evaluation_views(images, job.choices.recipe, task, mirrors=False)
    logits = network.eval()(view).detach()
    stored = load_predictions(board.folder / "runs" / record.key / "predictions-test.npz")
    np.testing.assert_allclose(stored.logits, logits.numpy(), atol=1e-5)


def test_a_second_run_trains_nothing(board, toys, tmp_path):
    run(board, toys, tmp_path)
    planned = planning.plan(board, toys, settings(tmp_path), ignore)
    assert [item.reason for item in planned] == [None, None]
    assert local.run(planned, ignore) == ()


def test_a_repeated_run_gives_the_same_numbers(toys, tmp_path):
    first, second = (run(make_board(tmp_path / name), toys, tmp_path) for name in ("a", "b"))
    assert [record.metrics for record in first] == [record.metrics for record in second]
    assert [record.artifacts for record in first] == [record.artifacts for record in second]


def test_another_row_changes_no_number(toys, tmp_path):
    alone = run(make_board(tmp_path / "a"), toys, tmp_path)
    beside = run(make_board(tmp_path / "b", "tiny-cnn", "toy-net"), toys, tmp_path)
    assert [r.metrics for r in beside if r.combo.model == "toy-net"] == [r.metrics for r in alone]


def test_rows_of_several_sizes_are_each_trained_on_images_of_their_own(toys, tmp_path):
    sizes: tuple[dict[str, dict[str, int]], ...] = ({}, {"recipe": {"size": 24, "load_size": 24}})
    rows = tuple(Row(model="toy-net", loss="bce", recipe="toy", params=params) for params in sizes)
    together = run(make_board(tmp_path, rows=rows, seeds=(0,)), toys, tmp_path)
    for place, row in enumerate(rows):
        (alone,) = run(make_board(tmp_path / str(place), rows=(row,), seeds=(0,)), toys, tmp_path)
        assert alone.metrics == together[place].metrics
        assert alone.artifacts["predictions-test.npz"] == together[place].artifacts["predictions-test.npz"]


def test_a_stopped_run_keeps_what_is_finished_and_goes_on(toys, tmp_path):
    board = make_board(tmp_path, "toy-net", "tiny-cnn")

    def stop(event: object) -> None:
        if isinstance(event, ComboStarted) and event.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local.run(planning.plan(board, toys, settings(tmp_path), ignore), stop)
    kept = read_records(board.folder).records
    assert len(kept) == 2
    events: list[object] = []
    local.run(planning.plan(board, toys, settings(tmp_path), ignore), events.append)
    assert sum(isinstance(event, ComboStarted) for event in events) == 2
    assert all(record in read_records(board.folder).records for record in kept)


@pytest.mark.slow
def test_a_killed_run_keeps_every_finished_record_and_leaves_no_half_one(tmp_path):
    command = [sys.executable, "-c", "from harness.cli.main import main; main()", "run"]
    rows = ["--dataset", "toy", "--models", "toy-net,tiny-cnn", "--losses", "bce,focal", "--recipes", "toy"]
    new = [*rows, "--seeds", "0,1", "--board", "board"]
    environment = os.environ | {"HARNESS_PLUGIN": str(TOY), "HARNESS_DEVICE": "cpu", "HARNESS_CACHE_DIR": "cache"}
    running = subprocess.Popen([*command, *new], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    records = tmp_path / "board" / "records"
    while len(list(records.glob("[!.]*.json"))) < 2:
        assert running.poll() is None
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = {path: path.read_bytes() for path in records.glob("[!.]*.json")}
    assert read_records(tmp_path / "board").problems == ()
    again = subprocess.run(
        [*command, "board"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert again.stderr.count("✓") == 8 - len(kept)
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert len(read_records(tmp_path / "board").records) == 8


@pytest.mark.parametrize(
    ("model", "kind", "says"),
    [
        ("toy-raising", "plugin", "RuntimeError: this network never builds"),
        ("toy-nan", "not_finite", "stopped being a number in epoch 1"),
        ("toy-greedy", "out_of_memory", "MemoryError: more than there is"),
    ],
)
def test_a_combo_that_fails_is_recorded_with_its_kind_and_the_others_go_on(toys, tmp_path, model, kind, says):
    board = make_board(tmp_path, model, "toy-net", seeds=(0,))
    failed, done = run(board, toys, tmp_path)
    assert (failed.status, done.status) == ("failed", "done")
    assert failed.failure is not None
    assert failed.failure.kind == kind
    assert says in failed.failure.message
    again = planning.plan(board, toys, settings(tmp_path), ignore)
    assert [item.reason for item in again] == [f"failed before: {kind}", None]


def test_weights_that_cannot_be_had_fail_the_combo_in_one_line(toys, tmp_path):
    rows = (
        Row(model="chexnet", loss="bce", recipe="toy", params={"recipe": {"weights": "imagenet"}}),
        Row(model="toy-net", loss="bce", recipe="toy"),
    )
    failed, done = run(make_board(tmp_path, rows=rows, seeds=(0,)), toys, tmp_path)
    assert failed.failure is not None
    assert (failed.failure.kind, done.status) == ("data", "done")
    assert "are not in the local cache" in failed.failure.message


def test_the_record_says_how_a_file_of_initial_weights_was_placed(toys, tmp_path):
    state = {"module.0.weight": torch.zeros(8, 3, 3, 3), "module.0.bias": torch.zeros(8), "loss.scale": torch.ones(1)}
    torch.save({"state_dict": state}, tmp_path / "theirs.pth")
    weights = {"weights": str(tmp_path / "theirs.pth")}
    row = Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": weights})
    (record,) = run(make_board(tmp_path, rows=(row,), seeds=(0,)), toys, tmp_path)
    assert record.training is not None
    assert record.training.execution.notes[0] == (
        "initial weights of theirs.pth: 2 tensors found their place; 'state_dict/module.' stands before their names; "
        "4.bias, 4.weight stay random; the file's other tensors are left out, 1 in all (state_dict/loss.scale)"
    )


def test_where_no_combo_can_have_its_weights_nothing_is_prepared(toys, tmp_path):
    rows = (Row(model="chexnet", loss="bce", recipe="chexnet"), Row(model="vit-b16", loss="bce", recipe="vit"))
    with pytest.raises(WeightsError, match="'chexnet' are not in the local cache"):
        planning.plan(make_board(tmp_path, rows=rows), toys, settings(tmp_path), ignore)
    assert not (tmp_path / "cache").exists()


def test_a_loss_that_cannot_leave_out_unknown_targets_is_skipped(toys, tmp_path):
    rows = (Row(model="toy-net", loss="toy-scalar", recipe="toy"), Row(model="toy-net", loss="bce", recipe="toy"))
    board = make_board(tmp_path, rows=rows, seeds=(0,), options={"unknown": True})
    skipped, done = run(board, toys, tmp_path)
    assert (skipped.status, done.status) == ("skipped", "done")
    assert skipped.failure is not None
    assert "unknown targets" in skipped.failure.message
    complete = run(make_board(tmp_path / "known", rows=rows[:1], seeds=(0,)), toys, tmp_path)
    assert complete[0].status == "done"


def test_a_row_whose_weight_file_is_not_there_is_skipped_until_it_comes_and_then_keeps_its_result(
    toys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = (
        Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"weights": "toy.safetensors"}}),
        Row(model="toy-net", loss="bce", recipe="toy"),
    )
    board = make_board(tmp_path, rows=rows, seeds=(0,))
    skipped, done = run(board, toys, tmp_path)
    assert (skipped.status, done.status) == ("skipped", "done")
    assert skipped.failure is not None
    assert skipped.failure.kind == "data"
    assert "recipe.weights is 'toy.safetensors'" in skipped.failure.message
    assert run(board, toys, tmp_path) == ()
    weights = board.folder / "runs" / done.key / "weights.safetensors"
    came = weights.rename(tmp_path / "toy.safetensors")
    (now,) = run(board, toys, tmp_path)
    assert (now.status, now.combo.row) == ("done", rows[0].name)
    came.unlink()
    told: list[object] = []
    kept, again = planning.plan(board, toys, settings(tmp_path, force=True), told.append)
    assert (kept.reason, again.reason) == (None, "forced")
    assert f"{now.combo.row}--s0 keeps the result that it has: recipe.weights is" in str(told)
    with pytest.raises(WeightsError, match="there is no such file; bring it to where the run is started, or name"):
        planning.plan(board, toys, settings(tmp_path, only=now.combo.row), ignore)


def test_what_a_row_oversamples_is_in_its_record_and_a_label_that_is_not_there_is_refused_before_anything_runs(
    toys, tmp_path
):
    rows = (
        Row(model="toy-net", loss="bce", recipe="toy"),
        Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"oversample": {"first": 0.5}}}),
    )
    plain, more = run(make_board(tmp_path, rows=rows, seeds=(0,)), toys, tmp_path)
    assert more.combo.resolved["recipe"] == plain.combo.resolved["recipe"] | {"oversample.first": 0.5}
    assert (more.status, more.dataset) == ("done", plain.dataset)
    assert more.training is not None
    assert plain.training is not None
    assert more.training.history[0].train_loss != plain.training.history[0].train_loss
    wrong = Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"oversample": {"fist": 0.5}}})
    board = make_board(tmp_path / "other", rows=(rows[0], wrong))
    with pytest.raises(UnknownNameError, match=r"label in recipe\.oversample 'fist': did you mean 'first'"):
        run(board, toys, tmp_path)
    assert not board.folder.exists()


def test_a_metric_at_a_threshold_of_one_label_alone_is_measured_and_its_label_is_known_before_anything_runs(
    toys, tmp_path
):
    board = make_board(tmp_path, metrics=("auroc", "f1@val-f1:third"), seeds=(0,))
    (record,) = run(board, toys, tmp_path)
    assert record.thresholds["val-f1:third"] == {"first": 0.5, "second": 0.5} | {
        "third": record.thresholds["val-f1"]["third"]
    }
    values = {policy: record.metrics[f"f1@{policy}"].per_label for policy in ("0.5", "val-f1", "val-f1:third")}
    assert values["val-f1:third"] == values["0.5"] | {"third": values["val-f1"]["third"]}
    wrong = make_board(tmp_path / "other", metrics=("auroc", "f1@val-f1:thrid"))
    with pytest.raises(UnknownNameError, match=r"'f1@val-f1:thrid': 'thrid': did you mean 'third'"):
        run(wrong, toys, tmp_path)
    assert not wrong.folder.exists()


def test_a_board_of_which_nothing_can_be_run_is_refused(toys, tmp_path):
    rows = (Row(model="toy-net", loss="toy-scalar", recipe="toy"),)
    board = make_board(tmp_path, rows=rows, options={"unknown": True})
    with pytest.raises(UsageError, match="nothing can be run: loss 'toy-scalar'"):
        run(board, toys, tmp_path)
    with pytest.raises(UsageError, match="takes images of 32 px only"):
        run(make_board(tmp_path, "toy-fixed"), toys, tmp_path)
    assert not board.folder.exists()


def test_a_loss_of_another_shape_than_declared_is_a_plugins_failure(toys, tmp_path):
    (record,) = run(
        make_board(tmp_path, rows=(Row(model="toy-net", loss="toy-lying", recipe="toy"),), seeds=(0,)), toys, tmp_path
    )
    assert record.failure is not None
    assert (record.failure.kind, "must return (8, 3)" in record.failure.message) == ("plugin", True)


def test_changed_data_makes_a_record_stale_and_a_new_metric_does_not(toys, tmp_path):
    run(make_board(tmp_path), toys, tmp_path)
    more = planning.plan(make_board(tmp_path, options={"count": 64}), toys, settings(tmp_path), ignore)
    assert [item.reason for item in more] == ["out of date: data, choices or versions have changed"] * 2
    metric = planning.plan(make_board(tmp_path, metrics=("auroc", "toy-prevalence")), toys, settings(tmp_path), ignore)
    assert [item.reason for item in metric] == [None, None]


def test_only_and_seeds_choose_and_force_repeats(toys, tmp_path):
    board = make_board(tmp_path, "toy-net", "tiny-cnn")
    assert len(run(board, toys, tmp_path, only="tiny*", seeds=(1,))) == 1
    planned = planning.plan(board, toys, settings(tmp_path, only="tiny*", force=True), ignore)
    assert [item.reason for item in planned] == ["no record", "forced"]
    with pytest.raises(UnknownNameError, match="unknown row 'nothing'"):
        planning.plan(board, toys, settings(tmp_path, only="nothing"), ignore)
    with pytest.raises(UsageError, match="the board has the seeds 0, 1"):
        planning.plan(board, toys, settings(tmp_path, seeds=(7,)), ignore)


def weigh(weights) -> Row:
    return Row(model="toy-net", loss="weighted-bce", recipe="toy", params={"loss": {"weights": weights}})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"options": {"leak": True}}, "allow_leaks = true"),
        ({"options": {"empty_test": True}}, "has no images in test"),
        ({"options": {"cuont": 1}}, "did you mean 'count'"),
        ({"options": {"count": "many"}}, "count must be a whole number, got .many."),
        ({"options": {"allow_missing": "yes"}}, "allow_missing must be true or false"),
        ({"options": {"file": "/home/anna/my data/labels.csv"}}, "a path of this machine, which records would publish"),
        ({"dataset": "toyy"}, "unknown dataset 'toyy': did you mean 'toy'"),
        ({"metrics": ("auroc", "aucroc")}, "unknown metric 'aucroc': did you mean 'auroc'"),
        ({"metrics": ("auroc", "f1@0.7")}, "unknown threshold policy"),
        ({"rows": (Row(model="toy-nett", loss="bce", recipe="toy"),)}, "did you mean 'toy-net'"),
        ({"rows": (weigh([1.0, 2.0]),)}, r"loss.weights is \[1.0, 2.0\]; give a list of 3 numbers, for first, second"),
        ({"rows": (weigh({"first": 1.0, "second": 2}),)}, "loss.weights has no weight for third; give one for each"),
        ({"rows": (weigh([1.0, -1.0, 2.0]),)}, "loss.weights of second is -1.0; give a number above 0"),
        (
            {"rows": (Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"weights": "gone.pth"}}),)},
            "there is no such file",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(toys, tmp_path, changes, says):
    board = make_board(tmp_path, **changes)
    with pytest.raises((UsageError, UnknownNameError, DataError, Exception), match=says):
        planning.plan(board, toys, settings(tmp_path), ignore)
    assert not board.folder.exists()


def test_a_leak_that_is_allowed_is_run_and_noted(toys, tmp_path):
    board = make_board(tmp_path, options={"leak": True, "allow_leaks": True}, seeds=(0,))
    assert run(board, toys, tmp_path)[0].combo.options["allow_leaks"] is True


@pytest.mark.parametrize(
    ("select_on", "named"), [("objective", "auroc"), ("loss", "loss"), ("brier", "brier"), ("f1@0.5", "f1")]
)
def test_the_recipe_says_what_picks_the_epoch(toys, tmp_path, select_on, named):
    rows = (Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"select_on": select_on}}),)
    (record,) = run(make_board(tmp_path, rows=rows, seeds=(0,)), toys, tmp_path)
    assert record.training is not None
    assert record.training.select_on == named
    values = [epoch.selected_on for epoch in record.training.history if epoch.selected_on is not None]
    best = min(values) if named in ("loss", "brier") else max(values)
    assert record.training.best_value == best == record.training.history[record.training.best_epoch - 1].selected_on


def test_an_unknown_choice_of_epoch_is_refused(toys, tmp_path):
    rows = (Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"select_on": "acuracy"}}),)
    with pytest.raises(UnknownNameError, match="unknown metric 'acuracy'"):
        run(make_board(tmp_path, rows=rows), toys, tmp_path)


def test_listeners_hear_every_epoch_and_combo(board, toys, tmp_path):
    events: list[object] = []
    local.run(planning.plan(board, toys, settings(tmp_path), events.append), events.append)
    assert [event.epoch.number for event in events if isinstance(event, EpochFinished)] == [1, 2, 3] * 2
    assert sum(isinstance(event, ComboFinished) for event in events) == 2


def test_unknown_targets_are_trained_and_measured_around(toys, tmp_path):
    (record,) = run(make_board(tmp_path, options={"unknown": True}, seeds=(0,)), toys, tmp_path)
    part = record.metrics["auroc"].per_label["first"]
    assert record.status == "done"
    assert part.positives + part.negatives < record.dataset.splits["test"].images


def test_records_are_valid_json_without_nan(board, toys, tmp_path):
    run(board, toys, tmp_path)
    for path in (board.folder / "records").glob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)
