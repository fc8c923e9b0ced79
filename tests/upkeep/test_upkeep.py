"""A board's folder is looked after: its state, other machines' records, pull requests, submissions, waste."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.board import open_board
from harness.evaluation.predictions import load_predictions
from harness.execution.claims import Claims
from harness.files import write_atomically
from harness.report.page import render
from harness.results import store
from harness.results.layout import record_path
from harness.results.migration import parse_record
from harness.results.record import Record
from harness.results.store import read_records, write_record
from harness.upkeep.merging import merge
from tests.conftest import TOY

NET, TINY = "toy-net--bce--toy", "tiny-cnn--bce--toy"


@pytest.fixture
def board(toy_board, tmp_path) -> Path:
    """A board of two rows with two seeds each, all done, of which anything may be changed."""
    folder: Path = tmp_path / "b"
    shutil.copytree(toy_board, folder)
    return folder


@pytest.fixture(scope="module")
def rendered(toy_board, tmp_path_factory) -> Path:
    """The same with its page; not to be changed."""
    folder: Path = tmp_path_factory.mktemp("rendered") / "b"
    shutil.copytree(toy_board, folder)
    render(open_board(folder))
    return folder


@pytest.fixture
def page_board(rendered, tmp_path) -> Path:
    """A board with its page, of which anything may be changed."""
    folder: Path = tmp_path / "b"
    shutil.copytree(rendered, folder)
    return folder


def run_json(harness, *arguments: str) -> dict[str, Any]:
    """What a verb prints, with its exit code."""
    code, out, err = harness(*arguments, "--json")
    assert code in (0, 1), err
    document: dict[str, Any] = json.loads(out)
    return document | {"code": code}


def change_record(board: Path, name: str, **changes: object) -> None:
    path = board / "records" / f"{name}.json"
    document = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(document))


def change_macro(board: Path, name: str, value: float) -> None:
    metrics = json.loads((board / "records" / f"{name}.json").read_text())["metrics"]
    metrics["auroc"]["macro"] = value
    change_record(board, name, metrics=metrics)


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_says_what_of_a_board_is_in_which_state(harness, board):
    (board / "records" / f"{NET}--s0.json").unlink()
    change_record(board, f"{NET}--s1", status="failed", failure={"kind": "timeout", "message": "slow", "where": "x"})
    change_record(board, f"{TINY}--s1", key="0" * 16)
    claim = Claims(board).take(f"{NET}--s0", key="k", epoch=0, epochs=4, device="cpu", started=1.0)
    assert claim is not None
    claim.tell(epoch=3)
    found = run_json(harness, "status", "b")
    assert {name: found[name] for name in ("done", "stale", "running", "waiting", "skipped")} == {
        "done": 1, "stale": 1, "running": 1, "waiting": 0, "skipped": 0,
    }  # fmt: skip
    assert found["failed"] == {"timeout": 1}
    combos = {combo["name"]: combo for combo in found["combos"]}
    assert (combos[f"{NET}--s0"]["running"]["epoch"], combos[f"{NET}--s0"]["running"]["epochs"]) == (3, 4)
    assert combos[f"{TINY}--s1"]["detail"] == "choices or versions have changed"
    assert found["seconds_left"] > 0
    code, out, _ = harness("status", "b")
    assert code == 0
    assert "1 of 4 done, 1 failed (timeout), 1 out of date, 1 running" in out
    assert "epoch 3 of 4" in out


def test_status_names_submitted_rows_and_records_that_the_board_asks_for_no_more(harness, board):
    submit(harness, board, "theirs")
    text = (board / "board.toml").read_text()
    (board / "board.toml").write_text(text.replace("seeds = [0, 1]", "seeds = [0]"))
    found = run_json(harness, "status", "b")
    assert (found["done"], found["submitted"], found["stale"], found["leftover"]) == (2, 1, 0, 2)
    others = {other["name"]: (other["state"], other["detail"]) for other in found["others"]}
    assert others == {
        "external--theirs--s0": ("submitted", "external, not trained here, pretraining unknown"),
        f"{NET}--s1": ("leftover", "1 is none of the board's seeds"),
        f"{TINY}--s1": ("leftover", "1 is none of the board's seeds"),
    }
    code, out, _ = harness("status", "b")
    assert (code, "2 of 2 done, 1 submitted, 2 not in board.toml any more" in out, "external--theirs--s0" in out) == (
        0,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("known", "unknown"),
    [
        ('"toy-net"', '"toy-nett"'),
        ('losses = ["bce"]', 'losses = ["bcee"]'),
        ('recipes = ["toy"]', 'recipes = ["toi"]'),
        ('name = "toy"', 'name = "toi"'),
        ('name = "toy"', 'name = "toy"\ncounts = 4'),
        ('"brier"]', '"brierr"]'),
        ('objective = "auroc"', 'objective = "f1@nonsense"'),
        ('objective = "auroc"', 'objective = "auroc@oracle"'),
        ('recipes = ["toy"]', 'recipes = ["toy"]\nparams = { recipe = { select_on = "nothing" } }'),
        ('recipes = ["toy"]', 'recipes = ["toy"]\nparams = { model = { depth = 2 } }'),
    ],
)
def test_status_refuses_a_name_that_means_nothing_as_a_run_does(harness, board, known, unknown):
    text = (board / "board.toml").read_text()
    assert text.count(known) == 1
    (board / "board.toml").write_text(text.replace(known, unknown))
    ran, looked = harness("run", "b"), harness("status", "b")
    assert (ran[0], looked) == (2, ran)


def test_status_watches_until_nothing_is_left(harness, board):
    code, out, _ = harness("status", "b", "--watch")
    assert (code, "4 of 4 done" in out) == (0, True)
    assert harness("status", "b", "--watch", "--json")[0] == 2


def test_a_combo_that_nobody_runs_any_more_is_waiting(harness, board):
    (board / "records" / f"{NET}--s0.json").unlink()
    claim = Claims(board).take(f"{NET}--s0")
    assert claim is not None
    claim.about["process_started"] = 1.0
    claim.tell()
    assert run_json(harness, "status", "b")["waiting"] == 1


# --- merge -----------------------------------------------------------------------------------------------------------


def test_what_a_board_lacks_is_taken_with_everything_that_belongs_to_it(harness, board, toy_board, tmp_path):
    for path in [*(board / "records").glob(f"{NET}*"), *(board / "runs").glob("[0-9a-f]*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = run_json(harness, "merge", "b", str(toy_board))
    assert (found["code"], found["taken"], found["same"]) == (
        0,
        [f"{NET}--s0", f"{NET}--s1"],
        [f"{TINY}--s0", f"{TINY}--s1"],
    )
    theirs, ours = (folder / "records" for folder in (toy_board, board))
    assert {p.name: p.read_bytes() for p in theirs.iterdir()} == {p.name: p.read_bytes() for p in ours.iterdir()}
    (record,) = (r for r in read_records(board).records if (r.combo.row, r.combo.seed) == (NET, 0))
    assert load_predictions(board / "runs" / record.key / "predictions-test.npz").labels == ("first", "second", "third")
    assert run_json(harness, "validate", "b")["ok"] is True


def test_same_key_and_other_numbers_is_a_conflict_that_is_shown_and_left(harness, board, tmp_path):
    other = shutil.copytree(board, tmp_path / "other")
    path = other / "records" / f"{NET}--s0.json"
    document = json.loads(path.read_text())
    document["metrics"]["auroc"]["macro"] = 0.125
    path.write_text(json.dumps(document))
    before = (board / "records" / f"{NET}--s0.json").read_bytes()
    found = run_json(harness, "merge", "b", "other")
    (conflict,) = found["conflicts"]
    assert (found["code"], conflict["name"], conflict["theirs"]) == (1, f"{NET}--s0", 0.125)
    assert conflict["reason"] == "the same key and different numbers"
    assert (board / "records" / f"{NET}--s0.json").read_bytes() == before
    _, _, err = harness("merge", "b", "other")
    assert "0.1250 there" in err
    _, _, err = harness("merge", "b", "other", "--replace", "chexnut*")
    assert "--replace 'chexnut*' replaced nothing: no conflict is about a record of such a name" in err
    found = run_json(harness, "merge", "b", "other", "--replace", f"{NET}--s0")
    assert (found["code"], found["replaced"]) == (0, [f"{NET}--s0"])
    assert json.loads((board / "records" / f"{NET}--s0.json").read_text())["metrics"]["auroc"]["macro"] == 0.125


def test_another_key_is_a_conflict_and_a_failure_gives_way(harness, board, tmp_path):
    other = shutil.copytree(board, tmp_path / "other")
    change_record(other, f"{NET}--s0", key="0" * 16)
    failure = {"kind": "crashed", "message": "m", "where": "w"}
    change_record(board, f"{NET}--s1", status="failed", failure=failure, metrics={})
    change_record(other, f"{TINY}--s0", status="failed", failure=failure, metrics={})
    found = run_json(harness, "merge", "b", "other")
    assert [(c["name"], c["reason"]) for c in found["conflicts"]] == [
        (f"{NET}--s0", "other choices, data or versions (another key)")
    ]
    assert found["replaced"] == [f"{NET}--s1"]
    assert "this board's is done" in found["left"][0]


# --- validate --------------------------------------------------------------------------------------------------------


def test_a_board_that_was_run_is_valid(harness, board):
    harness("leaderboard", "b")
    found = run_json(harness, "validate", "b")
    assert (found["code"], found["ok"], found["findings"]) == (0, True, [])


STRANGER = """
splits = [{ name = "s", title = "S", compares = "Nothing." }]
rows = [{ name = "Net", split = "s", source = "a paper", auroc = 0.8, row = "nobody" }]
"""


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda b: (b / "records" / f"{NET}--s0.json").write_text("{"), "is no record"),
        (lambda b: (b / "records" / f"{NET}--s0.npz").write_bytes(b"x"), "its sha256 differs"),
        (lambda b: (b / "records" / f"{NET}--s0.npz").unlink(), "is missing: its record speaks of it"),
        (lambda b: (b / "records" / "notes.txt").write_text(""), "belongs to no record"),
        (lambda b: (b / "index.html").write_text(""), "is out of date"),
        (lambda b: (b / "index.html").unlink(), "run `harness leaderboard"),
        (lambda b: next((b / "runs").glob("*/predictions-val.npz")).write_bytes(b"x"), "its sha256 differs"),
        (lambda b: change_record(b, f"{NET}--s0", key="0" * 16), "choices or versions have changed"),
        (lambda b: change_record(b, f"{NET}--s0", key="../../../etc"), "is no record: key: "),
        (lambda b: change_macro(b, f"{NET}--s0", 0.999), "auroc: its macro 0.999 is not the mean of its labels"),
        (lambda b: (b / "published.toml").write_text("x"), "is not TOML"),
        (lambda b: (b / "published.toml").write_text(STRANGER), "is about the row 'nobody', which this board does not"),
    ],
)
def test_what_is_wrong_with_a_board_is_named(harness, page_board, spoil, says):
    spoil(page_board)
    found = run_json(harness, "validate", "b")
    assert (found["code"], found["ok"]) == (1, False)
    assert any(says in finding["message"] for finding in found["findings"] if finding["problem"]), found["findings"]


@pytest.mark.parametrize("name", ["c", "anna's $HOME & <b>"])
def test_a_board_that_was_copied_to_a_folder_of_another_name_is_valid(harness, page_board, tmp_path, name):
    page_board.rename(tmp_path / name)
    found = run_json(harness, "validate", name)
    assert (found["code"], found["findings"]) == (0, [])


FAMILY = "timm_test_vit--bce--toy"


@pytest.fixture
def cut_board(harness, board):
    """A board from which one row was taken whose model's name is not the row's, and one seed of another."""
    text = (board / "board.toml").read_text()
    whole = text.replace('"toy-net"', '"timm/test_vit", "toy-net"')
    (board / "board.toml").write_text(whole)
    assert harness("run", "b", "--only", FAMILY)[0] == 0
    (board / "board.toml").write_text(text.replace("seeds = [0, 1]", "seeds = [0]"))
    return board


@pytest.mark.slow
def test_records_of_rows_and_seeds_that_were_taken_out_are_named_once_with_what_to_do(harness, cut_board):
    way_out = "put it back, or let harness clean remove its records"
    row = f"has no row {FAMILY}, of which there are records of seed 0, 1: {way_out}"
    seed = f"has no seed 1, of which there are records of {TINY}, {NET}: {way_out}"
    found = run_json(harness, "validate", "b")
    assert [(f["file"], f["message"], f["problem"]) for f in found["findings"]] == [
        ("board.toml", row, False),
        ("board.toml", seed, False),
        ("index.html", "is out of date; run `harness leaderboard b`", True),
    ]
    code, out, _ = harness("status", "b")
    assert (code, out.count(FAMILY), out.count(way_out)) == (0, 1, 2)
    code, out, _ = harness("leaderboard", "b")
    assert code == 0
    assert f"{FAMILY}: seed 0, 1: out of date: board.toml has no such row; {way_out}" in " ".join(out.split())
    page = (cut_board / "index.html").read_text()
    assert (f"--only '{TINY}'" in page, f"--only '{FAMILY}'" in page) == (True, False)
    assert run_json(harness, "validate", "b")["ok"] is True
    assert harness("clean", "b", "--yes")[0] == 0
    assert run_json(harness, "validate", "b")["findings"] == []


@pytest.mark.parametrize("name", ["b; rm -rf x", "$(rm -rf x)", "b'", " "])
def test_a_page_whose_command_was_changed_is_found(harness, page_board, name):
    page = page_board / "index.html"
    page.write_text(page.read_text().replace("harness run b ", f"harness run {name} "))
    assert [f["file"] for f in run_json(harness, "validate", "b")["findings"]] == ["index.html"]


def test_a_path_of_a_machine_in_a_record_is_found(harness, board):
    path = board / "records" / f"{NET}--s0.json"
    path.write_text(path.read_text().replace('"command": "', '"command": "/home/anna/secret '))
    found = run_json(harness, "validate", "b")
    assert any("holds a path of a machine" in finding["message"] for finding in found["findings"])


def test_a_weight_file_of_this_machine_is_named_where_it_stands_and_only_there(harness, board, tmp_path):
    record = next(r for r in read_records(board).records if (r.combo.row, r.combo.seed) == (NET, 0))
    source = board / "runs" / record.key / "weights.safetensors"
    other = ("run", "--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", "--board", "c")
    assert harness(*other, "--set", f"recipe.weights={source}")[0] == 0
    found = run_json(harness, "validate", "c")
    assert [(f["file"], f["message"].partition(":")[0]) for f in found["findings"] if f["problem"]] == [
        ("board.toml", "holds a path of a machine")
    ]
    published = [path for path in (tmp_path / "c").iterdir() if path.is_file() and path.name != "board.toml"]
    for path in [*published, *(tmp_path / "c" / "records").glob("*.json")]:
        assert str(tmp_path) not in path.read_text()


# --- submit ----------------------------------------------------------------------------------------------------------


def submit(harness, board: Path, name: str, *more: str, change=lambda arrays: arrays):
    """Hand in the predictions of a row of the board itself, changed."""
    record = next(r for r in read_records(board).records if (r.combo.row, r.combo.seed) == (NET, 0))
    files = []
    for split in ("test", "val"):
        with np.load(board / "runs" / record.key / f"predictions-{split}.npz") as stored:
            arrays = change(dict(stored)) if split == "test" else dict(stored)
        np.savez(board.parent / f"{split}.npz", **arrays)
        files.append(str(board.parent / f"{split}.npz"))
    given = ("--name", name, "--predictions", files[0], "--val", files[1], "--about", "Anna et al. 2026, by mail")
    return record, harness("submit", "b", *given, *more)


@pytest.mark.slow
def test_submitted_predictions_get_the_numbers_of_a_row_and_a_badge(harness, board):
    record, (code, out, err) = submit(harness, board, "Anna's net")
    assert code == 0, err
    assert "external--Anna_s_net" in out
    assert "external, not trained here" in out
    (made,) = (r for r in read_records(board).records if r.external is not None)
    assert made.metrics == record.metrics
    assert made.thresholds == record.thresholds
    assert (made.external, made.combo.model, made.training) == ("Anna et al. 2026, by mail", "Anna's net", None)
    page = (board / "index.html").read_text()
    assert "external, not trained here" in page
    assert "Anna et al. 2026, by mail" in page
    assert run_json(harness, "validate", "b")["ok"] is True
    assert run_json(harness, "rescore", "b")["code"] == 0
    assert run_json(harness, "run", "b", "--dry-run")["code"] == 0
    assert harness("compare", "b::external--Anna_s_net", f"b::{NET}")[0] == 0
    assert "external, not trained here" in harness("show", "b::external--Anna_s_net")[1]


@pytest.mark.slow
def test_submitted_scores_that_only_rank_have_no_numbers_of_probabilities_anywhere(harness, board):
    def rank(arrays):
        return {name: value for name, value in arrays.items() if name != "logits"} | {"scores": arrays["logits"] * 3}

    record, (code, _, err) = submit(harness, board, "ranks", change=rank)
    assert code == 0, err
    assert "scores are not in 0..1, first image" in err
    (made,) = (r for r in read_records(board).records if r.external is not None)
    assert made.metrics["auroc"].per_label == record.metrics["auroc"].per_label
    assert made.calibration is None
    for name, part in made.metrics.items():
        if name not in ("auroc", "auprc"):
            assert (part.labels_used, "only rank" in (part.why_left_out or "")) == (0, True), name
    says = "these scores are no probabilities and only rank"
    assert says in (board / "index.html").read_text()
    assert run_json(harness, "validate", "b")["ok"] is True
    assert run_json(harness, "rescore", "b")["code"] == 0
    assert harness("compare", "b::external--ranks", f"b::{NET}")[0] == 0
    assert harness("show", "b::external--ranks")[0] == 0


def test_a_submitted_table_may_name_its_images_otherwise_and_must_have_all_labels(harness, board):
    submit(harness, board, "first")
    arrays = dict(np.load("test.npz"))
    for count in (3, 2):
        labels = arrays["labels"][:count].tolist()
        scores = 1 / (1 + np.exp(-arrays["logits"].astype(float)))[:, :count]
        rows = [
            ",".join([str(name), *map(repr, row)]) for name, row in zip(arrays["image"], scores.tolist(), strict=True)
        ]
        (board.parent / "t.csv").write_text("\n".join([",".join(["where", *labels]), *rows]))
        given = ("--name", f"table {count}", "--predictions", "t.csv", "--about", "x", "--image-column", "where")
        code, _, err = harness("submit", "b", *given)
        assert (code, "of the dataset is missing" in err) == ((0, False) if count == 3 else (2, True)), err


def test_targets_and_order_of_a_submission_count_for_nothing(harness, board):
    def cheat(arrays):
        order = np.random.default_rng(0).permutation(len(arrays["image"]))
        shuffled = {name: arrays[name][order] for name in ("image", "patient", "logits")}
        return arrays | shuffled | {"targets": (arrays["logits"] > 0).astype(np.float32)[order]}

    record, (code, _, err) = submit(harness, board, "cheat", change=cheat)
    assert code == 0, err
    assert "of its own targets contradict those of the dataset, which are used; first image" in err
    (made,) = (r for r in read_records(board).records if r.external is not None)
    assert made.metrics == record.metrics
    stored, original = (load_predictions(board / "runs" / r.key / "predictions-test.npz") for r in (made, record))
    assert (stored.targets == original.targets).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a | {n: a[n][1:] for n in ("image", "patient", "logits", "targets")}, "has no prediction"),
        (lambda a: a | {"image": np.array([f"x{n}" for n in a["image"]])}, "are not in the dataset"),
        (lambda a: a | {"labels": np.array(["first", "second", "other"])}, "label 'third' of the dataset is missing"),
        (lambda a: a | {"logits": a["logits"] * np.nan}, "a logit must be finite"),
        (lambda a: a | {"image": a["image"].astype(object)}, "holds no predictions"),
    ],
)
def test_predictions_that_are_not_of_the_test_split_are_refused(harness, board, change, says):
    before = sorted(board.rglob("*"))
    _, (code, _, err) = submit(harness, board, "odd", change=change)
    assert (code, says in err) == (2, True), err
    assert sorted(board.rglob("*")) == before


def test_a_copy_of_a_seed_is_refused(harness, board):
    submit(harness, board, "first")
    shutil.copy("test.npz", "copy.npz")
    given = ("--name", "two", "--predictions", "test.npz,copy.npz", "--about", "x")
    code, _, err = harness("submit", "b", *given)
    assert (code, "test.npz and copy.npz hold the same predictions" in err) == (2, True), err


def test_scores_that_are_stored_as_logits_are_named(harness, board):
    def squash(arrays):
        return arrays | {"logits": 1 / (1 + np.exp(-arrays["logits"]))}

    _, (code, _, err) = submit(harness, board, "scores", change=squash)
    assert (code, "all of its logits are in 0..1" in err) == (0, True), err


@pytest.mark.slow
def test_a_name_that_is_taken_is_kept_unless_it_is_to_be_replaced(harness, board):
    submit(harness, board, "twice")
    _, (code, _, err) = submit(harness, board, "twice", change=lambda a: a | {"logits": -a["logits"]})
    assert (code, "choose another --name" in err) == (2, True)
    _, (code, _, _) = submit(harness, board, "twice", "--replace", change=lambda a: a | {"logits": -a["logits"]})
    assert code == 0


@pytest.mark.slow
def test_a_submission_without_validation_has_no_fitted_thresholds(harness, board):
    submit(harness, board, "first")
    assert harness("submit", "b", "--name", "bare", "--predictions", "test.npz", "--about", "x")[0] == 0
    (made,) = (r for r in read_records(board).records if r.combo.model == "bare")
    assert "f1@0.5" in made.metrics
    assert "f1@val-f1" not in made.metrics
    assert run_json(harness, "rescore", "b")["code"] == 0


def test_a_name_that_is_too_long_for_a_file_changes_nothing(harness, board):
    submit(harness, board, "first")
    before = sorted(board.rglob("*"))
    _, (code, _, err) = submit(harness, board, "x" * 300)
    assert (code, "--name has 300 characters" in err) == (2, True), err
    assert sorted(board.rglob("*")) == before


# --- clean -----------------------------------------------------------------------------------------------------------


def test_waste_is_listed_and_removed_when_wanted(harness, board):
    (board / "runs" / "0123456789abcdef").mkdir()
    (board / "runs" / "0123456789abcdef" / "weights.safetensors").write_bytes(b"x" * 5000)
    (board / "records" / ".tmp-x.json").write_text("half")
    os.utime(board / "records" / ".tmp-x.json", (1, 1))
    (board / "runs" / "tensorboard").mkdir()
    (board / "runs" / "tensorboard" / "events").write_text("an observer's")
    change_record(board, f"{NET}--s1", key="0" * 16)
    found = run_json(harness, "clean", "b")
    waste = {item["path"]: (item["reason"], item["bytes"]) for item in found["waste"]}
    stale_key = {p.name for p in (board / "runs").iterdir()}
    assert waste["runs/0123456789abcdef"] == ("belongs to no record", 5000)
    assert waste["records/.tmp-x.json"] == ("left by a process that was killed", 4)
    assert waste[f"records/{NET}--s1.json"][0] == "out of date: choices or versions have changed"
    assert found["removed"] is False
    assert "runs/tensorboard" not in waste
    assert stale_key == {p.name for p in (board / "runs").iterdir()}
    code, out, _ = harness("clean", "b", "--yes")
    assert (code, "5.0 kB  runs/0123456789abcdef: belongs to no record" in out) == (0, True)
    assert run_json(harness, "clean", "b")["waste"] == []
    assert (board / "runs" / "tensorboard" / "events").exists()
    assert len(read_records(board).records) == 3


def test_a_training_that_would_go_on_and_one_under_way_are_no_waste(harness, board):
    record = next(r for r in read_records(board).records if (r.combo.row, r.combo.seed) == (NET, 0))
    for path in (board / "records").glob(f"{NET}--s0*"):
        path.unlink()
    (board / "runs" / record.key / "resume.safetensors").write_bytes(b"x")
    running = board / "runs" / "1111111111111111"
    running.mkdir()
    (running / "resume.safetensors").write_bytes(b"x")
    claim = Claims(board).take("another--s0", key=running.name)
    assert claim is not None
    assert run_json(harness, "clean", "b")["waste"] == []
    claim.release()
    assert [item["path"] for item in run_json(harness, "clean", "b")["waste"]] == ["runs/1111111111111111"]


def test_a_no_keeps_everything(harness, board, monkeypatch):
    (board / "records" / ".tmp-x.json").write_text("half")
    os.utime(board / "records" / ".tmp-x.json", (1, 1))
    monkeypatch.setattr("typer.confirm", lambda question: False)
    assert harness("clean", "b")[0] == 0
    assert (board / "records" / ".tmp-x.json").exists()


def test_what_a_run_has_made_while_clean_asked_stays(harness, board, monkeypatch):
    path = board / "records" / f"{NET}--s1.json"
    current, garbage = path.read_bytes(), board / "runs" / "0123456789abcdef"
    garbage.mkdir()
    change_record(board, f"{NET}--s1", key="0" * 16)

    def confirm(question: str) -> bool:
        path.write_bytes(current)
        return True

    monkeypatch.setattr("typer.confirm", confirm)
    code, out, _ = harness("clean", "b")
    assert (code, "now in use and not removed" in out) == (0, True), out
    assert path.read_bytes() == current
    assert path.with_suffix(".npz").exists()
    assert not garbage.exists()


def test_what_is_being_written_is_no_waste_and_what_a_finished_training_left_is(harness, board):
    (record, *_) = read_records(board).records
    resume = board / "runs" / record.key / "resume.safetensors"
    resume.write_bytes(b"x")
    found: list[dict[str, Any]] = []

    def write(path: Path) -> None:
        path.write_text("half")
        os.utime(path, (1, 1))
        found.append(run_json(harness, "clean", "b"))

    write_atomically(board / "records" / "x", write)
    assert [item["path"] for item in found[0]["waste"]] == [str(resume.relative_to(board))]
    assert found[0]["waste"][0]["reason"] == "of a training that is finished"


# --- files that are no records ---------------------------------------------------------------------------------------


def test_a_run_sets_files_that_are_no_records_aside_and_names_them(harness, board):
    foreign = board / "records" / f"{NET}--s0.json"
    content = foreign.read_bytes()[:500]
    foreign.write_bytes(content)
    (board / "records" / "foreign.json").write_text("[]")
    code, _, err = harness("run", "b", "--data-root", "data")
    assert code == 0, err
    assert f"records/{NET}--s0.json is no record" in err
    assert f"set aside as records/aside/{NET}--s0.json" in err
    assert (board / "records" / "aside" / f"{NET}--s0.json").read_bytes() == content
    assert (board / "records" / "aside" / "foreign.json").read_text() == "[]"
    assert len(read_records(board).records) == 4
    assert read_records(board).problems == ()
    foreign.write_bytes(content)
    harness("run", "b")
    assert (board / "records" / "aside" / f"{NET}--s0.1.json").read_bytes() == content


def test_a_record_is_written_where_its_name_says_and_nowhere_else(board):
    record = read_records(board).records[0]
    for row in ("../up", "a/b", "/etc/x", ".hidden", ""):
        document = record.model_dump()
        document["combo"]["row"] = row
        with pytest.raises(ValueError, match="row"):
            write_record(board, Record.model_validate(document))


# --- what the verbs do without ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verbs", [("status", "clean"), pytest.param(("merge", "validate"), marks=pytest.mark.slow)], ids=" and ".join
)
def test_looking_after_a_board_imports_no_torch(board, toy_board, verbs):
    asked = [[verb, str(board), *([str(toy_board)] if verb == "merge" else [])] for verb in verbs]
    code = f"""
import sys
import harness.upkeep.merging, harness.upkeep.submission, harness.upkeep.validation
from harness.cli.main import main
for arguments in {asked}:
    sys.argv = ["harness", *arguments]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code
    print(arguments[0], [module for module in ("torch", "timm", "optuna") if module in sys.modules])
"""
    environment = os.environ | {"HARNESS_PLUGIN": str(TOY)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert [line for line in done.stdout.splitlines() if line.endswith("]")] == [f"{verb} []" for verb in verbs]


def test_a_merge_reads_each_record_once(board, toy_board, monkeypatch):
    read = []

    def parse(content: bytes) -> Record:
        record = parse_record(content)
        read.append(record.combo.name)
        return record

    monkeypatch.setattr(store, "parse_record", parse)
    for name in (f"{NET}--s0", f"{TINY}--s1"):
        record_path(board, name).unlink()
    merged = merge(open_board(str(board)), [toy_board])
    assert (len(merged.taken), len(merged.same), len(read)) == (2, 2, 6)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('models = ["tiny-cnn"]\nlosses = ["bce"]\nparams = { model = { width = 0 } }', "width must be a whole number"),
        ('models = ["tiny-cnn"]\nlosses = ["focal"]\nparams = { loss = { gama = 1 } }', "did you mean 'gamma'"),
        (
            'models = ["tiny-cnn"]\nlosses = ["weighted-bce"]\nparams = { loss = { weights = [1, 2] } }',
            "loss.weights is [1, 2]; give a list of 3 numbers, for first, second, third",
        ),
    ],
)
def test_a_row_that_a_run_would_refuse_is_a_problem_of_the_board(harness, page_board, row, says):
    text = (page_board / "board.toml").read_text()
    (page_board / "board.toml").write_text(f'{text}\n[[rows]]\n{row}\nrecipes = ["toy"]\n')
    found = run_json(harness, "validate", "b")
    (problem,) = [one for one in found["findings"] if one["problem"] and one["file"] == "board.toml"]
    assert (found["code"], says in problem["message"]) == (1, True), problem
    assert not [one for one in found["findings"] if "keys were not checked" in one["message"]]
