"""Predictions that were made elsewhere, on a board that trains nothing of its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from harness.evaluation.predictions import load_predictions
from harness.results.layout import run_path
from harness.results.store import read_records

IMAGES = 240
BOARD = """
title = "Theirs"
objective = "auroc"
metrics = ["auroc", "f1"]

[dataset]
name = "csv"
file = "t.csv"
split = "part"
"""
KNOWN = {
    "--source": "https://example.org/net at 1a2b3c",
    "--license": "MIT",
    "--trained-on": "train lists",
    "--image-size": "28",
}


@pytest.fixture
def board(tmp_path) -> Path:
    """A board without rows, over 120 test images of 60 patients whose sex and view are known."""
    draw = np.random.default_rng(0)
    lines = ["image,patient,part,sex,view,Edema,Mass"]
    for number in range(IMAGES):
        patient = number // 2
        sex, view = "FM"[patient % 2], ("PA", "AP")[number % 2]
        edema, mass = (draw.random(2) < 0.4).astype(int)
        lines.append(f"i{number:03d}.png,p{patient},{'train' if number < 120 else 'test'},{sex},{view},{edema},{mass}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    folder: Path = tmp_path / "b"
    folder.mkdir()
    (folder / "board.toml").write_text(BOARD)
    return folder


def write_scores(path: Path, seed: int) -> str:
    scores = np.random.default_rng(seed).random((IMAGES - 120, 2))
    rows = [f"i{120 + number:03d}.png,{a!r},{b!r}" for number, (a, b) in enumerate(scores.tolist())]
    path.write_text("\n".join(["image,Edema,Mass", *rows]) + "\n")
    return str(path)


def submit(harness, board: Path, *more: str, name: str = "Their net", seeds: int = 1) -> tuple[int, str, str]:
    files = [write_scores(board.parent / f"{name} {seed}.csv", seed) for seed in range(seeds)]
    given = ("--name", name, "--about", "by mail", "--predictions", ",".join(files), "--data-root", ".")
    code, out, err = harness("submit", "b", *given, *more)
    return code, out, err


def digests(board: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (board / "records").iterdir()}


@pytest.mark.slow
def test_a_board_without_rows_has_those_that_are_submitted(harness, board):
    code, out, err = submit(harness, board)
    assert (code, "external--Their_net" in out) == (0, True), err
    page = (board / "index.html").read_text()
    assert "Their net (external) has AUROC" in page
    assert "1 of 1 rows have a result. ±" in page
    assert "b: 1 of 1 rows has a result\n" in harness("leaderboard", ".")[1]
    for heading in ("loss", "recipe"):
        assert f">{heading}<" not in page
    for verb in ("status", "validate", "leaderboard", "rescore"):
        assert harness(verb, "b")[0] == 0, verb


def test_what_is_known_of_a_submission_stands_in_record_page_and_terminal(harness, board):
    code, _, err = submit(harness, board, *(part for pair in KNOWN.items() for part in pair))
    assert code == 0, err
    known = read_records(board).records[0].submission
    assert known is not None
    assert (known.source, known.license, known.trained_on) == (*list(KNOWN.values())[:3],)
    assert (known.image_size, known.subgroups_left_out) == (28, [])
    page = (board / "index.html").read_text()
    assert "external, not trained here; 28 px images" in page
    assert '<a href="https://example.org/net"' in page
    assert json.loads(harness("show", "b", "--json")[1])["rows"][0]["submission"]["image_size"] == 28
    out = harness("show", "b::external--Their_net")[1]
    for text in ("License: MIT", "Trained on: train lists", "Image size: 28 x 28 px"):
        assert text in page
        assert text in out


def test_a_submission_says_what_its_network_has_seen_or_is_marked_as_unknown(harness, board):
    assert submit(harness, board)[0] == 0
    (record,) = read_records(board).records
    assert record.pretraining == []
    assert "done, external, not trained here, pretraining unknown" in harness("show", "b")[1]
    code, out, err = submit(harness, board, "--pretrained-on", "imagenet,nothing")
    assert code == 0, err
    (record,) = read_records(board).records
    assert [(part.name, part.overlap) for part in record.pretraining] == [("imagenet", "none"), ("nothing", "none")]
    assert "pretraining" not in out
    assert "Its network has seen imagenet" in harness("show", "b::external--Their_net")[1]
    code, _, err = submit(harness, board, "--pretrained-on", "chexpert")
    assert (code, "chexpert-train" in err) == (2, True)


@pytest.mark.parametrize(("asked", "kept"), [("sex", ["sex"]), ("sex,view", ["sex", "view"]), ("none", [])])
def test_subgroups_are_those_that_the_submitter_can_tell(harness, board, asked, kept):
    code, _, err = submit(harness, board, "--subgroups", asked)
    assert code == 0, err
    left_out = [name for name in ("sex", "view") if name not in kept]
    for record in read_records(board).records:
        assert sorted(record.subgroups or {}) == kept
        assert record.submission is not None
        assert record.submission.subgroups_left_out == left_out
        stored = load_predictions(run_path(board, record.key) / "predictions-test.npz")
        assert sorted(stored.columns) == kept
    sentence = f"Subgroups left out: {', '.join(left_out)}, which its submitter could not tell for each prediction"
    assert (sentence in (board / "index.html").read_text()) == bool(left_out)
    assert harness("rescore", "b")[0] == 0
    assert {tuple(sorted(record.subgroups or {})) for record in read_records(board).records} == {tuple(kept)}


def test_a_label_that_is_in_no_mean_is_nothing_that_somebody_has_changed(harness, board):
    table = board.parent / "t.csv"
    header, *lines = table.read_text().splitlines()
    rare = [f"{line[:-1]}{int(number in (130, 200))}" for number, line in enumerate(lines)]
    table.write_text("\n".join([header, *rare]) + "\n")
    submit(harness, board)
    part = read_records(board).records[0].metrics["auroc"]
    assert part.left_out == ["Mass"]
    assert part.per_label["Mass"].value is not None
    assert harness("validate", "b") == (0, "no problem was found\n", "")


@pytest.mark.slow
def test_a_submission_is_scored_over_the_unit_of_the_board_which_may_change(harness, board):
    from sklearn.metrics import roc_auc_score

    (board / "board.toml").write_text('unit = "patient"\n' + BOARD)
    code, out, err = submit(harness, board)
    assert (code, "scored over 60 patients (mean of their images' scores)" in out) == (0, True), err
    (record,) = read_records(board).records
    stored = load_predictions(run_path(board, record.key) / "predictions-test.npz")
    patients = dict.fromkeys(stored.patient.tolist())
    of = {patient: np.flatnonzero(stored.patient == patient) for patient in patients}
    truth = [stored.targets[rows, 0].max() for rows in of.values()]
    found = record.metrics["auroc"].per_label["Edema"]
    assert found.value == pytest.approx(roc_auc_score(truth, [stored.scores[rows, 0].mean() for rows in of.values()]))
    assert (found.positives, found.positives + found.negatives) == (sum(truth), 60)
    assert harness("validate", "b")[0] == 0
    (board / "board.toml").write_text('unit = "patient"\npool = "max"\n' + BOARD)
    says = "it is scored over patients (mean of their images' scores), board.toml says patients (max of their images'"
    assert says in harness("status", "b")[1]
    assert harness("rescore", "b")[0] == 0
    found = read_records(board).records[0].metrics["auroc"].per_label["Edema"]
    assert found.value == pytest.approx(roc_auc_score(truth, [stored.scores[rows, 0].max() for rows in of.values()]))


def test_a_submission_to_a_board_over_studies_needs_a_dataset_that_tells_them(harness, board):
    (board / "board.toml").write_text('unit = "study"\n' + BOARD)
    code, _, err = submit(harness, board)
    assert (code, (board / "records").exists()) == (2, False)
    assert (
        "nothing of dataset 'csv' says which images belong to one study; name it by the dataset's option study" in err
    )
    assert 'as in study = "Path:(.*study\\\\d+)", or set unit = "patient"' in err


def test_a_column_of_subgroups_that_the_dataset_lacks_is_named_and_nothing_is_written(harness, board):
    code, _, err = submit(harness, board, "--subgroups", "sexx")
    assert (code, "unknown column of subgroups 'sexx'" in err, "did you mean 'sex'" in err) == (2, True, True), err
    assert not (board / "records").exists()


@pytest.mark.slow
def test_the_same_submission_again_leaves_every_byte_and_brings_predictions_back(harness, board):
    submit(harness, board)
    before = digests(board)
    stored = [run_path(board, record.key) / "predictions-test.npz" for record in read_records(board).records]
    for path in stored:
        path.unlink()
    code, _, err = submit(harness, board, "--replace")
    assert code == 0, err
    assert digests(board) == before
    assert all(path.is_file() for path in stored)
    path = board / "records" / "external--Their_net--s0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"thresholds": {}}))
    assert digests(board) != before
    submit(harness, board, "--replace")
    assert json.loads(path.read_text())["thresholds"] != {}
    submit(harness, board, "--replace", "--license", "MIT")
    assert {record.submission.license for record in read_records(board).records if record.submission} == {"MIT"}


def test_a_row_without_validation_is_said_to_have_nothing_fitted(harness, board):
    submit(harness, board)
    says = "came without validation predictions: decisions are taken at 0.5"
    assert f"Their net {says}" in (board / "index.html").read_text()
    submit(harness, board, name="Other")
    assert f"All ranked rows {says}" in (board / "index.html").read_text()


def test_pictures_call_a_submission_by_the_name_that_it_was_given(harness, board):
    submit(harness, board)
    submit(harness, board, name="toy--bce--toy")
    page = (board / "index.html").read_text()
    assert '<input type="checkbox" value="Their net"' in page
    assert '<input type="checkbox" value="toy--bce--toy"' in page


def test_a_board_without_rows_has_nothing_to_train_and_nothing_to_control(harness, board):
    code, _, err = harness("run", "b", "--data-root", ".")
    assert (code, "the board in b has no [[rows]], so there is nothing to train" in err) == (2, True), err
    (board / "board.toml").write_text("controls = true\n" + BOARD)
    code, _, err = harness("status", "b")
    assert (code, "rows: `controls = true` needs a row to be trained" in err) == (2, True), err
