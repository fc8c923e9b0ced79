"""harness leaderboard, show and diff."""

from __future__ import annotations

import json
import shutil
import webbrowser

import pytest

from harness.results.store import AllResamples, read_records, write_record


@pytest.fixture
def board(toy_board, tmp_path):
    return shutil.copytree(toy_board, tmp_path / "a-board", ignore=shutil.ignore_patterns("runs"))


def test_leaderboard_opens_its_page_when_asked(harness, board, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    code, out, _ = harness("leaderboard", str(board), "--open")
    assert code == 0
    assert opened == [(board / "index.html").resolve().as_uri()]
    assert "toy-net--bce--toy" in out
    assert (board / "board.csv").is_file()


def test_show_prints_a_board_without_writing(harness, board):
    before = sorted(board.rglob("*"))
    code, out, _ = harness("show", str(board))
    assert code == 0
    assert "toy-net--bce--toy" in out
    assert sorted(board.rglob("*")) == before


def test_show_prints_everything_of_a_row(harness, board):
    code, out, _ = harness("show", f"{board}::toy-net--bce--toy")
    assert code == 0
    for text in ("rank 2", "seeds 0 1", "F1@val-f1", "calibration", "parameters", "harness run", "threshold, seed 1"):
        assert text in out
    (record, *_) = [r for r in read_records(board).records if r.combo.model == "toy-net"]
    assert all(label in out for label in record.dataset.labels)


def test_show_gives_a_row_with_its_whole_records_as_json(harness, board):
    code, out, _ = harness("show", f"{board}::toy-net--bce--toy", "--json")
    found = json.loads(out)
    assert code == 0
    assert [record["combo"]["seed"] for record in found["records"]] == [0, 1]
    assert found["metrics"]["auroc"]["values"] == [record["metrics"]["auroc"]["macro"] for record in found["records"]]


def test_show_of_an_unknown_row_names_the_nearest(harness, board):
    code, _, err = harness("show", f"{board}::toy-net--bce--tyo")
    assert code == 2
    assert "toy-net--bce--toy" in err


def test_show_prints_chosen_columns_with_what_has_to_be_known_of_them(harness, board):
    code, out, _ = harness("show", str(board), "--columns", "title,f1", "--columns", "auroc_interval")
    assert code == 0
    assert out.splitlines()[0].split("  ")[0].strip() == "row"
    assert "95 % interval" in out
    assert "highest F1 on validation" in " ".join(out.split())


@pytest.mark.parametrize(("form", "begins"), [("--markdown", "| row | AUROC |"), ("--latex", "% needs")])
def test_show_prints_a_table_for_a_paper(harness, board, form, begins):
    before = sorted(board.rglob("*"))
    code, out, _ = harness("show", str(board), form)
    assert code == 0
    assert out.startswith(begins)
    assert "toy-net" in out
    assert "seeds" in out
    assert sorted(board.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--markdown", "--latex"), "give one of them"),
        (("--json", "--columns", "auroc"), "without --json"),
        (("--columns", "auorc"), "did you mean 'auroc'"),
    ],
)
def test_show_says_which_options_do_not_go_together(harness, board, options, told):
    code, _, err = harness("show", str(board), *options)
    assert code == 2
    assert told in err


def test_a_row_has_no_columns_to_choose(harness, board):
    code, _, err = harness("show", f"{board}::toy-net--bce--toy", "--latex")
    assert code == 2
    assert "give a board" in err


def test_diff_of_a_board_with_itself_is_unchanged(harness, board):
    code, out, _ = harness("diff", str(board), str(board))
    assert code == 0
    assert out.strip() == "a-board: 2 unchanged"


def change(board):
    """The board with its first row's auroc set to nothing but luck."""
    found = read_records(board).records
    resamples = AllResamples(board, found)
    for record in found:
        if record.combo.model == "toy-net":
            part = record.metrics["auroc"].model_copy(update={"macro": 0.2})
            changed = record.model_copy(update={"metrics": {**record.metrics, "auroc": part}})
            write_record(board, changed, resamples[f"{record.combo.row}--s{record.combo.seed}"])


def test_diff_of_folders_names_a_board_that_cannot_be_read_and_compares_the_others(harness, board, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        for name in ("a", "b"):
            shutil.copytree(board, folder / name)
    (before / "b" / "board.toml").write_text("title = 3")
    code, out, _ = harness("diff", str(before), str(after), "--markdown")
    assert code == 1
    assert "### a" in out
    assert "- b: cannot be compared: " in out
    code, out, _ = harness("diff", str(before), str(after), "--json")
    assert code == 1
    assert [one["board"] for one in json.loads(out)["boards"]] == ["a"]
    assert len(json.loads(out)["unread"]) == 1


def test_diff_tells_of_two_boards_as_text_markdown_and_json(harness, board, tmp_path):
    other = shutil.copytree(board, tmp_path / "later" / "a-board")
    change(other)
    told = harness("diff", str(board), str(other))[1]
    assert "1 changed, and nothing tells whether beyond noise, 1 unchanged" in told
    text = harness("diff", str(board), str(other), "--markdown")[1]
    assert text.startswith("### a-board")
    assert "three seeds of both" in text
    (found,) = json.loads(harness("diff", str(board), str(other), "--json")[1])["boards"]
    assert {row["row"]: row["kind"] for row in found["rows"]} == {
        "toy-net--bce--toy": "unknown",
        "tiny-cnn--bce--toy": "same",
    }


def test_diff_of_two_folders_pairs_boards_by_name(harness, board, tmp_path):
    for name in ("shared", "old"):
        shutil.copytree(board, tmp_path / "before" / name)
    for name in ("shared", "young"):
        shutil.copytree(board, tmp_path / "after" / name)
    found = json.loads(harness("diff", str(tmp_path / "before"), str(tmp_path / "after"), "--json")[1])
    assert ([one["board"] for one in found["boards"]], found["new"], found["gone"]) == (["shared"], ["young"], ["old"])
    assert "young: a new board" in harness("diff", str(tmp_path / "before"), str(tmp_path / "after"))[1]


def test_diff_names_the_records_that_it_cannot_read(harness, board, tmp_path):
    other = shutil.copytree(board, tmp_path / "later" / "a-board")
    broken = next((other / "records").glob("*.json"))
    broken.write_text("{")
    code, out, err = harness("diff", str(board), str(other), "--json")
    assert code == 0
    assert len(json.loads(out)["boards"]) == 1
    assert f"{other}: records/{broken.name}" in err.replace("\n", "")


def test_diff_takes_one_form_at_a_time(harness, board):
    code, _, err = harness("diff", str(board), str(board), "--json", "--markdown")
    assert code == 2
    assert "not both" in err
