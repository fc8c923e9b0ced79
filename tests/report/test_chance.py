"""What chance explains: intervals of rows, comparisons, rank groups, controls, and how the page says it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.evaluation.comparison import System, compare_pairs
from harness.evaluation.resamples import Resamples
from harness.report.answer import conclude, judge_shuffled
from harness.report.listing import as_plain, table
from harness.report.page import render_text
from harness.report.summary import summarize

LABELS = ("Edema", "Mass", "Hernia")


def beside(records, spread: float = 0.01, own: float = 0.002) -> dict[str, Resamples]:
    """Resamples around each record's value: what patients do to all rows alike, and a little to each alone."""
    shared = np.random.default_rng(0).normal(0, spread, 400)
    found = {}
    for number, record in enumerate(records):
        noise = shared + np.random.default_rng(number + 1).normal(0, own, 400)
        macro = {name: part.macro + noise for name, part in record.metrics.items() if part.macro is not None}
        labels = {label: macro["auroc"] + 0.01 * place for place, label in enumerate(LABELS)}
        found[f"{record.combo.row}--s{record.combo.seed}"] = Resamples(macro, labels)
    return found


@pytest.fixture
def three(build):
    """Two rows that patients cannot tell apart, and one that is worse; two seeds each."""
    values = {"best": (0.900, 0.902), "near": (0.899, 0.901), "worse": (0.800, 0.802)}
    records = [build.record(model, seed, value) for model, found in values.items() for seed, value in enumerate(found)]
    return build.board(*values), records


def test_a_rows_interval_is_that_of_its_mean_over_seeds(three):
    board, records = three
    drawn = beside(records)
    row = summarize(board, records, drawn).ranked[0]
    both = np.mean([drawn[f"{row.name}--s{seed}"].macro["auroc"] for seed in (0, 1)], axis=0)
    assert row.metrics["auroc"].interval == pytest.approx(tuple(np.quantile(both, [0.025, 0.975])))
    low, high = row.label_intervals["Hernia"]
    assert (low, high) == pytest.approx(tuple(np.quantile(both + 0.02, [0.025, 0.975])))


def test_rows_that_are_not_shown_to_differ_share_a_group(three):
    board, records = three
    summary = summarize(board, records, beside(records))
    assert [(row.model, row.rank, row.group) for row in summary.rows] == [
        ("best", 1, 1),
        ("near", 2, 1),
        ("worse", 3, 2),
    ]
    assert len(summary.pairs) == 3
    plain = as_plain(summary)
    assert plain["rows"][2]["group"] == 2
    assert plain["pairs"][0]["p_holm"] > 0.05


def test_the_pairs_are_those_of_the_paired_comparison(three):
    board, records = three
    drawn = beside(records)
    summary = summarize(board, records, drawn)
    systems = {
        row.name: System(
            np.array(row.metrics["auroc"].values), np.array([drawn[f"{row.name}--s{s}"].macro["auroc"] for s in (0, 1)])
        )
        for row in summary.ranked
    }
    assert list(summary.pairs) == compare_pairs(systems)


def test_a_row_without_its_resamples_leaves_the_board_without_groups(three):
    board, records = three
    drawn = beside(records)
    del drawn["near--bce--demo--s1"]
    summary = summarize(board, records, drawn)
    assert not summary.compared
    assert summary.pairs == ()
    assert [row.metrics["auroc"].interval is None for row in summary.ranked] == [False, True, False]
    assert "standard errors of what seeds alone change" in conclude(summary)


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ((0.899, 0.901), "They are not shown to differ (p = "),
        ((0.80, 0.802), "That is more than chance explains (p < 0.001 against patients and seeds"),
    ],
)
def test_the_answer_says_whether_the_lead_is_chance(build, second, says):
    values = {"a": (0.900, 0.902), "b": second}
    records = [build.record(model, seed, value) for model, found in values.items() for seed, value in enumerate(found)]
    text = conclude(summarize(build.board(*values), records, beside(records)))
    assert says in text
    assert "a with bce (demo) leads with auroc 0.9010 ±0.0014 [0.8" in text
    assert text.endswith("2 rows share the first group." if second[0] > 0.89 else "It is alone in its group.")


def test_with_one_seed_a_row_the_comparison_is_against_patients_alone(build):
    records = [build.record(model, 0, value) for model, value in (("a", 0.9), ("b", 0.8))]
    text = conclude(summarize(build.board("a", "b", seeds=(0,)), records, beside(records)))
    assert "against patients alone, with one seed a row" in text


def control(build, name: str, value: float):
    row = dataclasses.replace(build.row("a"), control=name)
    record = build.record(row, 0, value)
    return row, record.model_copy(update={"combo": record.combo.model_copy(update={"control": name})})


def test_controls_stand_last_without_a_rank_and_are_no_part_of_comparisons(build):
    rows, records = zip(control(build, "prevalence", 0.95), control(build, "shuffled", 0.5), strict=True)
    systems = [build.record(model, 0, value) for model, value in (("a", 0.9), ("b", 0.8))]
    board = build.board(build.row("a"), build.row("b"), *rows, seeds=(0,))
    summary = summarize(board, [*records, *systems], beside([*systems, *records]))
    assert [(row.name, row.rank, row.group) for row in summary.rows] == [
        ("a--bce--demo", 1, 1),
        ("b--bce--demo", 2, 2),
        ("control-prevalence", None, None),
        ("control-shuffled", None, None),
    ]
    assert len(summary.pairs) == 1
    assert "control, done" in str(list(table(summary, 200).columns[-1].cells))
    page = render_text(summary)
    assert "control: shuffled" in page
    assert "Control rows must find nothing" in page


@pytest.mark.parametrize(
    ("value", "says"), [(0.5, "which contains one half"), (0.4, "not above one half"), (0.6, "Look for a leak")]
)
def test_the_shuffled_control_is_judged_in_words(build, value, says):
    row, record = control(build, "shuffled", value)
    system = build.record("a", 0, 0.9)
    board = build.board(build.row("a"), row, seeds=(0,))
    summary = summarize(board, [system, record], beside([system, record]))
    assert says in judge_shuffled(summary)
    assert says in render_text(summary)


def test_a_board_without_controls_says_nothing_of_them(three):
    board, records = three
    assert judge_shuffled(summarize(board, records, beside(records))) == ""


def test_what_keeps_rows_from_being_compared_is_said(three):
    board, records = three
    drawn = beside(records)
    del drawn["near--bce--demo--s1"]
    summary = summarize(board, records, drawn)
    assert [row.group for row in summary.rows] == [None, None, None]
    says = "1 of 3 rows lack resamples beside a record: near--bce--demo"
    assert summary.obstacle == as_plain(summary)["obstacle"] == says
    assert f"rows are not compared: {says}" in str(table(summary, 100).caption)
    assert says in render_text(summary)
    assert summarize(board, records).obstacle == "no row has resamples beside all of its records"
    short = {name: Resamples({"auroc": one.macro["auroc"][:200]}, {}) for name, one in drawn.items() if "best" in name}
    both = records[:2] + records[4:]
    assert "equally often" in summarize(board, both, drawn | short).obstacle


def test_a_narrow_table_leaves_out_the_spread_before_the_interval(three):
    board, records = three
    summary = summarize(board, records, beside(records))
    for width, spread in ((100, "0.9010 ±0.0014"), (60, "0.9010")):
        columns = {str(column.header): list(column.cells) for column in table(summary, width).columns}
        assert columns["auroc"][0] == spread
        assert "[0." in str(columns["95 %"][0])


def test_intervals_stand_beside_each_metric_on_the_page(build, three):
    board, records = three
    summary = summarize(board, records, beside(records))
    text = build.whole(render_text(summary))
    low, high = summary.ranked[0].metrics["auroc"].interval or (0, 0)
    assert f"0.9010<br>[{low:.3f}, {high:.3f}]" in text
    low, high = summary.ranked[0].label_intervals["Mass"]
    assert f'data-interval="{low:.3f} {high:.3f}"' in text
