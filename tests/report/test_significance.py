"""What chance explains: intervals of rows, comparisons, rank groups, controls, and how the page says it."""

from __future__ import annotations

import dataclasses
import re
import statistics

import numpy as np
import pytest

from harness.board import combo_name
from harness.cli.board_listing import as_plain, table
from harness.cli.row_listing import as_text
from harness.evaluation.comparison import System, compare_pairs
from harness.evaluation.resamples import Resamples
from harness.report.headline import conclude, judge, judge_shuffled, tell_power
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
        labels = {label: macro["auroc"] + 0.01 * place for place, label in enumerate(LABELS, start=-1)}
        found[record.combo.name] = Resamples(macro=macro, per_label=labels)
    return found


@pytest.fixture
def three(build):
    """Two rows that patients cannot tell apart, and one that is worse; three seeds each."""
    values = {"best": (0.900, 0.902, 0.901), "near": (0.899, 0.901, 0.9), "worse": (0.800, 0.802, 0.801)}
    records = [build.record(model, seed, value) for model, found in values.items() for seed, value in enumerate(found)]
    return build.board(*values, seeds=(0, 1, 2)), records


def test_a_rows_interval_is_that_of_its_mean_over_seeds(three):
    board, records = three
    drawn = beside(records)
    row = summarize(board, records, drawn).ranked[0]
    both = np.mean([drawn[combo_name(row.name, seed)].macro["auroc"] for seed in (0, 1, 2)], axis=0)
    assert row.metrics["auroc"].interval == pytest.approx(tuple(np.quantile(both, [0.025, 0.975])))
    low, high = row.label_intervals["Hernia"]
    expected, value = np.quantile(both + 0.01, [0.025, 0.975]), row.per_label["auroc"]["Hernia"]
    assert (low, high) == pytest.approx((min(expected[0], value), max(expected[1], value)))  # it holds its value


def test_rows_without_a_significant_difference_share_a_group(three):
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
            np.array(row.metrics["auroc"].values),
            np.array([drawn[combo_name(row.name, s)].macro["auroc"] for s in (0, 1, 2)]),
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
    assert "Over seeds alone p = 0.2" in conclude(summary)


WHY = "an interval needs 3 patients who have each label and 3 who lack it: 2 have Hernia"


def unresampled(records, metric="auroc"):
    """The records and what lies beside them, as a test set makes them in which two patients have Hernia."""
    changed = []
    for record in records:
        part = record.metrics[metric].model_copy(update={"interval": None, "no_interval": WHY})
        changed.append(record.model_copy(update={"metrics": record.metrics | {metric: part}}))
    drawn = {}
    for name, one in beside(records).items():
        unknown = np.full(400, np.nan)
        labels = {**one.per_label, "Hernia": unknown} if metric == "auroc" else one.per_label
        drawn[name] = Resamples(macro={**one.macro, metric: unknown}, per_label=labels)
    return changed, drawn


def test_rows_whose_differences_have_no_interval_stand_in_no_groups_and_the_reason_is_told(three):
    board, records = three
    summary = summarize(board, *unresampled(records))
    assert summary.obstacle == f"3 of 3 differences have no interval: {WHY}"
    assert ([row.group for row in summary.rows], summary.pairs, summary.leaders) == ([None] * 3, (), {})
    assert (summary.grouped, summary.compared) == (False, False)
    caption = str(table(summary, 100).caption)
    assert f"rows are not compared: {summary.obstacle}" in caption
    assert "rows of one group" not in caption
    assert summary.obstacle in conclude(summary)
    assert f"Rows are not compared with each other: {summary.obstacle}." in render_text(summary)


def test_why_a_metric_has_no_interval_is_told_below_the_ranking(three):
    board, records = three
    metrics = {name: records[0].metrics["auroc"].model_copy(update={"macro": 0.5}) for name in ("f1@0.5", "f1@val-f1")}
    metrics["brier"] = metrics["f1@0.5"]
    records = [record.model_copy(update={"metrics": record.metrics | metrics}) for record in records]
    drawn = beside(records)
    told, _ = unresampled(records, "brier")
    for name, one in drawn.items():
        one.macro["brier"][:] = np.nan
        if "near" in name:
            one.macro["f1@0.5"][:] = one.macro["f1@val-f1"][:] = np.nan
    summary = summarize(board, told, drawn)
    assert summary.obstacle == ""
    row = summary.rows[1]
    assert (row.metrics["brier"].no_interval, row.metrics["auroc"].no_interval) == (WHY, "")
    says = [
        "no interval for F1: more than 5% of the resamples have no value (1 of 3 rows)",
        f"no interval for Brier: {WHY}",
    ]
    caption, page = str(table(summary, 100).caption), render_text(summary)
    of_row = "\n".join(map(str, as_text(summary, row)))
    for text in says:
        assert text in caption
        assert text in page
        assert text.removesuffix(" (1 of 3 rows)") in of_row
    plain = as_plain(summary)["rows"][0]["metrics"]["brier"]
    assert (plain["interval"], plain["no_interval"]) == (None, WHY)


def test_a_mean_over_fewer_labels_than_were_resampled_says_why_it_has_no_interval(build):
    values = {"whole": (0.9, 0.8, 0.4), "partial": (0.85, 0.75, None)}
    records = [
        build.record(model, 0, {"auroc": build.metric(0.8), "brier": build.metric(*found)})
        for model, found in values.items()
    ]
    summary = summarize(build.board(*values, seeds=(0,)), records, beside(records))
    whole, partial = (next(row for row in summary.rows if row.model == model) for model in values)
    assert partial.metrics["brier"].interval is not None
    assert "single labels are resampled for the objective alone" in whole.metrics["brier"].no_interval


def test_labels_that_were_resampled_for_another_objective_have_no_interval_and_no_leaders(three):
    board, records = three
    brier = {"brier": build_lower(records[0])}
    records = [record.model_copy(update={"metrics": record.metrics | brier}) for record in records]
    drawn = beside(records)  # single labels are those of auroc
    assert summarize(board, records, drawn).leaders
    other = summarize(dataclasses.replace(board, objective="brier"), records, drawn)
    assert other.compared
    assert (other.leaders, other.rows[0].label_intervals) == ({}, {})


def build_lower(record):
    """A metric of which less is better, in place of the record's."""
    part = record.metrics["auroc"]
    labels = {label: dataclasses.replace(one, value=0.2) for label, one in part.per_label.items()}
    return part.model_copy(update={"macro": 0.2, "per_label": labels, "higher_is_better": False})


def test_a_label_whose_differences_have_no_interval_has_no_leaders(build, three):
    """Hernia is not in the macro, as it is undefined at another threshold policy."""
    board, records = three
    lacking = build.metric(0.8, 0.8, None)
    metrics = [
        {"auroc": r.metrics["auroc"].model_copy(update={"left_out": ["Hernia"], "labels_used": 2}), "auroc@x": lacking}
        for r in records
    ]
    records = [r.model_copy(update={"metrics": found}) for r, found in zip(records, metrics, strict=True)]
    drawn = {
        name: Resamples(
            macro=one.macro, per_label=dict.fromkeys(LABELS, one.macro["auroc"]) | {"Hernia": np.full(400, np.nan)}
        )
        for name, one in beside(records).items()
    }
    leaders = summarize(board, records, drawn).leaders
    assert set(leaders) == {"Edema", "Mass"}
    assert leaders["Mass"] == {"best--bce--demo", "near--bce--demo"}


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ((0.899, 0.901, 0.9), "No significant difference (p = 0.5"),
        ((0.80, 0.802, 0.801), "The difference is significant (p < 0.001, over patients and seeds)."),
    ],
)
def test_the_answer_says_whether_the_lead_is_chance(build, second, says):
    values = {"a": (0.900, 0.902, 0.901), "b": second}
    records = [build.record(model, seed, value) for model, found in values.items() for seed, value in enumerate(found)]
    text = conclude(summarize(build.board(*values, seeds=(0, 1, 2)), records, beside(records)))
    assert says in text
    assert "a + bce leads with AUROC 0.9010 ±0.0010 [0.8" in text


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"b": 0.8}, "a + bce is best. AUROC 0.901 vs 0.801 of b + bce, p < 0.001."),
        ({"b": 0.899}, "Tie: a + bce and b + bce. AUROC 0.901 vs 0.900, p = 0."),
        ({"b": 0.899, "c": 0.7}, " Both beat c + bce by 0.199 or more."),
        (
            {"b": 0.899, "c": 0.8985, "d": 0.7},
            "Tie of 3 rows, a + bce first. AUROC from 0.901 to 0.900. All beat d",
        ),
    ],
)
def test_the_verdict_is_one_line_that_names_who_is_tied_and_who_is_beaten(build, others, says):
    values = {"a": 0.9} | others
    records = [
        build.record(model, seed, value + apart)
        for model, value in values.items()
        for seed, apart in enumerate((0.0, 0.002, 0.001))
    ]
    assert says in judge(summarize(build.board(*values, seeds=(0, 1, 2)), records, beside(records)))


def test_a_verdict_without_tests_claims_none(build):
    records = [build.record("a", 0, 0.9), build.record("b", 0, 0.8)]
    board = build.board("a", "b", seeds=(0,))
    told = judge(summarize(board, records, beside(records)))
    assert told == "a + bce is ahead of b + bce. AUROC 0.900 vs 0.800. Not shown to be significant."
    assert judge(summarize(board, records[:1])) == "a + bce: AUROC 0.900. No other row has a result."
    assert judge(summarize(board, [])) == ""
    chance = [build.record("a", 0, 0.5), build.record("b", 0, 0.4)]
    told = judge(summarize(board, chance, beside(chance)))
    assert told == "No row is better than chance. a + bce is first with AUROC 0.500."


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_with_fewer_than_three_seeds_trained_networks_differ_and_no_method_does(build, seeds):
    records = [build.record(model, seed, value) for model, value in (("a", 0.9), ("b", 0.8)) for seed in seeds]
    summary = summarize(build.board("a", "b", seeds=seeds), records, beside(records))
    text = conclude(summary)
    assert "These trained networks differ on these patients (p < 0.001, over patients)" in text
    assert "needs at least three seeds of both" in text
    assert "group" not in text
    assert [row.group for row in summary.rows] == [None, None]
    assert summary.compared
    assert not summary.grouped
    assert "rows stand in no groups: a verdict about methods needs" in str(table(summary, 100).caption)
    assert "There are no groups" in render_text(summary)
    assert summary.ranked[0].metrics["auroc"].interval_seeds is None


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
        ("a--bce--demo", 1, None),
        ("b--bce--demo", 2, None),
        ("control-prevalence", None, None),
        ("control-shuffled", None, None),
    ]
    assert len(summary.pairs) == 1
    assert "control, done" in str(list(table(summary, 200).columns[-1].cells))
    page = render_text(summary)
    assert "control: shuffled" in page
    assert "Control rows must find nothing" in page
    seen = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert "Prevalence: AUROC 0.950" in seen
    assert not re.search(r"\bauroc\b", seen)


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
    short = {
        name: Resamples(macro={"auroc": one.macro["auroc"][:200]}, per_label={})
        for name, one in drawn.items()
        if "best" in name
    }
    both = records[:3] + records[6:]
    assert "equally often" in summarize(board, both, drawn | short).obstacle


def test_a_narrow_table_leaves_out_the_spread_before_the_interval(three):
    board, records = three
    summary = summarize(board, records, beside(records))
    for width, spread in ((100, "0.9010 ±0.0010"), (60, "0.9010")):
        columns = {str(column.header): list(column.cells) for column in table(summary, width).columns}
        assert columns["AUROC"][0] == spread
        assert "[0." in str(columns["95 %"][0])


def test_intervals_stand_beside_each_metric_on_the_page(build, three):
    board, records = three
    summary = summarize(board, records, beside(records))
    text = build.whole(render_text(summary))
    low, high = summary.ranked[0].metrics["auroc"].interval or (0, 0)
    assert f"0.9010<br>[{low:.3f}, {high:.3f}]" in text
    low, high = summary.ranked[0].label_intervals["Mass"]
    assert f'data-interval="{low:.3f} {high:.3f}"' in text


def test_the_interval_over_patients_and_seeds_holds_the_one_over_patients(three):
    board, records = three
    summary = summarize(board, records, beside(records))
    for row in summary.ranked:
        spread = row.metrics["auroc"]
        assert spread.interval is not None
        assert spread.interval_seeds is not None
        (low, high), (lowest, highest) = spread.interval, spread.interval_seeds
        assert lowest < low < high < highest
    text = render_text(summary)
    assert f"[{lowest:.3f}, {highest:.3f}] with seeds" in text


@pytest.mark.parametrize(("method", "inside"), [("logit", True), ("squared", True), ("percentile", False)])
def test_an_interval_over_patients_and_seeds_holds_nothing_that_the_metric_cannot_be(build, method, inside):
    values = {"low": (0.0, 0.01, 0.02), "high": (1.0, 0.99, 0.98)}
    records, drawn = [], {}
    for model, found in values.items():
        for seed, value in enumerate(found):
            metric = build.metric(value).model_copy(update={"interval_method": method})
            records.append(build.record(model, seed, {"auroc": metric}))
            noise = np.random.default_rng(seed).uniform(0, 0.02, 400)
            drawn[combo_name(f"{model}--bce--demo", seed)] = Resamples(
                macro={"auroc": abs(noise - (model == "high"))}, per_label={}
            )
    summary = summarize(build.board(*values, seeds=(0, 1, 2)), records, drawn)
    ends = [row.metrics["auroc"].interval_seeds for row in summary.ranked]
    assert [pair is not None and 0 <= pair[0] < pair[1] <= 1 for pair in ends] == [inside] * 2


def test_a_failed_row_does_not_blind_the_others(build):
    """The seeds of one row spread twenty times as far; the verdict about two others stays as it was."""
    values = {"a": (0.900, 0.902, 0.901), "b": (0.890, 0.892, 0.891), "c": (0.885, 0.887, 0.886)}

    def pair(rows):
        records = [build.record(m, seed, value) for m, found in rows.items() for seed, value in enumerate(found)]
        summary = summarize(build.board(*rows, seeds=(0, 1, 2)), records, beside(records))
        return next(p for p in summary.pairs if (p.a, p.b) == ("a--bce--demo", "b--bce--demo"))

    alone, beside_it = pair(values), pair(values | {"failed": (0.70, 0.80, 0.60)})
    assert beside_it.p == pytest.approx(alone.p, rel=1e-9)
    assert alone.differs
    assert beside_it.differs


def test_what_could_have_been_seen_is_on_the_page(three):
    board, records = three
    summary = summarize(board, records, beside(records))
    median = statistics.median(pair.detectable or 0 for pair in summary.pairs)
    says = f"With these patients and 3 seeds, a difference of a typical pair below {median:.4f} is missed more often"
    assert tell_power(summary).startswith(says)
    assert says in render_text(summary)


def test_rows_are_averaged_over_the_labels_that_all_have(build):
    """A row that never flags its worst label would otherwise lead by leaving it out."""
    values = {"whole": (0.9, 0.8, 0.4), "partial": (0.85, 0.75, None)}
    records = [build.record(m, seed, {"auroc": build.metric(*v)}) for m, v in values.items() for seed in (0, 1, 2)]
    drawn = {}
    for number, record in enumerate(records):
        noise = np.random.default_rng(number).normal(0, 0.002, 400)
        part = record.metrics["auroc"]
        labels = {name: one.value + noise for name, one in part.per_label.items() if one.value is not None}
        drawn[record.combo.name] = Resamples(macro={"auroc": part.macro + noise}, per_label=labels)
    summary = summarize(build.board(*values, seeds=(0, 1, 2)), records, drawn)
    assert [(row.model, round(row.metrics["auroc"].mean, 3)) for row in summary.ranked] == [
        ("whole", 0.85),
        ("partial", 0.8),
    ]
    assert summary.labels["auroc"] == ("Edema", "Mass")
    assert summary.pairs[0].delta == pytest.approx(0.05)
    interval = summary.ranked[0].metrics["auroc"].interval
    assert interval is not None
    assert interval[0] > 0.8
    says = "AUROC is over 2 of 3 labels, those averaged in all that stand side by side: without Hernia"
    assert says in render_text(summary)
    assert says in str(table(summary, 120).caption)
    assert as_plain(summary)["labels"] == {"auroc": ["Edema", "Mass"]}


def test_threshold_policies_of_a_metric_share_its_labels(build):
    metrics = {
        "auroc": build.metric(0.8),
        "f1@val-f1": build.metric(0.6, 0.5, None),
        "f1@oracle": build.metric(0.6, 0.5, 0.1),
    }
    summary = summarize(build.board("a", seeds=(0,)), [build.record("a", 0, metrics)])
    assert summary.labels["f1@oracle"] == summary.labels["f1@val-f1"] == ("Edema", "Mass")
    assert summary.ranked[0].metrics["f1@oracle"].mean == pytest.approx(0.55)


def test_leaders_of_a_label_are_adjusted_for_having_been_picked(build):
    """Of rows that are all alike the best seldom beats any: 8 rows of one truth, with patients alone to differ by."""
    generator = np.random.default_rng(5)
    boards, wrong = 120, 0
    for _ in range(boards):
        records, drawn = [], {}
        for n in range(8):
            patients, noise = generator.normal(0, 0.01), generator.normal(0, 0.01, 300)
            for seed in (0, 1, 2):
                value = 0.8 + patients + generator.normal(0, 0.001)
                record = build.record(f"m{n}", seed, {"auroc": build.metric(value, None, None)})
                records.append(record)
                drawn[combo_name(record.combo.row, seed)] = Resamples(
                    macro={"auroc": value + noise}, per_label={"Edema": value + noise}
                )
        summary = summarize(build.board(*(f"m{n}" for n in range(8)), seeds=(0, 1, 2)), records, drawn)
        wrong += len(summary.leaders["Edema"]) < 8
    assert wrong / boards <= 0.08
