"""A folder of boards and the page over them."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from harness.board import board_text, row_text, save_board
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
    assert "net + bce: AUROC 0.800. No other row has a result." in text
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
    def fail_first(board, out=None):
        if board.folder.name == "first":
            raise KeyError("a fault of the harness")
        return render(board, out)

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
