"""A board's table as it stands in a paper: columns, bold print, caption."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from harness.board import open_board
from harness.errors import UnknownNameError, UsageError
from harness.report.format import format_interval, format_spread
from harness.report.page import render
from harness.report.paper import as_latex, as_markdown, list_names, make_table
from harness.report.summary import read_results


@pytest.fixture(scope="module")
def kept():
    """The summaries of kept boards, by name."""
    return {name: read_results(open_board(f"leaderboards/{name}")).summary for name in ("demo", "nih-official")}


def read(table):
    """Heading -> the texts of its column."""
    return {heading: [row[place].text for row in table.rows] for place, heading in enumerate(table.headings)}


def bold(table, heading):
    place = table.headings.index(heading)
    return [row[place].is_best for row in table.rows]


def test_the_usual_columns_are_the_row_what_ranks_and_the_boards_metrics(kept):
    table = make_table(kept["demo"])
    assert table.headings == ("row", "AUROC", "95 % interval", "AUPRC", "F1", "Brier", "ECE")
    rows = kept["demo"].rows
    assert read(table)["row"] == [row.title for row in rows]
    assert read(table)["AUROC"] == [format_spread(row.metrics["auroc"], 3) for row in rows]
    assert read(table)["95 % interval"] == [format_interval(row.metrics["auroc"]) for row in rows]
    assert table.numeric == (False, True, True, True, True, True, True)


def test_bold_is_the_first_group_in_the_objective_and_the_best_value_elsewhere(kept):
    table, rows = make_table(kept["demo"]), kept["demo"].rows
    assert bold(table, "AUROC") == [row.group == 1 for row in rows]
    lowest = min(round(row.metrics["ece"].mean, 3) for row in rows)
    assert bold(table, "ECE") == [round(row.metrics["ece"].mean, 3) == lowest for row in rows]
    assert not any(bold(make_table(kept["demo"], ["f1@oracle"]), "F1"))
    assert not any(bold(table, "95 % interval"))


def test_a_caption_says_what_a_reader_cannot_see(kept):
    caption = " ".join(make_table(kept["demo"]).caption)
    for text in (
        "Dataset phantom: test split of 600 images of 173 patients, 14 labels (data fingerprint ",
        "± standard deviation over 3 seeds.",
        "Intervals of AUROC are over patients, at 95 %.",
        "Decisions are at the threshold with the highest F1 on validation, for each label.",
        "Lower is better for Brier and ECE.",
        "statistically tied",
    ):
        assert text in caption
    official = " ".join(make_table(kept["nih-official"]).caption)
    assert "nih-cxr14, official split: test split of 25,596 images of 2,797 patients" in official
    assert "All rows are external, not trained here." in official
    assert "Without a result and left out: chexnet + bce, chexnet recipe;" in official


def test_a_caption_says_nothing_of_what_is_not_shown(kept):
    caption = " ".join(make_table(kept["demo"], ["title", "seeds"]).caption)
    assert not re.search("Bold|Interval|Decisions|Lower|Mean", caption)
    assert "Times" not in caption
    assert "Times are of " in " ".join(make_table(kept["demo"], ["title", "train_minutes"]).caption)


def test_several_threshold_policies_are_told_apart(kept):
    table = make_table(kept["demo"], ["title", "f1", "f1@0.5", "f1@oracle"])
    assert table.headings == ("row", "F1 at val-f1", "F1 at 0.5", "F1 at oracle")
    caption = " ".join(table.caption)
    assert "0.5: a score of one half." in caption
    assert "oracle: the threshold with the highest F1 on the test split itself" in caption


def test_every_column_of_the_csv_can_be_shown(kept):
    for summary in kept.values():
        table = make_table(summary, list_names(summary))
        assert len(table.headings) == len(list_names(summary))
        assert all(len(row) == len(table.headings) for row in table.rows)


def test_a_label_is_shown_by_its_metric(kept):
    label = kept["demo"].data.labels[0]
    table = make_table(kept["demo"], [f"auroc[{label}]", f"auroc[{label}]_low", f"f1[{label}]"])
    assert table.headings == ("AUROC, Atelectasis", "AUROC, Atelectasis, low", "F1, Atelectasis")
    values = [f"{row.per_label['auroc'][label]:.3f}" for row in kept["demo"].rows]
    assert read(table)["AUROC, Atelectasis"] == values


def test_a_wrong_column_names_the_nearest_and_the_metrics(kept):
    with pytest.raises(UnknownNameError, match=r"'auorc': did you mean 'auroc'.*metrics are auroc, auprc"):
        make_table(kept["demo"], ["auorc"])


def test_a_board_without_results_has_no_table_and_its_page_no_such_part(build, tmp_path):
    with pytest.raises(UsageError, match="no results yet"):
        make_table(read_results(build.board("net")).summary)
    build.folder.mkdir()
    assert 'id="paper"' not in render(build.board("net")).page.read_text(encoding="utf-8")


def test_submitted_rows_are_marked_where_others_were_trained_here(kept):
    summary = kept["demo"]
    mixed = replace(summary, rows=(replace(summary.rows[0], external="said"), *summary.rows[1:]))
    table = make_table(mixed)
    assert [text.endswith("*") for text in read(table)["row"]] == [True, False, False, False, False, False]
    assert "* is external, not trained here." in table.caption


def test_markdown_and_latex_have_a_line_for_each_row_and_the_caption(kept):
    table = make_table(kept["demo"])
    lines = as_markdown(table).splitlines()
    assert len(lines) == 2 + len(table.rows) + 2
    assert {line.count("|") for line in lines[: 2 + len(table.rows)]} == {len(table.headings) + 1}
    assert "**0.868 ±0.007** | [0.850, 0.883]" in lines[2]
    latex = as_latex(table)
    assert latex.count(r" \\") == len(table.rows) + 1
    assert r"\textbf{0.868 $\pm$0.007} & {[}0.850, 0.883{]}" in latex
    assert r"\caption{Demo: three networks" in latex
    assert r"timm/test\_vit" in latex


def test_the_page_holds_the_table_in_both_forms(toy_board):
    page = render(open_board(toy_board)).page.read_text(encoding="utf-8")
    assert 'id="paper-markdown-text"' in page
    assert r"\begin{tabular}" in page
