"""What a row's initial weights were made from is held against each outside test, too."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.board import read_board
from harness.report.outside import summarize_outside
from harness.report.summary import read_results
from harness.results.layout import run_path
from harness.results.store import read_records
from tests.execution.test_outside import HEAD, define, name_test, trained  # noqa: F401 - a fixture

FROM_FILE = 'params.recipe = { weights = "made.safetensors" }\n'


def test_a_row_that_has_seen_an_outside_test_has_no_rank_on_it_alone(trained, tmp_path, harness):  # noqa: F811
    record = read_records(trained / "board").records[0]
    shutil.copy(run_path(trained / "board", record.key) / "weights.safetensors", tmp_path / "made.safetensors")
    shutil.copytree(trained / "data", tmp_path / "data")
    folder = define(tmp_path, name_test("there"), head=HEAD.replace("seeds = [0, 1]", "seeds = [0]"))
    with (folder / "board.toml").open("a") as file:
        file.write(FROM_FILE)
    declare(tmp_path, '{ name = "mine", dataset = "csv", images = ["there/0-0.png", "there/3-5.png"] }')
    assert run(harness, folder) == (0, [("csv with file own.csv", "none", 0), ("mine", "shared", 2)])
    summary = read_results(read_board(folder)).summary
    assert [row.rank for row in summary.rows] == [1]
    (outside,) = summarize_outside(summary)
    (cell,) = outside.cells.values()
    assert (cell.row.rank, cell.seen.rank, cell.seen.is_shadowed) == (1, None, True)
    made = (folder / "records").stat().st_mtime_ns
    assert run(harness, folder) == (0, [("csv with file own.csv", "none", 0), ("mine", "shared", 2)])
    assert (folder / "records").stat().st_mtime_ns == made
    before = read_records(folder).records[0]
    declare(tmp_path, '"imagenet"')
    assert run(harness, folder) == (0, [("csv with file own.csv", "none", 0), ("imagenet", "none", 0)])
    after = read_records(folder).records[0]
    (was,), (now,) = before.outside.values(), after.outside.values()
    assert (now.metrics, now.artifacts, now.key) == (was.metrics, was.artifacts, was.key)


def declare(folder: Path, text: str) -> None:
    (folder / "made.safetensors.toml").write_text(f"pretrained_on = [{text}]")


def run(harness, folder: Path) -> tuple[int, list[tuple[str, str, int | None]]]:
    """Run the board; gives what its only record says of the outside test."""
    code, _, err = harness("run", str(folder), "--data-root", str(folder.parent / "data"))
    assert code == 0, err
    (record,) = read_records(folder).records
    (part,) = record.outside.values()
    assert part.status == "done", part.failure
    return code, [(one.name, one.overlap, one.images) for one in part.pretraining]
