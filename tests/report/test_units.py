"""A board over studies says so wherever it counts: page, index, terminal, plain data, published rows, differences."""

from __future__ import annotations

import re

import pytest

from harness.board import board_text, parse_board, row_text, save_board
from harness.cli.board_listing import as_plain, table
from harness.errors import UsageError
from harness.evaluation.parts import LabelValue, MetricPart, PooledPart
from harness.report.difference import compare_states
from harness.report.headline import conclude
from harness.report.index import render_index
from harness.report.page import render_text
from harness.report.published import PublishedSplit, explain_closed
from harness.report.summary import BoardResults, summarize

POOLED = PooledPart(unit="study", pool="mean", test=70)
SAID = "70 studies (mean of their images&#39; scores)"


@pytest.fixture
def summary(build):
    return summarize(build.board("a", "b", seeds=(0,), unit="study"), make_records(build))


def make_records(build, pooled=POOLED, macro=0.8):
    """100 test images of 40 patients with 10 positives a label, in 70 studies with 7."""
    labels = {label: LabelValue(value=macro, positives=7, negatives=63) for label in build.labels}
    part = MetricPart(macro=macro, per_label=labels, labels_used=3)
    return [build.record(model, 0, {"auroc": part}, pooled=pooled) for model in ("a", "b")]


def test_the_page_counts_studies_and_their_positives(summary):
    page = render_text(summary)
    assert f"Scored over {SAID}. ± is" in page
    assert f"<div><dt>Scored</dt><dd>{SAID}</dd></div>" in page
    assert "What is scored is each study once: its score of a label is the mean of its images' scores" in page
    assert set(re.findall(r'data-counts="([^";]+)', page)) == {"7 positive of 70 studies"}
    assert "so few studies cannot tell rows apart" in page
    assert "positives of each label by split, counted in images" in page


def test_the_terminal_and_plain_data_count_them_too(summary):
    assert "scored over 70 studies (mean of their images' scores)" in str(table(summary, 100).caption)
    plain = as_plain(summary)
    assert (plain["unit"], plain["pool"], plain["test_units"], plain["test_images"]) == ("study", "mean", 70, 100)
    assert set(plain["positives"].values()) == {7}


def test_the_page_over_boards_says_it_and_a_board_over_images_says_nothing_of_it(build, tmp_path):
    board = build.board("a", "b", seeds=(0,), unit="study")
    save_board(build.folder, board_text(board, [row_text(["a", "b"], ["bce"], ["demo"], {})]))
    build.write(*make_records(build))
    path, _, failed = render_index(build.folder.parent)
    assert not failed
    text = path.read_text(encoding="utf-8")
    assert f'100 images of 40 patients<span class="small">scored over {SAID}</span>' in text
    plain = summarize(build.board("a", "b", seeds=(0,)), make_records(build, pooled=None))
    assert "cored over" not in render_text(plain)
    assert "scored over" not in str(table(plain, 100).caption)
    assert as_plain(plain)["test_units"] == 100


def test_chance_is_told_of_studies(build):
    records = [
        build.record("a", 0, {"f1": one.metrics["auroc"]}, pooled=POOLED) for one in make_records(build, macro=0.01)
    ]
    found = summarize(build.board("a", seeds=(0,), unit="study", objective="f1", metrics=("f1",)), records[:1])
    assert "what finding every label in every study gets" in conclude(found)


@pytest.mark.parametrize(("unit", "closed"), [("image", True), ("patient", True), ("study", False)])
def test_published_numbers_stand_beside_rows_over_the_same_unit_alone(summary, unit, closed):
    split = PublishedSplit(name="main", title="Main", compares="With these.", unit=unit)
    why = f"its rows are scored over studies, these numbers are over {unit}s" if closed else ""
    assert explain_closed(split, summary) == why


def test_rows_over_other_units_are_not_tested_against_each_other(build):
    before = summarize(build.board("a", seeds=(0,)), make_records(build, pooled=None)[:1])
    after = summarize(build.board("a", seeds=(0,), unit="study"), make_records(build, macro=0.9)[:1])
    found = compare_states(BoardResults(before, {}), BoardResults(after, {}))
    assert "scored over: images became studies (mean of their images' scores)" in found.notes
    (row,) = found.rows
    assert (row.kind, "scored over other units" in row.note) == ("unknown", True)


def test_a_board_keeps_its_unit_when_it_is_written_and_an_unknown_one_is_refused(build):
    text = board_text(build.board("a", unit="patient", pool="max"), [row_text(["a"], ["bce"], ["demo"], {})])
    board = parse_board(text, build.folder)
    assert (board.unit, board.pool) == ("patient", "max")
    assert "unit" not in board_text(build.board("a"), [])
    for wrong, says in (
        (text.replace('"patient"', '"patients"'), "board.toml: unit: there is no 'patients': did you mean 'patient'"),
        (text.replace('"max"', '"median"'), "board.toml: pool: there is no 'median'"),
        (
            text.replace('unit = "patient"\n', ""),
            "board.toml: pool: it says how the images of a study or a patient become one score; give unit",
        ),
    ):
        with pytest.raises(UsageError, match=says):
            parse_board(wrong, build.folder)
