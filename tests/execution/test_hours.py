"""Hours of a plan: from recorded speeds of one named device, or the sentence that none is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

BOARD = """
title = "Toy"
seeds = [0, 1]
metrics = ["auroc"]

[dataset]
name = "toy"

[[rows]]
models = ["toy-net", "tiny-cnn"]
losses = ["bce"]
recipes = ["toy"]
"""
TRAIN, VAL, TEST = 24, 12, 12
EPOCHS = 3


@pytest.fixture
def board(tmp_path) -> Path:
    folder: Path = tmp_path / "b"
    folder.mkdir()
    (folder / "board.toml").write_text(BOARD)
    return folder


@pytest.fixture
def write_speed(tmp_path):
    """Writes what `harness speed MODEL --json` writes, as far as hours come from it."""

    def write(model: str, *, train: float = 100.0, device: str = "Card A", size: int = 16) -> None:
        one = {"size": size, "engine": train, "inference": 200.0}
        provenance = {"device": device, "finished": "2026-01-02T03:04:05Z"}
        path = tmp_path / "speeds" / f"{model}-{device}-{size}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"model": model, "measured": [one], "provenance": provenance}))

    return write


def plan(harness, *arguments: str) -> dict[str, Any]:
    code, out, err = harness("run", "b", "--dry-run", "--json", *arguments)
    assert code == 0, err
    hours: dict[str, Any] = json.loads(out)["hours"]
    return hours


def test_hours_are_every_epoch_of_training_and_validation_and_the_test_once(harness, board, write_speed):
    write_speed("toy-net")
    write_speed("tiny-cnn", train=50.0)
    found = plan(harness, "--speeds", "speeds")
    predicting = (EPOCHS * VAL + VAL + TEST) / 200
    by_hand = {"toy-net": EPOCHS * TRAIN / 100 + predicting, "tiny-cnn": EPOCHS * TRAIN / 50 + predicting}
    assert found["device"] == "Card A"
    assert found["rows"] == {f"{m}--bce--toy": pytest.approx(2 * s / 3600) for m, s in by_hand.items()}  # two seeds
    assert found["total"] == pytest.approx(2 * sum(by_hand.values()) / 3600)
    assert found["notes"] == []
    _, out, _ = harness("run", "b", "--dry-run", "--speeds", "speeds")
    assert "Hours on Card A, by speeds/tiny-cnn-Card A-16.json, 2026-01-02; speeds/toy-net" in " ".join(out.split())


def test_without_a_recorded_speed_that_is_said_with_the_command_that_measures_it(harness, board):
    found = plan(harness)
    assert (found["device"], found["total"], set(found["rows"].values())) == ("", None, {None})
    said = "no speed of 'toy-net' at 16 px is recorded; measure it: harness speed toy-net --size 16 --json > FILE"
    assert any(note.startswith(said) for note in found["notes"])
    _, out, _ = harness("run", "b", "--dry-run")
    assert "Hours cannot be told, as no speed is recorded:" in out


def test_two_devices_are_never_mixed(harness, board, write_speed):
    write_speed("toy-net")
    for model in ("toy-net", "tiny-cnn"):
        write_speed(model, device="Card B", size=32)
    found = plan(harness, "--speeds", "speeds")
    assert (found["device"], found["total"]) == ("Card A", None)
    assert found["rows"]["tiny-cnn--bce--toy"] is None
    assert found["rows"]["toy-net--bce--toy"] is not None
    assert "speeds of Card B are not counted: hours are of one device" in found["notes"]


def test_a_boards_own_records_tell_the_hours_of_what_is_left(harness, board):
    assert harness("run", "b", "--seeds", "0")[0] == 0
    found = plan(harness)
    assert found["total"] is not None
    assert set(found["rows"]) == {"toy-net--bce--toy", "tiny-cnn--bce--toy"}


@pytest.mark.parametrize("content", ["{}", "[", '{"model": "m", "measured": [{}], "provenance": {}}'])
def test_a_file_of_something_else_is_refused(harness, board, tmp_path, content):
    (tmp_path / "other.json").write_text(content)
    code, _, err = harness("run", "b", "--dry-run", "--speeds", "other.json")
    assert (code, "other.json is not what harness speed MODEL --json writes" in err) == (2, True), err


def test_speeds_without_a_dry_run_or_a_file_are_refused(harness, board):
    for arguments, says in (
        (("--speeds", "x.json"), "--speeds gives the hours of what --dry-run prints"),
        (("--dry-run", "--speeds", "x.json"), "x.json: No such file"),
    ):
        code, _, err = harness("run", "b", *arguments)
        assert (code, says in err) == (2, True), err


def test_a_plan_needs_neither_images_nor_weights_and_says_where_a_run_would_stop(harness, tmp_path):
    (tmp_path / "labels.csv").write_text(
        "image,patient,split,Edema\n"
        + "".join(f"{n}.png,p{n},{('train', 'val', 'test')[n % 3]},{n // 3 % 2}\n" for n in range(12))
    )
    arguments = ("--dataset", "csv", "--models", "tiny-cnn", "--losses", "bce", "--recipes", "toy", "--board", "c")
    code, out, err = harness("run", *arguments, "--option", "file=labels.csv", "--data-root", ".", "--dry-run")
    assert code == 0, err
    assert "a run would stop: " in err + out
    assert "1 of 1 combination would be run" in out
