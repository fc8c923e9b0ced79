"""Rows that begin from weights: what these had seen goes from file to record, without training where it changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.board import read_board
from harness.report.summary import read_results
from harness.results.layout import run_path
from harness.results.store import read_records
from harness.training.weight_file import read_seen

BOARD = """
title = "B"
metrics = ["auroc"]

[dataset]
name = "toy"
{options}
"""
ROW = """
[[rows]]
models = ["toy-net"]
losses = ["bce"]
recipes = ["toy"]
params.recipe = {{ epochs = {epochs}, weights = "{weights}" }}
"""


def write_board(folder: Path, weights: dict[int, str], options: str = "") -> None:
    """A board of rows that differ in epochs, which are the keys, and in their initial weights."""
    folder.mkdir(exist_ok=True)
    rows = (ROW.format(epochs=epochs, weights=file) for epochs, file in weights.items())
    (folder / "board.toml").write_text("\n".join([BOARD.format(options=options), *rows]))


def find_pretraining(board: Path) -> dict[int, list[tuple[str, str, int | None, int | None]]]:
    return {
        record.combo.resolved["recipe"]["epochs"]: [
            (part.name, part.overlap, part.images, part.patients) for part in record.pretraining
        ]
        for record in read_records(board).records
    }


@pytest.fixture
def made(harness, tmp_path) -> Path:
    """The weight file of a row that was trained on the toy of 48 images."""
    write_board(tmp_path / "first", {1: "random"})
    code, _, err = harness("run", "first")
    assert code == 0, err
    (record,) = read_records(tmp_path / "first").records
    assert record.pretraining == []
    assert '"pretraining"' not in (tmp_path / "first" / "records" / f"{record.combo.name}.json").read_text()
    path: Path = run_path(tmp_path / "first", record.key) / "weights.safetensors"
    return Path(shutil.copy(path, tmp_path / "made.safetensors"))


def test_a_file_of_the_harness_declares_its_own_training_and_what_went_before(harness, made, tmp_path):
    (own,) = read_seen(made)
    assert (own.dataset, own.options, own.splits) == ("toy", {}, ("train", "val"))
    made.with_name("made.safetensors.toml").write_text('pretrained_on = ["imagenet"]')
    write_board(tmp_path / "second", {2: made.name}, "count = 40")
    code, _, err = harness("run", "second")
    assert code == 0, err
    (record,) = read_records(tmp_path / "second").records
    seen = read_seen(run_path(tmp_path / "second", record.key) / "weights.safetensors")
    assert [(one.name, one.options) for one in seen] == [
        ("toy with count 40", {"count": 40}),
        ("toy", {}),
        ("imagenet", {}),
    ]


def test_a_row_that_has_seen_the_test_is_marked_and_others_keep_their_ranks(harness, made, tmp_path):
    (tmp_path / "other.safetensors").write_bytes(made.read_bytes())
    names = [f'"i{number:03d}"' for number in range(48)]
    declared = f'pretrained_on = [{{ name = "mine", dataset = "toy", images = [{", ".join(names)}] }}]'
    (tmp_path / "other.safetensors.toml").write_text(declared)
    write_board(tmp_path / "b", {1: "random", 2: "made.safetensors", 3: "other.safetensors"})
    code, out, err = harness("run", "b")
    assert code == 0, err
    tests = read_records(tmp_path / "b").records[0].dataset.splits["test"]
    assert find_pretraining(tmp_path / "b") == {
        1: [],
        2: [("toy", "none", 0, 0)],
        3: [("toy", "none", 0, 0), ("mine", "shared", tests.images, tests.patients)],
    }
    summary = read_results(read_board(tmp_path / "b")).summary
    assert [row.rank for row in summary.rows] == [1, 2, None]
    assert summary.rows[2].is_shadowed
    assert "auroc" in summary.rows[2].metrics
    assert "done, has seen test images, not ranked" in out
    assert "has seen test images, not ranked" in harness("status", "b")[1]
    assert "b: 3 of 3 rows have a result, 1 of them not ranked" in harness("leaderboard", ".")[1]


def test_what_is_declared_later_comes_into_a_record_without_training(harness, made, tmp_path):
    from safetensors.torch import load_file, save_file

    save_file(load_file(made), tmp_path / "plain.safetensors")
    write_board(tmp_path / "b", {2: "plain.safetensors"})
    assert harness("run", "b")[0] == 0
    assert find_pretraining(tmp_path / "b") == {2: [("unknown", "unknown", None, None)]}
    before = read_records(tmp_path / "b").records[0]
    (tmp_path / "plain.safetensors.toml").write_text('pretrained_on = ["imagenet"]')
    (planned,) = json.loads(harness("run", "b", "--dry-run", "--json")[1])["combos"]
    assert planned["evaluate"]
    assert harness("run", "b")[0] == 0
    assert find_pretraining(tmp_path / "b") == {2: [("imagenet", "none", 0, 0)]}
    after = read_records(tmp_path / "b").records[0]
    assert (after.key, after.metrics, after.training) == (before.key, before.metrics, before.training)


def test_a_misspelt_declaration_stops_a_run_before_anything_is_trained(harness, made, tmp_path):
    made.with_name("made.safetensors.toml").write_text('pretrained_on = ["imagenett"]')
    write_board(tmp_path / "b", {2: made.name})
    code, _, err = harness("run", "b")
    assert code == 2
    assert "imagenett" in err
    assert not read_records(tmp_path / "b").records
