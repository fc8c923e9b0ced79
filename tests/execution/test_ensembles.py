"""Rows made of others' stored predictions: kept in board.toml, made again when a member changes, marked everywhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.board import Ensemble, open_board
from harness.errors import UsageError
from harness.evaluation.predictions import load_predictions
from harness.execution.ensembles import add_costs
from harness.results.layout import predictions_file, run_path
from harness.results.record import EfficiencyPart, EnsemblePart, Record
from harness.results.store import read_record, read_records, remove_record

A, B = "tiny-cnn--bce--toy", "toy-net--bce--toy"
NAME = Ensemble(rows=(A, B)).name


@pytest.fixture
def board(toy_board, tmp_path) -> Path:
    """A copy of a board of two rows with two seeds, in the folder where commands are run."""
    folder: Path = tmp_path / "b"
    shutil.copytree(toy_board, folder)
    return folder


@pytest.fixture
def made(harness, board):
    """The same with both rows as an ensemble."""
    code, _, err = harness("ensemble", "b", A, B)
    assert code == 0, err
    return board


def read(folder: Path, row: str = NAME, seed: int = 0) -> Record:
    record = read_record(folder, row, seed)
    assert record is not None
    return record


def part(record: Record) -> EnsemblePart:
    assert record.ensemble is not None
    return record.ensemble


def load(folder: Path, record: Record, split: str):
    return load_predictions(run_path(folder, record.key) / predictions_file(split))


def change(folder: Path, row: str, seed: int) -> None:
    """Give a member's record another key, as if it had been trained again."""
    record = read(folder, row, seed)
    key = "0123456789abcdef"
    shutil.copytree(run_path(folder, record.key), run_path(folder, key))
    path = folder / "records" / f"{row}--s{seed}.json"
    path.write_text(path.read_text().replace(record.key, key))


def test_each_seed_is_the_mean_of_its_members(made):
    for seed in (0, 1):
        record = read(made, seed=seed)
        assert [(one.row, one.key, one.weight) for one in part(record).members] == [
            (row, read(made, row, seed).key, 1) for row in (A, B)
        ]
        for split in ("val", "test"):
            stored = [load(made, read(made, row, seed), split) for row in (A, B)]
            ensemble = load(made, record, split)
            order = np.argsort(stored[0].image)
            assert ensemble.scores == pytest.approx(np.mean([one.scores[order] for one in stored], axis=0))
        assert record.thresholds["val-f1"]
        assert record.calibration is not None


def test_its_cost_is_the_sum_of_its_members(made):
    costs = [read(made, row).efficiency for row in (A, B)]
    own = read(made).efficiency
    speeds = [one.inference_images_per_second or 0 for one in costs]
    assert own.parameters == sum(one.parameters or 0 for one in costs)
    assert own.seconds["train"] == pytest.approx(sum(one.seconds["train"] for one in costs))
    assert own.inference_images_per_second == pytest.approx(1 / sum(1 / speed for speed in speeds))


def test_a_cost_that_one_member_does_not_tell_is_unknown_of_all():
    known = EfficiencyPart(parameters=3, inference_images_per_second=2.0, peak_device_bytes=5, seconds={"train": 1.0})
    both = add_costs([known, known])
    assert (both.parameters, both.inference_images_per_second, both.peak_device_bytes) == (6, 1.0, 5)
    assert add_costs([known, EfficiencyPart()]) == EfficiencyPart()


def test_a_run_makes_what_board_toml_asks_for_and_then_has_nothing_to_do(harness, board):
    with (board / "board.toml").open("a") as file:
        file.write(f'\n[[ensembles]]\nrows = ["{A}", "{B}"]\nname = "Both"\n')
    assert "waiting" in harness("status", "b")[1]
    code, out, err = harness("run", "b")
    assert (code, "done, ensemble of 2 rows" in out) == (0, True), err
    before = (board / "records" / f"{NAME}--s0.json").read_bytes()
    assert harness("run", "b")[0] == 0
    assert (board / "records" / f"{NAME}--s0.json").read_bytes() == before
    assert "6 of 6 done" in harness("status", "b")[1]
    assert harness("validate", "b")[0] == 0, harness("validate", "b")[1]


def test_an_ensemble_is_out_of_date_when_a_member_changes_and_a_run_makes_it_again(harness, made):
    from harness.execution.ensembles import make_ensembles
    from harness.registry import load_registry

    change(made, B, 1)
    _, out, _ = harness("status", "b")
    assert "its members have changed; harness run makes it again, without training" in out
    _, out, _ = harness("show", f"b::{NAME}")
    assert "seed 1: out of date: its members have changed" in out
    before = read(made, seed=0)
    told: list[str] = []
    assert make_ensembles(open_board(made), load_registry(), told.append, told.append) == []
    assert told == [f"{NAME}--s1"]
    assert read(made, seed=0) == before
    assert part(read(made, seed=1)).members[1].key == "0123456789abcdef"


def test_a_seed_that_lacks_a_member_has_no_ensemble_and_that_is_said(harness, board):
    remove_record(board, read(board, B, 1))
    code, _, err = harness("ensemble", "b", A, B, "--name", "Both")
    assert code == 0
    assert f"seed 1 has no Both: {B} has no current result of this seed" in err
    assert [record.combo.seed for record in read_records(board).records if record.ensemble] == [0]


def test_greedy_takes_what_there_is_and_says_how_often(harness, board):
    code, out, err = harness("ensemble", "b", "--greedy", "4", "--json")
    assert code == 0, err
    (row,) = (row for row in json.loads(out)["rows"] if row["name"].startswith("ensemble"))
    record = read(board, row["name"])
    found = part(record)
    assert (found.metric, found.candidates, len(found.values)) == ("auroc", [A, B], 4)
    best = sum(member.weight for member in found.members)
    assert found.values[best - 1] == max(value or 0 for value in found.values)
    shown = harness("show", f"b::{row['name']}")[1]
    assert "picked from 2 rows by AUROC on validation" in shown
    assert "harness ensemble b '*' --greedy 4" in shown


def test_page_and_table_mark_an_ensemble_and_link_its_members(harness, made):
    page = (made / "index.html").read_text()
    assert ">ensemble of 2 rows</a>" in page.replace("<wbr>", "")
    assert f'<li><a href="#{A}">' in page or f'<li><a href="#row-{A}">' in page
    assert f"<pre>harness ensemble b {A} {B}</pre>" in page
    assert "Where an ensemble is compared with one of its members" in page
    table = (made / "board.csv").read_text()
    assert f"{A}; {B}" in table
    assert "members" in table.splitlines()[0].split(",")


def test_a_comparison_with_a_member_says_what_both_share(harness, made):
    _, out, err = harness("compare", f"b::{NAME}", f"b::{A}")
    assert f"b::{NAME} is an ensemble with b::{A} among its members" in " ".join((out + err).split())


def test_so_it_does_where_predictions_are_compared(harness, made):
    _, out, err = harness("compare", f"b::{NAME}", f"b::{A}", "--unit", "patient")
    assert f"b::{NAME} is an ensemble with b::{A} among its members" in " ".join((out + err).split())


def test_ranks_have_no_decisions(harness, board):
    assert harness("ensemble", "b", A, B, "--average", "rank")[0] == 0
    record = read(board, Ensemble(rows=(A, B), average="rank").name)
    assert record.metrics["auroc"].macro is not None
    assert record.metrics["brier"].macro is None
    assert record.calibration is None


def test_rescoring_evaluates_an_ensemble_as_any_row(harness, made):
    before = read(made)
    text = (made / "board.toml").read_text().replace('"brier"', '"brier", "ece"')
    (made / "board.toml").write_text(text)
    assert harness("rescore", "b")[0] == 0
    after = read(made)
    assert after.metrics.keys() - before.metrics.keys() == {"ece"}
    assert after.metrics["auroc"] == before.metrics["auroc"]
    assert after.ensemble == before.ensemble


def test_taken_out_of_board_toml_it_is_a_leftover_that_clean_removes(harness, made):
    text = (made / "board.toml").read_text()
    (made / "board.toml").write_text(text[: text.index("[[ensembles]]")])
    assert "2 not in board.toml any more" in harness("status", "b")[1]
    assert harness("clean", "b", "--yes")[0] == 0
    assert not list((made / "records").glob("ensemble*"))


def test_merging_takes_an_ensemble_that_both_boards_name(harness, made, toy_board, tmp_path):
    shutil.copytree(toy_board, tmp_path / "c")
    shutil.copy(made / "board.toml", tmp_path / "c" / "board.toml")
    code, out, _ = harness("merge", "c", "b", "--json")
    assert (code, json.loads(out)["taken"]) == (0, [f"{NAME}--s0", f"{NAME}--s1"])
    assert harness("validate", "c")[0] == 0


def test_predictions_that_are_not_here_are_named_and_the_board_stays(harness, board):
    (run_path(board, read(board, B, 1).key) / predictions_file("val")).unlink()
    code, _, err = harness("ensemble", "b", A, B)
    assert code == 1
    assert f"{NAME}--s1: {B}--s1: its predictions are not in" in " ".join(err.split())
    assert read(board, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((A, "toy-nut--bce--toy"), "toy-nut--bce--toy"),
        ((A,), "it needs two rows with a result of this seed"),
        ((), "name the rows to average, or give --greedy K"),
        ((A, B, "--rows", "t*"), "--rows says what --greedy picks from"),
    ],
)
def test_what_is_no_ensemble_is_refused_and_nothing_is_written(harness, board, arguments, message):
    before = (board / "board.toml").read_bytes()
    code, _, err = harness("ensemble", "b", *arguments)
    assert (code, message in " ".join(err.split())) == (2, True), err
    assert (board / "board.toml").read_bytes() == before


def test_what_cannot_be_picked_by_the_objective_is_refused_before_anything_is_written(harness, board):
    text = (board / "board.toml").read_text().replace('objective = "auroc"', 'objective = "brier"')
    (board / "board.toml").write_text(text)
    code, _, err = harness("ensemble", "b", "--greedy", "2", "--average", "rank")
    assert (code, "an average of ranks has no Brier" in err) == (2, True), err
    assert (board / "board.toml").read_text() == text


def test_what_another_process_is_making_is_left_to_it(harness, board):
    from harness.execution.claims import Claims

    claim = Claims(board).take(f"{NAME}--s0")
    assert claim is not None
    assert harness("ensemble", "b", A, B)[0] == 0
    claim.release()
    assert [record.combo.seed for record in read_records(board).records if record.ensemble] == [1]


def test_a_submission_without_validation_is_averaged_and_then_nothing_is_fitted(harness, board):
    stored = {seed: load(board, read(board, A, seed), "test") for seed in (0, 1)}
    for seed, one in stored.items():
        replace(one, logits=one.logits + np.float32(0.1) * np.arange(3, dtype=np.float32)).save(Path(f"{seed}.npz"))
    given = ("--name", "Theirs", "--about", "by mail", "--predictions", "0.npz,1.npz")
    code, _, err = harness("submit", "b", *given)
    assert code == 0, err
    assert harness("ensemble", "b", A, "external--Theirs")[0] == 0
    record = read(board, Ensemble(rows=(A, "external--Theirs")).name)
    assert record.is_without_validation
    assert "val-f1" not in record.thresholds
    assert record.efficiency == EfficiencyPart()
    assert harness("validate", "b")[0] == 0
    code, out, _ = harness("ensemble", "b", "--greedy", "2", "--json")
    (row,) = (row for row in json.loads(out)["rows"] if row["name"] == Ensemble(greedy=2).name)
    assert "external--Theirs" not in row["ensemble"]["members"], "nothing can be picked without validation"


def test_an_ensemble_has_another_name_only_in_board_toml(harness, made):
    code, _, err = harness("ensemble", "b", A, B, "--name", "Both")
    assert (code, "the board has this ensemble without a name; change its name in" in err) == (2, True)


def test_an_ensemble_is_no_member_and_predicts_nothing_new(harness, made):
    code, _, err = harness("ensemble", "b", A, NAME)
    assert (code, f"{NAME} is an ensemble, which can be no member" in err) == (2, True)
    code, _, err = harness("predict", f"b::{NAME}", "toy")
    assert (code, "has no network of its own: name one of its members" in " ".join(err.split())) == (2, True)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('rows = ["none--bce--toy"]', "names the row 'none--bce--toy', which the board does not have"),
        ('average = "mean"', "there is no 'mean'"),
        ("greedy = 0", "greater than or equal to 1"),
        ("steps = 3", "unknown key 'ensembles.0.steps'"),
        (f'name = "x"\n[[ensembles]]\nrows = ["{A}", "{B}"]\nname = "x"', "two rows are called 'x'"),
        ('rows = ["*"]\n[[ensembles]]\naverage = "probability"', "are made of the same"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_name(board, table, message):
    with (board / "board.toml").open("a") as file:
        file.write(f"\n[[ensembles]]\n{table}\n")
    with pytest.raises(UsageError, match=message):
        open_board(board)


def plan_of(harness, *more: str) -> dict[str, tuple[bool, str | None]]:
    code, out, err = harness("run", "b", "--dry-run", "--json", *more)
    assert code == 0, err
    return {one["combo"]: (one["make"], one["reason"]) for one in json.loads(out)["ensembles"]}


def test_a_dry_run_says_which_ensembles_would_be_made_and_why(harness, made):
    zero, one = (f"{NAME}--s{seed}" for seed in (0, 1))
    assert plan_of(harness) == {zero: (False, None), one: (False, None)}
    remove_record(made, read(made, NAME, 0))
    assert plan_of(harness) == {zero: (True, "no record"), one: (False, None)}
    forced = plan_of(harness, "--force", "--only", A, "--seeds", "1")
    assert forced[one] == (True, f"after the training of {A}")
    remove_record(made, read(made, A, 1))
    assert plan_of(harness)[one] == (True, f"after the training of {A}")
    assert plan_of(harness, "--seeds", "0")[one] == (False, f"{A} has no current result of this seed")
    code, out, _ = harness("run", "b", "--dry-run")
    assert (code, "2 of 2 ensembles would be made, without training" in out) == (0, True)


def test_a_dry_run_tells_of_an_ensemble_whose_members_have_changed(harness, made):
    change(made, NAME, 0)
    assert plan_of(harness)[f"{NAME}--s0"] == (True, "its members have changed")


def test_a_new_board_with_other_parameters_leaves_out_an_ensemble_of_rows_that_it_lacks_and_says_so(harness, made):
    code, _, err = harness("run", "b", "--board", "c", "--set", "recipe.epochs=1", "--dry-run")
    says = f"the ensemble {NAME} is left out: it takes {A}, {B}, which the board does not have"
    assert (code, says in " ".join(err.split())) == (0, True), err


def test_a_new_board_with_other_parameters_keeps_the_ensembles_of_rows_that_are_there(made, tmp_path):
    from harness.definition import BoardRequest, define

    text = (made / "board.toml").read_text()
    (made / "board.toml").write_text(f'{text}\n[[ensembles]]\nrows = ["t*"]\nname = "all"\n')
    epochs = {"recipe": {"epochs": 1}}
    wanted = define(BoardRequest(board=str(made), folder=tmp_path / "c", params=epochs))
    assert [one.title for one in wanted.board.ensembles] == ["all"]
    assert wanted.remarks == (f"the ensemble {NAME} is left out: it takes {A}, {B}, which the board does not have",)
    wanted.write()
    assert [one.title for one in open_board(tmp_path / "c").ensembles] == ["all"]
    again = define(BoardRequest(board=str(made), folder=tmp_path / "c", params=epochs))
    assert (again.text, again.remarks) == (None, wanted.remarks)


def test_rows_that_go_to_another_board_leave_their_ensembles_and_that_is_said(made, toy_board, tmp_path):
    from harness.definition import BoardRequest, define

    other = shutil.copytree(toy_board, tmp_path / "c")
    wanted = define(BoardRequest(board=str(made), folder=other))
    assert (wanted.text, [NAME in remark for remark in wanted.remarks]) == (None, [True])
    assert "harness ensemble adds it" in wanted.remarks[0]


def test_a_new_board_of_other_data_keeps_its_ensembles(registry, made, tmp_path):
    from harness.definition import BoardRequest, define

    wanted = define(BoardRequest(board=str(made), folder=tmp_path / "c", options={"count": 60}))
    assert [one.name for one in wanted.board.ensembles] == [NAME]
