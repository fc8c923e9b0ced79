"""Rows that another folder of a board has and the board lacks."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from harness.board import Ensemble, Row, open_board
from harness.definition import add_rows
from tests.upkeep.test_upkeep import NET, TINY, change_record, run_json


@pytest.fixture
def board(toy_board, tmp_path) -> Path:
    """A board of two rows with two seeds each, all done, of which anything may be changed."""
    folder: Path = tmp_path / "b"
    shutil.copytree(toy_board, folder)
    return folder


def take_row_out(board: Path) -> str:
    """Take a row with its records out of a board; gives its board.toml, which has a comment."""
    text = "# ours\n" + (board / "board.toml").read_text().replace('"toy-net", ', "")
    (board / "board.toml").write_text(text)
    for path in (board / "records").glob(f"{NET}*"):
        path.unlink()
    return text


def test_a_row_that_the_board_does_not_name_is_left_and_the_way_out_is_named(harness, board, toy_board):
    text = take_row_out(board)
    found = run_json(harness, "merge", "b", str(toy_board))
    assert (found["code"], found["taken"], found["missing"], found["added"]) == (1, [], [NET], [])
    code, _, err = harness("merge", "b", str(toy_board))
    assert code == 1
    assert f"{NET} is left, with its records of seed 0, 1: board.toml has no such row; --add-rows adds it" in err
    assert (board / "board.toml").read_text() == text
    assert harness("merge", "b", "nowhere")[0] == 2


@pytest.mark.parametrize("published", [False, True], ids=["board", "published records"])
def test_rows_that_the_board_lacks_are_added_to_its_file_with_their_records(
    harness, board, toy_board, tmp_path, published
):
    other = shutil.copytree(toy_board, tmp_path / "other")
    if published:
        (other / "board.toml").unlink()
    text = take_row_out(board)
    code, out, err = harness("merge", "b", "other", "--add-rows")
    assert (code, "2 taken, 0 replaced, 2 the same" in out, err) == (0, True, "")
    added = (board / "board.toml").read_text().removeprefix(text.rstrip())
    assert tomllib.loads(added) == {"rows": [{"models": ["toy-net"], "losses": ["bce"], "recipes": ["toy"]}]}
    assert [line.strip() for line in added.splitlines() if line] == [
        line.strip() for line in out.partition("added to board.toml:\n")[2].splitlines() if line.startswith("  ")
    ]
    assert run_json(harness, "validate", "b")["findings"] == []
    found = run_json(harness, "merge", "b", "other", "--add-rows")
    assert (found["added"], len(found["same"]), found["missing"]) == ([], 4, [])


@pytest.mark.slow
def test_parameters_and_how_they_were_found_come_with_a_row(harness, board, toy_board, tmp_path):
    other = shutil.copytree(toy_board, tmp_path / "other")
    row = Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"epochs": 1}}, tuned="by hand")
    add_rows(other, [row])
    assert harness("run", "other", "--only", row.name)[0] == 0
    found = run_json(harness, "merge", "b", "other", "--add-rows")
    assert found["taken"] == [f"{row.name}--s0", f"{row.name}--s1"]
    (added,) = (one for one in open_board(board).rows if one.name == row.name)
    assert (added.params, added.tuned) == (row.params, row.tuned)


def test_a_row_whose_records_are_not_taken_is_not_added(harness, board, toy_board, tmp_path):
    other = shutil.copytree(toy_board, tmp_path / "other")
    text = take_row_out(board)
    for seed in (0, 1):
        dataset = json.loads((other / "records" / f"{NET}--s{seed}.json").read_text())["dataset"]
        change_record(other, f"{NET}--s{seed}", dataset=dataset | {"fingerprint": "e" * 64})
    found = run_json(harness, "merge", "b", "other", "--add-rows")
    assert (found["taken"], found["added"], found["missing"]) == ([], [], [])
    assert "measured on other data" in found["left"][0]
    assert (board / "board.toml").read_text() == text


@pytest.mark.parametrize("options", [(), ("--add-rows",)])
def test_another_row_of_a_name_that_is_taken_is_refused_by_name(harness, board, toy_board, tmp_path, options):
    other = shutil.copytree(toy_board, tmp_path / "other")
    for folder, model in ((board, "toy_net"), (other, "toy/net")):
        text = (folder / "board.toml").read_text().replace('"toy-net"', f'"{model}"')
        (folder / "board.toml").write_text(text)
    document = json.loads((other / "records" / f"{NET}--s0.json").read_text())
    document["combo"] |= {"model": "toy/net", "row": "toy_net--bce--toy"}
    (other / "records" / "toy_net--bce--toy--s0.json").write_text(json.dumps(document))
    found = run_json(harness, "merge", "b", "other", *options)
    assert found["taken"] == []
    rows = "toy/net, bce, toy there, toy_net, bce, toy here"
    assert found["left"][-1] == f"other: toy_net--bce--toy--s0 is left: another row has this name: {rows}"


def test_records_that_are_scored_over_another_unit_are_left_with_the_way_out(harness, board, toy_board, tmp_path):
    other = shutil.copytree(toy_board, tmp_path / "other")
    (other / "board.toml").write_text('unit = "patient"\n' + (other / "board.toml").read_text())
    assert harness("rescore", "other")[0] == 0
    before = {path.name: path.read_bytes() for path in (board / "records").iterdir()}
    found = run_json(harness, "merge", "b", "other")
    assert (found["taken"], found["replaced"], found["conflicts"]) == ([], [], [])
    says = "scored over patients (mean of their images' scores), board.toml says images; harness rescore evaluates"
    assert len([line for line in found["left"] if says in line]) == 4
    assert {path.name: path.read_bytes() for path in (board / "records").iterdir()} == before


MADE = Ensemble(rows=(TINY, NET)).name


@pytest.fixture
def other(harness, toy_board, tmp_path) -> Path:
    """Another copy of the board, where both rows are an ensemble, too."""
    folder: Path = shutil.copytree(toy_board, tmp_path / "other")
    assert harness("ensemble", "other", TINY, NET, "--name", "both")[0] == 0
    return folder


@pytest.mark.parametrize("published", [False, True], ids=["board", "published records"])
def test_an_ensemble_whose_members_are_there_is_added_with_its_records(harness, board, other, published):
    take_row_out(board)
    if published:
        (other / "board.toml").unlink()
    left = run_json(harness, "merge", "b", "other")
    assert (left["code"], left["missing"]) == (1, [NET, MADE])
    found = run_json(harness, "merge", "b", "other", "--add-rows")
    assert (found["code"], found["left"], found["missing"]) == (0, [], [])
    assert found["taken"] == [f"{row}--s{seed}" for row in (NET, MADE) for seed in (0, 1)]
    assert [name for text in found["added"] for name in tomllib.loads(text)] == ["rows", "ensembles"]
    (added,) = open_board(board).ensembles
    assert (added.name, added.title) == (MADE, "" if published else "both")
    assert run_json(harness, "validate", "b")["findings"] == []
    again = run_json(harness, "merge", "b", "other", "--add-rows")
    assert (again["added"], len(again["same"])) == ([], 6)


def test_an_ensemble_that_was_not_made_yet_is_added_where_its_members_are_there(harness, board, toy_board, tmp_path):
    other = shutil.copytree(toy_board, tmp_path / "other")
    table = f'\n[[ensembles]]\nrows = ["{TINY}", "{NET}"]\n'
    (other / "board.toml").write_text((other / "board.toml").read_text() + table)
    found = run_json(harness, "merge", "b", "other", "--add-rows")
    assert (found["code"], found["added"]) == (0, [table.lstrip()])
    assert [one.name for one in open_board(board).ensembles] == [MADE]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ((TINY, NET), f"it takes {NET}, which the board does not have"),
        (("t*",), f"of the rows that it takes, the board has only {TINY}"),
    ],
    ids=["names", "glob"],
)
def test_an_ensemble_whose_members_are_not_there_is_left_in_one_line(harness, board, toy_board, tmp_path, rows, why):
    other = shutil.copytree(toy_board, tmp_path / "other")
    assert harness("ensemble", "other", *rows)[0] == 0
    text = take_row_out(board)
    for seed in (0, 1):
        dataset = json.loads((other / "records" / f"{NET}--s{seed}.json").read_text())["dataset"]
        change_record(other, f"{NET}--s{seed}", dataset=dataset | {"fingerprint": "e" * 64})
    found = run_json(harness, "merge", "b", "other", "--add-rows")
    assert (found["taken"], found["added"], found["missing"]) == ([], [], [])
    assert found["left"][-1] == f"other: the ensemble {Ensemble(rows=rows).name} is left: {why}"
    assert len(found["left"]) == 3
    assert (board / "board.toml").read_text() == text
