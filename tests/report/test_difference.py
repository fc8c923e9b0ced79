"""What became of a board between two states."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from harness.board import combo_name
from harness.cli.difference_listing import as_markdown, as_plain, as_text, count_kinds
from harness.evaluation.comparison import System, compare_pairs
from harness.evaluation.resamples import Resamples
from harness.report.difference import BoardDifference, RowChange, compare_states
from harness.report.summary import BoardResults, summarize

CHANCE = np.random.default_rng(0).normal(0, 0.01, 400)
"""What the same patients, drawn again, do to every row alike."""


def state(build, values, *, own=0.001, board=None, with_resamples=True, **changes) -> BoardResults:
    """A board whose rows have an auroc a seed; each row differs from the common chance by noise of its own."""
    records, resamples = [], {}
    for number, (model, aurocs) in enumerate(values.items()):
        for seed, auroc in enumerate(aurocs):
            record = build.record(model, seed, auroc, **changes)
            records.append(record)
            noise = np.random.default_rng([number, seed]).normal(0, own, 400)
            resamples[combo_name(record.combo.row, seed)] = Resamples(
                macro={"auroc": auroc + CHANCE + noise}, per_label={}
            )
    board = board or build.board(*values, seeds=tuple(range(max(map(len, values.values())))))
    return BoardResults(summarize(board, records, resamples), resamples if with_resamples else {})


def only(found: BoardDifference) -> RowChange:
    (change,) = found.rows
    return change


@pytest.mark.parametrize(
    ("before", "after", "kind", "verdict"),
    [
        ((0.80, 0.81, 0.805), (0.90, 0.91, 0.905), "changed", "better"),
        ((0.90, 0.91, 0.905), (0.80, 0.81, 0.805), "changed", "worse"),
        ((0.80, 0.82, 0.81), (0.805, 0.825, 0.815), "noise", "noise"),
        ((0.80, 0.82, 0.81), (0.80, 0.82, 0.81), "same", "same"),
        ((0.80, 0.81), (0.90, 0.91), "unknown", "unknown"),
    ],
)
def test_a_row_changes_beyond_noise_or_within_it(build, before, after, kind, verdict):
    change = only(compare_states(state(build, {"net": before}), state(build, {"net": after})))
    assert change.kind == kind
    assert [one.verdict for one in change.metrics] == [verdict]
    assert ("three seeds of both" in change.note) == (kind == "unknown")


def test_a_metric_of_which_less_is_better_gets_better_by_falling(build):
    def one(value):
        metrics = {"auroc": build.metric(0.8), "brier": build.metric(value, higher_is_better=False)}
        records = [build.record("net", seed, metrics) for seed in (0, 1, 2)]
        drawn = {
            r.combo.name: Resamples(macro={"auroc": 0.8 + CHANCE, "brier": value + CHANCE}, per_label={})
            for r in records
        }
        return BoardResults(summarize(build.board("net", seeds=(0, 1, 2)), records, drawn), drawn)

    change = only(compare_states(one(0.2), one(0.1)))
    assert {m.metric: m.verdict for m in change.metrics} == {"auroc": "same", "brier": "better"}


def test_differences_are_those_of_the_comparison_of_systems_adjusted_for_the_rows(build):
    before = state(build, {"a": (0.80, 0.81, 0.805), "b": (0.70, 0.72, 0.71)})
    after = state(build, {"a": (0.812, 0.824, 0.82), "b": (0.75, 0.76, 0.755)}, own=0.004)
    systems = {
        f"{when} {row}": System(
            np.array(values.summary.rows[[r.model for r in values.summary.rows].index(row)].metrics["auroc"].values),
            np.array([values.resamples[combo_name(f"{row}--bce--demo", seed)].macro["auroc"] for seed in (0, 1, 2)]),
        )
        for when, values in (("before", before), ("after", after))
        for row in ("a", "b")
    }
    wanted = compare_pairs(systems, [("after a", "before a"), ("after b", "before b")])
    found = {change.row: change.metrics[0] for change in compare_states(before, after).rows}
    for pair in wanted:
        change = found[f"{pair.a.removeprefix('after ')}--bce--demo"]
        assert change.delta == pytest.approx(pair.delta)
        assert change.interval == pair.interval
        assert change.p_holm == pair.p_holm


def lose_hernia(build, rows, *, without=""):
    """A board in which one row lacks Hernia; what lies beside the records is by label for auroc alone."""
    records, drawn = [], {}
    for number, (model, value) in enumerate(rows.items()):
        for seed in (0, 1, 2):
            lost = None if model == without and seed == 0 else value / 2
            metrics = {
                "auroc": build.metric(value, value, lost),
                "f1@val-f1": build.metric(value - 0.1, value - 0.1, lost),
            }
            record = build.record(model, seed, metrics)
            noise = CHANCE + np.random.default_rng([number, seed, int(100 * value)]).normal(0, 0.001, 400)
            known = {label: one.value for label, one in metrics["auroc"].per_label.items() if one.value is not None}
            macro = {name: part.macro + noise for name, part in metrics.items()}
            records.append(record)
            drawn[combo_name(f"{model}--bce--demo", seed)] = Resamples(
                macro=macro, per_label={label: v + noise for label, v in known.items()}
            )
    return BoardResults(summarize(build.board(*rows, seeds=(0, 1, 2)), records, drawn), drawn)


def test_a_label_that_another_row_lost_changes_nothing_of_a_row(build):
    before = lose_hernia(build, {"same": 0.8, "loses": 0.6})
    after = lose_hernia(build, {"same": 0.8, "loses": 0.6}, without="loses")
    found = {change.row.partition("-")[0]: change for change in compare_states(before, after).rows}
    assert (found["same"].kind, found["same"].note) == ("same", "")
    assert [one.delta for one in found["same"].metrics] == [0, 0]
    assert [one.before for one in found["same"].metrics] == pytest.approx([2 / 3, 0.6])


def test_a_row_is_compared_over_the_labels_that_it_has_in_both_states(build):
    before = lose_hernia(build, {"loses": 0.8})
    after = lose_hernia(build, {"loses": 0.6}, without="loses")
    change = only(compare_states(before, after))
    auroc, f1 = change.metrics
    assert (auroc.before, auroc.after) == pytest.approx((0.8, 0.6))
    assert auroc.verdict == "worse"
    assert auroc.interval is not None
    assert auroc.interval[0] < -0.2 < auroc.interval[1] < 0
    assert (f1.before, f1.after) == pytest.approx((0.7, 0.5))
    assert (f1.verdict, f1.interval) == ("unknown", None)  # its labels were not resampled one by one
    assert change.note.startswith("AUROC and F1@val-f1 are over 2 of 3 labels")
    assert change.note.endswith("without Hernia")
    lost = compare_states(before, lose_hernia(build, {"loses": 0.8}, without="loses"))
    assert only(lost).kind == "same"  # as far as its labels go
    assert lost.notes == (f"loses--bce--demo: {change.note}",)
    back = only(compare_states(after, before))
    assert back.metrics[0].verdict == "better"


def test_states_without_a_label_in_common_are_not_called_unchanged(build):
    one, other = (
        BoardResults(summarize(build.board("net"), [build.record("net", 0, {"auroc": build.metric(*values)})]))
        for values in ((0.8, None, None), (None, None, 0.8))
    )
    change = only(compare_states(one, other))
    assert (change.kind, change.note, change.metrics) == ("unknown", "no metric has a label in both states", ())


def test_rows_that_come_go_or_fail_are_told_with_the_reason(build):
    before = state(build, {"stays": (0.8, 0.8), "goes": (0.7, 0.7), "fails": (0.6, 0.6)})
    later = [
        *(build.record("stays", seed, 0.8) for seed in (0, 1)),
        *(build.record("comes", seed, 0.9) for seed in (0, 1)),
    ]
    later += [build.record("fails", seed, failure="out of luck") for seed in (0, 1)]
    after = BoardResults(summarize(build.board("stays", "comes", "fails", "never"), later, {}))
    found = {change.row.partition("-")[0]: change for change in compare_states(before, after).rows}
    assert {name: change.kind for name, change in found.items()} == {
        "comes": "new",
        "goes": "gone",
        "fails": "gone",
        "stays": "same",
    }
    assert "out of luck" in found["fails"].note
    assert "not on the board" in found["goes"].note


def test_rows_that_one_state_alone_has_are_told_with_values_and_intervals(build):
    from rich.console import Console

    before = state(build, {"stays": (0.8, 0.81), "goes": (0.7, 0.72)})
    after = state(build, {"stays": (0.8, 0.81), "comes": (0.9, 0.92)})
    found = compare_states(before, after)
    rows = {row["row"].partition("-")[0]: row for row in as_plain(found)["rows"]}
    written = io.StringIO()
    Console(width=200, file=written).print(*as_text(found), sep="\n")
    for name, mean in (("comes", 0.91), ("goes", 0.71)):
        spread = rows[name]["values"]["auroc"]
        low, high = spread["interval"]
        assert (spread["mean"], low < mean < high) == (pytest.approx(mean), True)
        told = f"{mean:.4f} ±{spread['deviation']:.4f} [{low:.3f}, {high:.3f}]"
        assert told in written.getvalue()
        assert told.replace("[", r"\[").replace("]", r"\]") in as_markdown(found)
    assert rows["stays"]["values"] == {}


def test_the_objective_is_told_first_and_what_is_fitted_on_test_only_in_plain_data(build):
    metrics = {name: build.metric(0.5) for name in ("brier", "f1@oracle", "auroc")}
    one, other = (
        BoardResults(summarize(build.board(model), [build.record(model, seed, metrics) for seed in (0, 1)], {}))
        for model in ("goes", "comes")
    )
    change = compare_states(one, other).rows[0]
    assert [*change.values] == ["auroc", "brier", "f1@oracle"]
    text = as_markdown(compare_states(one, other))
    assert ("AUROC<br>Brier |" in text, "oracle" in text) == (True, False)


def test_without_resamples_or_on_other_data_nothing_is_called_noise(build):
    before, after = {"net": (0.80, 0.81)}, {"net": (0.9, 0.91)}
    alone = compare_states(state(build, before, with_resamples=False), state(build, after))
    assert (only(alone).kind, only(alone).note) == ("unknown", "a record lies without its resamples")
    other = build.data(fingerprint="e" * 64)
    elsewhere = compare_states(state(build, before), state(build, after, dataset=other))
    assert (only(elsewhere).kind, only(elsewhere).note) == ("unknown", "measured on other images, labels or splits")
    assert any("different images" in note for note in elsewhere.notes)


def test_definitions_that_differ_are_named(build):
    one = state(build, {"net": (0.8, 0.8)})
    board = build.board("net", objective="auroc", seeds=(0, 1, 2), options={"size": 32})
    changed = build.combo(build.row("net"), 0, options={"size": 32})
    records = [build.record("net", seed, 0.8, combo=changed.model_copy(update={"seed": seed})) for seed in (0, 1)]
    found = compare_states(one, BoardResults(summarize(board, records, {})))
    assert "dataset: dots size=16 became dots size=32" in found.notes
    assert "seeds: 0 1 became 0 1 2" in found.notes


def test_speed_is_told_on_one_device_only(build):
    one = state(build, {"net": (0.8, 0.8)})
    assert only(compare_states(one, one)).speed == 1.0
    moved = build.provenance().model_copy(update={"device": "another"})
    assert only(compare_states(one, state(build, {"net": (0.8, 0.8)}, provenance=moved))).speed is None


def test_markdown_counts_rows_and_escapes_names(build):
    change = RowChange(row="a|b<script>`*", kind="gone", note="x\ny")
    text = as_markdown(BoardDifference("board", "auroc", (change,), ("a note",)))
    row = next(line for line in text.splitlines() if "script" in line)
    assert "<script" not in text
    assert row.replace(r"\|", "").count("|") == 6
    assert "1 gone" in text
    assert "- a note" in text


def test_text_and_plain_data_say_the_same(build):
    from rich.console import Console

    found = compare_states(state(build, {"net": (0.80, 0.81, 0.805)}), state(build, {"net": (0.90, 0.91, 0.905)}))
    written = io.StringIO()
    Console(width=200, file=written).print(*as_text(found), sep="\n")
    text = written.getvalue()
    (row,) = as_plain(found)["rows"]
    assert count_kinds(found) == "1 changed beyond noise"
    assert "0.8050 -> 0.9050, +0.1000" in text
    assert row["metrics"]["auroc"]["delta"] == pytest.approx(0.1)
    assert row["kind"] == "changed"
    assert "better" in text


def test_seeds_that_were_added_are_told(build):
    one, two = state(build, {"net": (0.8,)}), state(build, {"net": (0.8, 0.8)})
    assert "seeds 0 became 0 1" in only(compare_states(one, two)).note
    assert replace(only(compare_states(one, two)), note="").kind == "same"
