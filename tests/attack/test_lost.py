"""Ways to lose finished results, or to mix two: each was one, and none may come back."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.evaluation.predictions import load_predictions
from harness.results.artifacts import is_staged
from harness.results.layout import record_path, resamples_path, run_path
from harness.results.record import Record
from harness.results.store import read_records, read_resamples

NET, TINY = "toy-net--bce--toy", "tiny-cnn--bce--toy"
TOY = Path(__file__).parent.parent / "fixtures" / "toy.py"
CONFLICT = "<<<<<<< ours\n{}\n=======\n{}\n>>>>>>> theirs\n"


def run_json(harness, *arguments: str) -> dict[str, Any]:
    code, out, err = harness(*arguments, "--json")
    assert code in (0, 1), err
    document: dict[str, Any] = json.loads(out)
    return document


def submit(harness, board: Path, seeds: int, skill: float, *more: str) -> None:
    """Hand in so many files of predictions, made from those of a row of the board."""
    record = find_record(board, f"{NET}--s0")
    stored = load_predictions(run_path(board, record.key) / "predictions-test.npz")
    files = []
    for seed in range(seeds):
        noise = np.random.default_rng(seed).normal(size=stored.logits.shape)
        path = board.parent / f"{skill}-{seed}.npz"
        replace(stored, logits=skill * np.nan_to_num(stored.targets) + noise).save(path)
        files.append(str(path))
    about = ("--name", "theirs", "--about", "Anna et al. 2026, by mail")
    code, _, err = harness("submit", "b", *about, "--predictions", ",".join(files), *more)
    assert code == 0, err


def find_record(board: Path, name: str) -> Record:
    return next(record for record in read_records(board).records if record.combo.name == name)


def list_files(board: Path) -> set[str]:
    return {str(path.relative_to(board)) for path in board.rglob("*") if path.is_file()}


# --- clean -----------------------------------------------------------------------------------------------------------


def test_clean_leaves_what_may_belong_to_a_record_that_it_cannot_read(harness, board):
    submit(harness, board, 1, 1.0)
    path = record_path(board, "external--theirs--s0")
    path.write_text(CONFLICT.format(path.read_text(), path.read_text()))
    before = list_files(board)
    document = run_json(harness, "clean", "b", "--yes")
    assert list_files(board) == before
    assert document["waste"] == []
    assert "external--theirs--s0.json" in document["unreadable"][0]
    assert "stays: repair or remove it" in harness("clean", "b", "--yes")[2]


def test_what_lies_beside_a_file_that_is_set_aside_goes_with_it_and_clean_keeps_both(harness, board):
    path = record_path(board, f"{NET}--s0")
    resamples = resamples_path(board, f"{NET}--s0").read_bytes()
    path.write_text(CONFLICT.format(path.read_text(), path.read_text()))
    assert harness("run", "b", "--data-root", "b", "--workers", "0")[0] == 0
    aside = board / "records" / "aside"
    assert (aside / f"{NET}--s0.npz").read_bytes() == resamples
    assert path.is_file()
    before = list_files(board)
    harness("clean", "b", "--yes")
    assert list_files(board) == before
    (aside / f"{NET}--s0.json").unlink()
    assert run_json(harness, "clean", "b", "--yes")["unreadable"] == []


def test_clean_keeps_the_run_folder_of_a_record_that_was_set_aside_under_another_name(harness, board):
    record = find_record(board, f"{NET}--s0")
    aside = board / "records" / "aside"
    aside.mkdir()
    record_path(board, f"{NET}--s0").rename(aside / "renamed.json")
    harness("clean", "b", "--yes")
    assert (run_path(board, record.key) / "weights.safetensors").is_file()


# --- leaderboard --out -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_page_is_not_published_into_another_board(harness, board):
    shutil.copytree(board, board.parent / "other")
    before = {name: (board.parent / name).read_bytes() for name in list_files(board.parent)}
    for source in ("b", "."):
        for place in ("other", "other/records", "other/records/new", "other/runs"):
            code, _, err = harness("leaderboard", source, "--out", place)
            assert (code, "of a board" in err or "is a board" in err, "give another folder" in err) == (2, True, True)
    assert {name: (board.parent / name).read_bytes() for name in list_files(board.parent)} == before


def test_only_records_and_the_resamples_that_fit_them_are_published(harness, board):
    secret = board.parent / "secret"
    secret.write_text("token")
    (board / "records" / "x.npz").symlink_to(secret)
    (board / "records" / "notes.json").write_text("{}")
    beside = resamples_path(board, f"{NET}--s0")
    beside.rename(board.parent / "elsewhere.npz")
    beside.symlink_to("../../elsewhere.npz")
    resamples_path(board, f"{NET}--s1").write_bytes(b"damaged")
    assert harness("leaderboard", "b", "--out", "site")[0] == 0
    assert list_files(board.parent / "site") == {
        "index.html", "board.csv", *(f"records/{row}--s{seed}.json" for row in (NET, TINY) for seed in (0, 1)),
        *(f"records/{TINY}--s{seed}.npz" for seed in (0, 1)),
    }  # fmt: skip


# --- run --force -----------------------------------------------------------------------------------------------------


def test_a_forced_run_that_fails_leaves_the_finished_result(harness, board, monkeypatch):
    def fail(*arguments: object) -> None:
        raise MemoryError

    before = {name: (board / name).read_bytes() for name in list_files(board)}
    record = find_record(board, f"{NET}--s0")
    monkeypatch.setattr("harness.execution.combo.evaluate", fail)
    code, _, err = harness("run", "b", "--force", "--data-root", "b", "--workers", "0", "--only", NET, "--seeds", "0")
    assert (code, "the result that was there stays" in err) == (1, True), err
    assert find_record(board, f"{NET}--s0") == record
    after = {name: (board / name).read_bytes() for name in list_files(board)}
    assert {name for name in before if after.get(name) != before[name]} <= {"index.html", "board.csv"}


# --- two renames -----------------------------------------------------------------------------------------------------

KILLED = """
import os, pathlib, signal, sys
from harness.cli.main import main

kill_at, count = int(sys.argv[1]), 0
rename = pathlib.Path.replace

def count_and_kill(path, target):
    global count
    if "records" in str(target) or "runs" in str(target):
        count += 1
        if count > kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)

pathlib.Path.replace = count_and_kill
sys.argv = ["harness", *sys.argv[2:]]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [0, 1, 2, 3])
def test_a_rescore_that_is_killed_between_two_renames_leaves_a_pair_that_fits(harness, board, kill_at):
    text = (board / "board.toml").read_text()
    (board / "board.toml").write_text(text.replace('"f1"', '"f1", "auprc"'))
    arguments = [sys.executable, "-c", KILLED, str(kill_at), "rescore", str(board), "--plugin", str(TOY)]
    killed = subprocess.run(arguments, cwd=board.parent, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    old = set()  # whose turn did not come
    for record in read_records(board).records:
        resamples = read_resamples(board, record)
        assert resamples is not None
        assert set(resamples.macro) == set(record.metrics), record.combo.name
        old |= set() if "auprc" in record.metrics else {f"records/{record.combo.name}.json"}
    faults = run_json(harness, "validate", "b")["findings"]
    faults = [fault for fault in faults if fault["problem"] and fault["file"].startswith("records/")]
    assert {fault["file"] for fault in faults if "is to be evaluated again" in fault["message"]} == old
    assert len(faults) == len(old)
    assert harness("rescore", "b")[0] == 0
    assert not [name for name in list_files(board) if is_staged(Path(name)) and "/.tmp-" not in name]


# --- submit and merge ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_submission_is_replaced_whole(harness, board):
    submit(harness, board, 3, 1.0)
    assert len([r for r in read_records(board).records if r.external]) == 3
    submit(harness, board, 2, 2.0, "--replace")
    records = [record for record in read_records(board).records if record.external]
    assert [record.combo.seed for record in records] == [0, 1]
    assert not resamples_path(board, "external--theirs--s2").exists()


def test_records_of_other_data_are_not_merged_and_the_difference_is_named(harness, board):
    other = board.parent / "other"
    shutil.copytree(board, other)
    for path in (other / "records").glob("*.json"):
        document = json.loads(path.read_text())
        document["dataset"]["fingerprint"] = "0" * 64
        for count in ("images", "patients"):
            document["dataset"]["splits"]["test"][count] -= 1
        path.write_text(json.dumps(document))
    record_path(board, f"{NET}--s0").unlink()
    document = run_json(harness, "merge", "b", "other")
    assert (document["taken"], document["replaced"]) == ([], [])
    assert len(document["left"]) == 4
    images = find_record(board, f"{TINY}--s0").dataset.splits["test"].images
    assert f"other data ({images - 1} test images instead of {images})" in document["left"][0]
    assert run_json(harness, "status", "b")["stale"] == 0
