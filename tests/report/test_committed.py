"""The boards that are kept show what their records say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.board import bundled_boards, read_board
from harness.report.index import render_index
from harness.report.page import render
from harness.report.summary import summarize
from harness.results.store import read_records

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"


@pytest.mark.parametrize("name", bundled_boards())
def test_a_kept_page_is_its_records_rendered_byte_for_byte(name, tmp_path):
    folder = shutil.copytree(LEADERBOARDS / name, tmp_path / name)
    assert read_records(folder).problems == ()
    page = render(read_board(folder)).page
    assert page.read_bytes() == (LEADERBOARDS / name / "index.html").read_bytes()
    assert (folder / "board.csv").read_bytes() == (LEADERBOARDS / name / "board.csv").read_bytes()


def test_the_page_over_kept_boards_is_made_of_them(tmp_path):
    path, _, _ = render_index(LEADERBOARDS, tmp_path)
    assert path.read_bytes() == (LEADERBOARDS / "index.html").read_bytes()


def test_the_kept_demo_is_complete_and_its_rows_differ():
    summary = summarize(read_board(LEADERBOARDS / "demo"), read_records(LEADERBOARDS / "demo").records)
    assert {row.status for row in summary.rows} == {"done"}
    means = [row.metrics["auroc"].mean for row in summary.rows]
    assert means[0] > 0.85
    assert means[0] - means[-1] > 0.1


@pytest.mark.parametrize("name", ["nih-official", "nih-dacnet"])
def test_no_record_is_kept_that_was_not_measured(name):
    assert read_records(LEADERBOARDS / name).records == ()
    assert f"harness run {name}" in (LEADERBOARDS / name / "index.html").read_text(encoding="utf-8")
