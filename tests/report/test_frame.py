"""A board as one flat table."""

from __future__ import annotations

import csv
import io
import math

import pytest

import harness
from harness.board import Row, board_text, row_text, save_board
from harness.errors import UnknownNameError, UsageError
from harness.report.frame import as_csv, as_rows
from harness.report.page import render
from harness.report.summary import read_results


def test_the_table_has_a_row_each_row_with_the_numbers_of_the_summary(toy_board):
    frame = harness.read_board(toy_board)
    summary = read_results(harness.board.read_board(toy_board)).summary
    assert list(frame["row"]) == [row.name for row in summary.rows]
    assert list(frame["rank"]) == [1, 2]
    for (_, found), row in zip(frame.iterrows(), summary.rows, strict=True):
        spread = row.metrics["auroc"]
        assert found["auroc"] == pytest.approx(spread.mean, abs=1e-6)
        assert found["auroc_deviation"] == pytest.approx(spread.deviation, abs=1e-6)
        interval = spread.interval or (math.nan, math.nan)  # all toys are told apart in all resamples
        assert (found["auroc_low"], found["auroc_high"]) == pytest.approx(interval, abs=1e-6, nan_ok=True)
        assert found["seeds"] == "0 1"
        assert found["parameters"] == row.efficiency["parameters"]
        for label, value in row.per_label["auroc"].items():
            assert found[f"auroc[{label}]"] == pytest.approx(value, abs=1e-6)
            if label in row.label_intervals:
                interval = found[f"auroc[{label}]_low"], found[f"auroc[{label}]_high"]
                assert interval == pytest.approx(row.label_intervals[label], abs=1e-6)


def test_board_csv_beside_the_page_reads_back_as_the_same_table(toy_board):
    import pandas as pd

    render(harness.board.read_board(toy_board))
    read = pd.read_csv(
        toy_board / "board.csv", dtype={"seeds": str, "params": object, "control": object, "reasons": object}
    )
    made = harness.read_board(toy_board)
    assert list(read) == list(made)
    for name in made:
        for one, other in zip(read[name], made[name], strict=True):
            assert one == other or (pd.isna(one) and pd.isna(other)), name


def test_undefined_values_are_empty_and_rows_without_a_result_are_there(build):
    build.write(build.record("net", 0, {"auroc": build.metric(0.7, 0.9, None)}), build.record("broken", failure="no"))
    first, second = as_rows(read_results(build.board("net", "broken", seeds=(0,))).summary)
    assert (first["auroc[Edema]"], first["auroc[Hernia]"]) == (0.7, None)
    assert (second["auroc"], second["status"], second["rank"]) == (None, "failed", None)
    assert "no" in str(second["reasons"])


@pytest.mark.parametrize("name", ["=cmd()", "+1", "-1", "@sum", "\t=1", "\r=1", "=HYPERLINK(1,2)"])
def test_no_cell_is_a_formula_for_a_spreadsheet(build, name):
    row = Row(model=name, loss="bce", recipe="demo")
    build.write(build.record(row, 0, failure=f"{name} again"))
    text = as_csv(read_results(build.board(row)).summary)
    cells = [cell for line in csv.reader(io.StringIO(text, newline="")) for cell in line]
    assert f"'{name.strip()}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_negative_numbers_stay_numbers(build):
    build.write(build.record("net", 0, {"auroc": build.metric(0.5), "skill": build.metric(-0.25)}))
    text = as_csv(read_results(build.board("net", metrics=("auroc", "skill"), seeds=(0,))).summary)
    (line,) = csv.DictReader(io.StringIO(text))
    assert float(line["skill"]) == -0.25


def test_a_board_without_rows_in_its_results_still_lists_them(build):
    save_board(build.folder, board_text(build.board("net"), [row_text(["net"], ["bce"], ["demo"], {})]))
    frame = harness.read_board(build.folder)
    assert list(frame["status"]) == ["missing"]


def test_what_is_no_board_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="nowhere"):
        harness.read_board(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="has no records"):
        harness.read_board("demo")
