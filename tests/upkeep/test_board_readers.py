"""A board with `readers.toml`: what people decided stands beside its rows, and nothing of it stays old silently."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.board import read_board
from harness.evaluation.predictions import load_predictions
from harness.execution.rescore import rescore
from harness.registry import load_registry
from harness.results.layout import predictions_file, run_path
from harness.results.migration import parse_record
from harness.results.store import read_reader_differences, read_records

COUNT = 3


@pytest.fixture
def board(toy_board, tmp_path) -> Path:
    """A finished board, and three readers who decided on its test images."""
    folder: Path = tmp_path / "b"
    shutil.copytree(toy_board, folder)
    prepare(folder)
    return folder


def prepare(folder: Path) -> None:
    """Give a board three readers, who err in some of their decisions."""
    record = read_records(folder).records[0]
    test = load_predictions(run_path(folder, record.key) / predictions_file("test"))
    draw = np.random.default_rng(0)
    for reader in range(COUNT):
        decided = np.where(draw.random(test.targets.shape) < 0.2 + 0.05 * reader, 1 - test.targets, test.targets)
        rows = zip(test.image.tolist(), decided.astype(int).tolist(), strict=True)
        lines = [",".join(["image", *test.labels]), *(",".join([name, *map(str, row)]) for name, row in rows)]
        (folder / f"r{reader}.csv").write_text("\n".join(lines) + "\n")
    write(folder)


@pytest.fixture(scope="module")
def evaluated(toy_board, tmp_path_factory) -> str:
    """A record with readers, as JSON."""
    folder = tmp_path_factory.mktemp("readers") / "b"
    shutil.copytree(toy_board, folder)
    prepare(folder)
    assert rescore(read_board(folder), load_registry()).done
    path: Path = min((folder / "records").glob("*.json"))
    return path.read_text()


def write(folder: Path, truth: str = "targets") -> None:
    readers = [f'[[readers]]\nname = "Dr. <{number}>"\ndecisions = "r{number}.csv"\n' for number in range(COUNT)]
    (folder / "readers.toml").write_text("\n".join([f'truth = "{truth}"\nabout = "Three people."\n', *readers]))


def find_json(harness: Any, *arguments: str) -> dict[str, Any]:
    _, out, err = harness(*arguments, "--json")
    assert out, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_records_get_readers_without_training_and_the_page_shows_them(harness, board):
    assert (
        "readers.toml names people whom its numbers are not held against"
        in find_json(harness, "status", "b")["combos"][0]["detail"]
    )
    trained = {record.combo.name: record.training for record in read_records(board).records}
    code, _, err = harness("run", "b")
    assert code == 0, err
    records = read_records(board).records
    assert {record.combo.name: record.training for record in records} == trained
    for record in records:
        assert record.readers is not None
        assert list(record.readers.readers) == [f"Dr. <{number}>" for number in range(COUNT)]
        drawn = read_reader_differences(board, record)
        assert {name: values.shape for name, values in drawn.items()} == {
            "sensitivity": (COUNT, 1000),
            "f1": (COUNT, 1000),
        }
    page = (board / "index.html").read_text()
    assert "Beside readers" in page
    assert "Three people." in page
    assert "Dr. &lt;0&gt;" in page
    assert find_json(harness, "status", "b")["done"] == len(records)
    assert find_json(harness, "validate", "b")["ok"]


@pytest.mark.slow
def test_another_decision_another_truth_and_no_readers_are_each_evaluated_again(harness, board):
    assert harness("rescore", "b")[0] == 0
    text = (board / "r0.csv").read_text()
    head, first, rest = text.split("\n", 2)
    name, *cells = first.split(",")
    flipped = ",".join([name, *(str(1 - int(cell)) for cell in cells)])
    (board / "r0.csv").write_text(f"{head}\n{flipped}\n{rest}")
    assert find_json(harness, "status", "b")["unevaluated"] == 4
    assert harness("rescore", "b")[0] == 0
    assert find_json(harness, "status", "b")["unevaluated"] == 0
    write(board, "leave-one-out")
    assert find_json(harness, "status", "b")["unevaluated"] == 4
    assert harness("rescore", "b")[0] == 0
    found = read_records(board).records[0].readers
    assert found is not None
    assert found.truth == "leave-one-out"
    (board / "readers.toml").unlink()
    assert "has no readers.toml any more" in find_json(harness, "status", "b")["combos"][0]["detail"]
    assert harness("rescore", "b")[0] == 0
    assert read_records(board).records[0].readers is None


@pytest.mark.slow
def test_who_does_not_have_the_decisions_can_show_what_was_evaluated(harness, board):
    assert harness("rescore", "b")[0] == 0
    (board / "r1.csv").unlink()
    assert find_json(harness, "status", "b")["unevaluated"] == 0
    assert harness("leaderboard", "b")[0] == 0
    assert "Dr. &lt;1&gt;" in (board / "index.html").read_text()
    code, _, err = harness("rescore", "b")
    assert (code, "the decisions of reader 'Dr. <1>' are not there: b/r1.csv is no file" in err) == (2, True), err
    write(board, "majority")
    assert find_json(harness, "status", "b")["unevaluated"] == 4


@pytest.mark.slow
def test_score_says_of_stored_predictions_what_the_record_says(harness, board):
    assert harness("rescore", "b")[0] == 0
    record = read_records(board).records[0]
    assert record.readers is not None
    run = run_path(board, record.key)
    given = ["score", str(run / predictions_file("test")), "--val", str(run / predictions_file("val"))]
    given += [part for number in range(COUNT) for part in ("--reader", f"Dr. <{number}>=b/r{number}.csv")]
    found = find_json(harness, *given, "--seed", record.dataset.fingerprint)["readers"]
    assert found == json.loads(record.readers.model_dump_json())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda part: part.update(readers={}),
        lambda part: part["readers"]["Dr. <0>"]["against"].pop("f1"),
        lambda part: part["readers"]["Dr. <0>"]["mean"].pop("f1"),
        lambda part: part["readers"]["Dr. <0>"]["per_label"].update(Other=None),
        lambda part: part["average"].pop("f1"),
        lambda part: part["kappa"]["pairs"].append(["x", "y", 0.1]),
        lambda part: part.update(labels_used=["Other"]),
        lambda part: part["kappa"]["all_readers"].update(value="much"),
    ],
)
def test_readers_that_contradict_themselves_are_no_record(evaluated, spoil):
    document = json.loads(evaluated)
    spoil(document["readers"])
    with pytest.raises(ValueError, match=r"readers"):
        parse_record(json.dumps(document).encode())


@pytest.mark.slow
def test_a_page_shows_readers_without_values(harness, board):
    spoil = {"value": None, "interval": None}
    assert harness("rescore", "b")[0] == 0
    for path in sorted((board / "records").glob("*.json")):
        document = json.loads(path.read_text())
        for reader in document["readers"]["readers"].values():
            for one in reader["per_label"].values():
                one.update(sensitivity=spoil, precision=spoil)
            reader["mean"]["f1"] = spoil
            reader["against"]["f1"] = {"network": None, "delta": None}
        document["readers"]["average"] = {}
        path.write_text(json.dumps(document))
    code, _, err = harness("leaderboard", "b")
    assert code == 0, err
    assert "Dr. &lt;0&gt;" in (board / "index.html").read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[readers]]\nname = 'A'\n", "the key 'readers.0.decisions' is missing"),
        ("[[readers]]\nname = 'A'\ndecisions = 'none.csv'\n", "the decisions of reader 'A' are not there"),
        (
            "thruth = 'majority'\n[[readers]]\nname = 'A'\ndecisions = 'r0.csv'\n",
            "unknown key 'thruth'",
        ),
        ("truth = 'most'\n[[readers]]\nname = 'A'\ndecisions = 'r0.csv'\n", "truth: there is no 'most'"),
        ("truth = 'majority'\n[[readers]]\nname = 'A'\ndecisions = 'r0.csv'\n", "needs 3 readers, got 1"),
        ("[[readers]]\nname = 'A'\ndecisions = 'other.csv'\n", "reader 'A' read none of the test's"),
        ("[[", "cannot be read as TOML"),
    ],
)
def test_readers_that_cannot_be_meant_end_a_run_before_anything_is_done(harness, board, text, says):
    (board / "other.csv").write_text((board / "r0.csv").read_text().strip().replace("\n", "\nx"))
    before = {path: path.read_bytes() for path in sorted((board / "records").iterdir())}
    (board / "readers.toml").write_text(text)
    code, _, err = harness("run", "b")
    assert (code, says in err) == (2, True), err
    assert {path: path.read_bytes() for path in sorted((board / "records").iterdir())} == before
