"""A folder of boards and the page over them."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from harness.board import board_text, read_board, row_text, save_board
from harness.cli.main import app
from harness.errors import UsageError
from harness.report import page
from harness.report.index import boards_in, render_index

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def boards(build, tmp_path):
    """Two boards: one with a result, one without."""
    for name, title in (("first", "First & best"), ("second", EVIL)):
        folder = tmp_path / "boards" / name
        save_board(folder, board_text(build.board(title=title), [row_text(["net"], ["bce"], ["demo"], {})]))
    build.folder = tmp_path / "boards" / "first"
    build.write(*(build.record("net", seed, 0.8) for seed in (0, 1)))
    return tmp_path / "boards"


def test_the_page_over_boards_links_each_with_its_answer(boards):
    path, rendered, failed = render_index(boards)
    assert failed == []
    text = path.read_text(encoding="utf-8")
    assert [one.page for one in rendered] == [boards / "first" / "index.html", boards / "second" / "index.html"]
    assert all((path.parent / link).is_file() for link in re.findall(r'href="([^"]+)"', text))
    assert "complete, 1 row" in text
    assert "AUROC 0.800" in text
    assert "the only row with a result" in text
    assert "Nothing has been measured on this board yet: 1 row waits." in text
    assert "dots on a ground: scores mean nothing clinically" in text
    assert EVIL not in text
    assert "First &amp; best" in text
    assert render_index(boards)[0].read_text(encoding="utf-8") == text


def test_a_published_copy_has_pages_tables_and_the_records_that_they_link_to(harness, boards, tmp_path):
    code, out, _ = harness("leaderboard", str(boards), "--out", str(tmp_path / "site"), "--json")
    site = tmp_path / "site"
    assert code == 0
    assert json.loads(out)["page"] == str(site / "index.html")
    links = re.findall(r'href="(records/[^"]+)"', (site / "first" / "index.html").read_text(encoding="utf-8"))
    assert links
    assert all((site / "first" / link).is_file() for link in links)
    assert (site / "first" / "board.csv").is_file()
    assert not (boards / "first" / "index.html").exists()


def test_a_board_is_not_published_into_itself(harness, boards):
    code, _, err = harness("leaderboard", str(boards / "first"), "--out", str(boards / "first"))
    assert code == 2
    assert "own folder" in err


def test_a_folder_without_boards_is_refused(tmp_path):
    assert boards_in(tmp_path) == []
    with pytest.raises(UsageError, match=r"board\.toml"):
        render_index(tmp_path)


def test_a_board_that_cannot_be_rendered_is_named_and_stops_no_other(boards):
    (boards / "first" / "board.toml").write_text("title = 3", encoding="utf-8")
    path, rendered, failed = render_index(boards)
    assert [one.page.parent.name for one in rendered] == ["second"]
    assert len(failed) == 1
    assert str(boards / "first") in failed[0]
    assert (boards / "second" / "index.html").is_file()
    assert "first/index.html" not in path.read_text(encoding="utf-8")


def test_whatever_fails_in_a_board_is_named_without_a_traceback(boards, monkeypatch):
    def fail_first(board, out=None, **options):
        if board.folder.name == "first":
            raise KeyError("a fault of the harness")
        return render(board, out, **options)

    render = page.render
    monkeypatch.setattr(page, "render", fail_first)
    _, rendered, failed = render_index(boards)
    assert len(rendered) == 1
    assert "KeyError: 'a fault of the harness'" in failed[0]


def test_the_exit_code_says_that_a_board_was_not_rendered(boards):
    assert CliRunner().invoke(app, ["leaderboard", str(boards)]).exit_code == 0
    (boards / "first" / "board.toml").write_text("title = 3", encoding="utf-8")
    result = CliRunner().invoke(app, ["leaderboard", str(boards)])
    assert result.exit_code == 1
    assert "first" in result.stderr


def test_boards_link_to_the_page_over_them_and_only_where_it_lies_around_them(boards, build):
    link = '<a href="../index.html">All boards</a>'
    first = boards / "first" / "index.html"
    page.render(read_board(boards / "first"))
    assert link not in first.read_text(encoding="utf-8")
    (boards / "index.html").write_text("<title>a page of somebody else</title>", encoding="utf-8")
    page.render(read_board(boards / "first"))
    assert link not in first.read_text(encoding="utf-8")
    render_index(boards)
    linked = first.read_text(encoding="utf-8")
    assert link in linked
    page.render(read_board(boards / "first"))  # alone, as after a run
    assert first.read_text(encoding="utf-8") == linked


def test_a_linked_page_is_still_what_its_records_give(harness, boards):
    render_index(boards)
    _, out, _ = harness("validate", str(boards / "first"))
    assert "out of date" not in out
    page_file = boards / "first" / "index.html"
    page_file.write_text(page_file.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert "out of date" in harness("validate", str(boards / "first"))[1]


def test_warnings_and_ties_stand_in_a_boards_row(build, tmp_path):
    rows = [row_text(["a", "b"], ["bce"], ["demo"], {})]
    save_board(tmp_path / "a-board", board_text(build.board("a", "b", seeds=(0,)), rows))
    build.write(build.record("a", 0, 0.8), build.record("b", 0, 0.7))
    text = render_index(tmp_path)[0].read_text(encoding="utf-8")
    assert "complete, 2 rows" in text
    assert "One seed: about trained networks, not methods" in text
    assert "not tested" in text
    build.write(build.record("b", 0, failure="ValueError: no such layer"))
    assert "partial, 1 of 2 rows" in render_index(tmp_path)[0].read_text(encoding="utf-8")
