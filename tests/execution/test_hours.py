"""Hours of a plan: from recorded speeds of one named device, or the sentence that none is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.board import open_board
from harness.execution import planning
from harness.execution.hours import Hours, RecordedSpeed, expect_seconds
from harness.execution.planning import Settings
from harness.registry import load_registry

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"
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
    assert not [note for note in found["notes"] if "no speed" in note or "early" in note]
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


def test_the_wall_time_is_that_of_the_longest_combinations_first(harness, board, write_speed):
    write_speed("toy-net")
    write_speed("tiny-cnn", train=10.0)
    found = plan(harness, "--device", "cpu", "--workers", "4", "--speeds", "speeds")
    hours = found["combos"]
    assert found["longest"] == "tiny-cnn--bce--toy--s0"
    assert found["wall"] == {"at_once": 1, "hours": pytest.approx(found["total"])}, "workers share one device"
    told = Hours(device="Card A", combos=hours, rows={}, sources=(), notes=())
    short, long = hours["toy-net--bce--toy--s0"], hours["tiny-cnn--bce--toy--s0"]
    waits = [told.wait(at_once) for at_once in (2, 3, 4, 9)]
    assert waits == pytest.approx([short + long, max(long, 2 * short), long, long])
    out = " ".join(harness("run", "b", "--dry-run", "--speeds", "speeds")[1].split())
    assert f"the longest combination, tiny-cnn--bce--toy--s0 {long:.2f} wall time with 1 at once" in out
    assert "every worker is as fast as that device" in out
    assert "not counted: decoding images" in out


def test_elsewhere_the_wall_time_is_that_of_so_many_jobs_or_of_all_at_once(harness, board, write_speed):
    for model in ("toy-net", "tiny-cnn"):
        write_speed(model)
    on = ("--plugin", str(TOY), "--plugin", str(TOY.with_name("afar.py")), "--on", "afar", "--speeds", "speeds")
    assert plan(harness, *on, "--jobs", "3")["wall"]["at_once"] == 3
    found = plan(harness, *on)
    assert found["wall"] == {"at_once": 4, "hours": found["combos"][found["longest"]]}


def test_where_one_speed_is_not_known_there_is_no_longest_and_no_wall_time(harness, board, write_speed):
    write_speed("toy-net")
    found = plan(harness, "--speeds", "speeds")
    assert (found["total"], found["longest"], found["wall"]) == (None, None, {"at_once": 1, "hours": None})
    _, out, _ = harness("run", "b", "--dry-run", "--speeds", "speeds")
    assert "wall time" not in out


def test_elsewhere_the_slowest_device_of_the_kind_that_is_asked_for_counts(board, tmp_path):
    settings = Settings(data_root=tmp_path, cache=tmp_path, device="cpu", dry=True)
    planned = planning.plan(open_board(board), load_registry([TOY]), settings, lambda event: None)
    speeds = [
        RecordedSpeed(
            device=device, model=model, size=16, train=train, predict=200.0, source="a test", on_gpu=device != "CPU"
        )
        for device, train in (("Card A", 0.1), ("Card B", 0.05), ("CPU", 0.001))
        for model in ("toy-net", "tiny-cnn")
    ]
    combo = EPOCHS * TRAIN / 0.05 + (EPOCHS * VAL + VAL + TEST) / 200
    assert expect_seconds(planned, speeds, on_gpu=True) == pytest.approx([combo] * 4)
    half = [speed for speed in speeds if speed.model == "toy-net"]
    assert expect_seconds(planned, half, on_gpu=True) == ()
    assert expect_seconds(planned, speeds[:4], on_gpu=False) == ()


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
    assert "a run here would stop: " in err + out
    assert "1 of 1 combination would be run" in out


def test_images_are_embedded_once_for_all_probes_that_share_embeddings(harness, board, write_speed):
    write_speed("tiny-cnn")
    text = BOARD.replace('["toy-net", "tiny-cnn"]', '["tiny-cnn"]').replace('["toy"]', '["linear-probe", "knn"]')
    given = 'params = { recipe = { weights = "random", load_size = 16, size = 16 } }'
    (board / "board.toml").write_text(f"{text}{given}\n")
    found = plan(harness, "--speeds", "speeds")
    once = (TRAIN + VAL + TEST) / 200
    assert found["total"] == pytest.approx(2 * once / 3600), "random weights are those of each seed"
    assert sorted(found["rows"].values()) == [0, pytest.approx(2 * once / 3600)]
