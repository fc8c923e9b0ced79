"""A column is one entry, from which the page, its chooser, board.csv and the terminal's table all read."""

from __future__ import annotations

import io
import re

from rich.console import Console

from harness.cli.board_listing import table
from harness.report import columns
from harness.report.column import Cell, Column, InTerminal, OnPage
from harness.report.frame import as_rows
from harness.report.page import render_text
from harness.report.summary import read_results

EPOCHS = Column(
    name="epochs",
    value=lambda row, _: sum(r.training.epochs for r in row.counted if r.training),
    page=OnPage(heading="epochs <all>", cell=lambda row, _: Cell(f"{len(row.counted)} & more", tip="over seeds")),
    terminal=InTerminal(heading="epochs", text=lambda row, _: f"{len(row.counted)} in all"),
)


def results(build):
    board = build.board("net", "other")
    for seed in board.seeds:
        build.write(build.record("net", seed))
    return read_results(board).summary


def test_a_new_column_stands_in_every_table(build, monkeypatch):
    summary = results(build)
    monkeypatch.setattr(columns, "SEEDS", EPOCHS)
    text = render_text(summary)
    assert '<input type="checkbox" value="epochs &lt;all&gt;" checked>' in text
    assert 'data-column="epochs &lt;all&gt;" data-first="descending" data-kind="number"' in text
    assert '<td data-tip="over seeds">2 &amp; more</td>' in text
    assert [row["epochs"] for row in as_rows(summary)] == [6, 0]
    printed = io.StringIO()
    Console(file=printed, width=200).print(table(summary, 200))
    assert "2 in all" in printed.getvalue()


def test_seeds_and_status_are_shown_as_soon_as_one_row_is_not_done_or_has_other_seeds(build):
    board = build.board("net", "other")
    for model in ("net", "other"):
        for seed in board.seeds:
            build.write(build.record(model, seed))
    shown = {column.heading: column.usual for column in columns.list_page_columns(read_results(board).summary)}
    assert (shown["seeds"], shown["status"]) == (False, False)
    (build.folder / "records" / "other--bce--demo--s1.json").unlink()
    shown = {column.heading: column.usual for column in columns.list_page_columns(read_results(board).summary)}
    assert (shown["seeds"], shown["status"]) == (True, True)


def test_every_row_of_the_page_has_a_cell_for_each_heading(build):
    text = render_text(results(build))
    ranking = text[text.index('<table class="ranking">') : text.index("</table>")]
    rows = [re.findall(r"<t[hd][ >]", row) for row in ranking.split("<tr")[1:]]
    assert len(rows) == 3
    assert len({len(cells) for cells in rows}) == 1


def test_times_of_several_machines_stand_in_board_csv_alone(build):
    board = build.board("net", "other", seeds=(0,))
    build.write(build.record("net", 0))
    build.write(build.record("other", 0, provenance=build.provenance().model_copy(update={"device": "another"})))
    summary = read_results(board).summary
    page = {column.heading for column in columns.list_page_columns(summary)}
    terminal = {column.heading for column in columns.list_terminal_columns(summary)}
    assert "parameters (M)" in page
    assert not {"train images/s", "train minutes"} & page
    assert not {"images/s", "minutes"} & terminal
    assert "train_images_per_second" in as_rows(summary)[0]
