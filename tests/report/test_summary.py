"""Rows from records: means, spreads, ranks, and which records count."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from harness.cli.board_listing import as_plain, table
from harness.cli.output import Output
from harness.report.headline import find_lead
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.summary import summarize

VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=6)


def only(summary: Leaderboard) -> RowSummary:
    (row,) = summary.rows
    return row


def test_the_mean_and_the_sample_deviation_over_seeds_equal_numpys(build):
    values = (0.81, 0.84, 0.80)
    board = build.board(seeds=(0, 1, 2))
    spread = only(summarize(board, [build.record(seed=n, metrics=v) for n, v in enumerate(values)])).metrics["auroc"]
    assert spread.mean == pytest.approx(np.mean(values), abs=1e-15)
    assert spread.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-15)
    assert spread.values == pytest.approx(values)
    assert spread.seeds == (0, 1, 2)
    assert spread.interval is None


def test_one_seed_has_no_deviation(build):
    spread = only(summarize(build.board(), [build.record()])).metrics["auroc"]
    assert spread.deviation is None


def test_an_undefined_label_is_absent_and_the_macro_says_how_many_labels_it_averages(build):
    records = [build.record(seed=n, metrics={"auroc": build.metric(0.7 + n / 10, 0.9, None)}) for n in (0, 1)]
    row = only(summarize(build.board(), records))
    assert row.per_label["auroc"] == pytest.approx({"Edema": 0.75, "Mass": 0.9})
    assert row.metrics["auroc"].labels_used == 2


def test_a_label_is_averaged_over_the_seeds_for_which_it_is_defined(build):
    records = [
        build.record(seed=0, metrics={"auroc": build.metric(0.7, 0.9, None)}),
        build.record(seed=1, metrics={"auroc": build.metric(0.7, 0.9, 0.6)}),
    ]
    assert only(summarize(build.board(), records)).per_label["auroc"]["Hernia"] == pytest.approx(0.6)


def test_rows_are_ranked_by_the_mean_of_the_objective(build):
    records = [build.record("low", metrics=0.7), build.record("high", metrics=0.9), build.record("middle", metrics=0.8)]
    summary = summarize(build.board("low", "middle", "high", seeds=(0,)), records)
    assert [(row.model, row.rank) for row in summary.rows] == [("high", 1), ("middle", 2), ("low", 3)]


def test_where_lower_is_better_the_lowest_row_leads(build):
    records = [
        build.record(model, metrics={"brier": build.metric(value, higher_is_better=False)})
        for model, value in (("bad", 0.3), ("good", 0.1))
    ]
    summary = summarize(build.board("bad", "good", objective="brier", seeds=(0,)), records)
    assert [row.model for row in summary.ranked] == ["good", "bad"]


def test_equal_rows_share_a_rank_and_stand_by_name(build):
    records = [build.record(model, metrics=value) for model, value in (("b", 0.8), ("a", 0.8), ("c", 0.7))]
    summary = summarize(build.board("b", "c", "a", seeds=(0,)), records)
    assert [(row.model, row.rank) for row in summary.rows] == [("a", 1), ("b", 1), ("c", 3)]


def test_the_order_of_the_records_changes_nothing(build):
    records = [build.record(model, seed, 0.7 + seed / 10) for model in "ab" for seed in (0, 1)]
    board = build.board("a", "b")
    assert as_plain(summarize(board, records)) == as_plain(summarize(board, records[::-1]))


def test_a_plain_decision_metric_ranks_at_the_threshold_of_validation_and_never_at_the_oracles(build):
    def metrics(validation, oracle):
        return {
            "f1@val-f1": build.metric(validation),
            "f1@oracle": build.metric(oracle),
            "f1@0.5": build.metric(oracle),
        }

    records = [build.record("honest", metrics=metrics(0.4, 0.5)), build.record("lucky", metrics=metrics(0.3, 0.9))]
    summary = summarize(build.board("honest", "lucky", objective="f1", seeds=(0,)), records)
    assert summary.objective == "f1@val-f1"
    assert summary.ranked[0].model == "honest"
    assert summary.metrics == ("f1@val-f1", "f1@0.5", "f1@oracle")


def test_a_row_without_all_seeds_is_partial_ranks_and_says_what_is_missing(build):
    row = only(summarize(build.board(metrics=("auroc",)), [build.record(seed=0)]))
    assert (row.status, row.rank, row.seeds) == ("partial", 1, (0,))
    assert row.reasons == ("seed 1: not run yet",)


def test_a_failed_row_gives_its_reason_and_has_no_rank(build):
    records = [build.record(seed=seed, failure="ValueError: no such layer") for seed in (0, 1)]
    row = only(summarize(build.board(), records))
    assert (row.status, row.rank) == ("failed", None)
    assert row.reasons == ("seed 0, 1: failed (crashed): ValueError: no such layer [net.py:1 in build]",)


def test_a_row_that_was_skipped_is_no_failure(build):
    failed = build.record(failure="takes images of 224 px only")
    row = only(summarize(build.board(seeds=(0,)), [failed.model_copy(update={"status": "skipped"})]))
    assert row.status == "skipped"
    assert "takes images of 224 px only" in row.reasons[0]


def test_a_row_without_records_is_missing(build):
    row = only(summarize(build.board(), []))
    assert (row.status, row.rank, row.metrics) == ("missing", None, {})


STALE = {
    "row": "no such row",
    "seed": "none of the board's seeds",
    "dataset": "measured on circles",
    "options": '"size": 32',
    "fingerprint": "other images",
}


@pytest.mark.parametrize("change", STALE)
def test_a_record_that_does_not_belong_is_stale_and_not_ranked(build, change):
    row = build.row("stale")
    record = {
        "row": build.record("unlisted"),
        "seed": build.record("stale", seed=7),
        "dataset": build.record("stale", combo=build.combo(row, 0, dataset="circles")),
        "options": build.record("stale", combo=build.combo(row, 0, options={"size": 32})),
        "fingerprint": build.record("stale", dataset=build.data(fingerprint="e" * 64)),
    }[change]
    current = [build.record("net", seed) for seed in (0, 1)]
    summary = summarize(build.board("net", "stale"), [*current, record])
    found = next(row for row in summary.rows if row.model == record.combo.model)
    assert (found.status, found.rank, found.metrics) == ("stale", None, {})
    assert STALE[change] in found.reasons[0]
    assert summary.rows[0].rank == 1


def test_of_two_fingerprints_as_frequent_as_each_other_the_one_used_last_counts(build):
    old = build.record("a", dataset=build.data(fingerprint="f" * 64))
    new = build.record(
        "b", dataset=build.data(fingerprint="e" * 64), provenance=build.provenance(finished="2026-02-01T00:00:00Z")
    )
    summary = summarize(build.board("a", "b", seeds=(0,)), [old, new])
    assert [row.model for row in summary.ranked] == ["b"]


def test_costs_are_means_over_the_seeds_that_count(build):
    records = [build.record(seed=0), build.record(seed=1), build.record(seed=9)]
    efficiency = only(summarize(build.board(), records)).efficiency
    assert efficiency["train_images_per_second"] == pytest.approx(100.5)
    assert efficiency["train_minutes"] == pytest.approx(1.0)
    assert "peak_device_bytes" not in efficiency


@pytest.mark.parametrize("change", [{"device": "another processor"}, {"harness": "0.2.0"}])
def test_times_of_two_devices_or_versions_are_not_compared(build, change):
    records = [build.record(seed=0), build.record(seed=1, provenance=build.provenance(**change))]
    summary = summarize(build.board(), records)
    assert not summary.timings_compare
    text = printed(summary)
    assert "times are not compared" in text
    assert "minutes" not in text


def test_without_resamples_the_lead_is_tested_over_seeds_and_no_failed_row_has_a_say(build):
    values = {"a": (0.80, 0.84, 0.83), "b": (0.76, 0.80, 0.79)}

    def lead_among(rows):
        records = [build.record(model, seed, one) for model, found in rows.items() for seed, one in enumerate(found)]
        return find_lead(summarize(build.board(*rows, seeds=(0, 1, 2)), records))

    lead = lead_among(values)
    assert lead is not None
    assert (lead.first.model, lead.second.model) == ("a", "b")
    assert lead.difference == pytest.approx(0.04)
    assert lead.p_seeds == pytest.approx(ttest_ind(*values.values()).pvalue, abs=0.02)
    assert lead_among(values | {"failed": (0.1, 0.7, 0.4)}).p_seeds == pytest.approx(lead.p_seeds)


def test_with_two_seeds_nothing_is_said_about_seed_noise(build):
    records = [build.record(model, seed, value) for model, value in (("a", 0.8), ("b", 0.7)) for seed in (0, 1)]
    lead = find_lead(summarize(build.board("a", "b"), records))
    assert lead is not None
    assert lead.p_seeds is None
    assert find_lead(summarize(build.board(), [build.record()])) is None


@given(means=st.lists(st.sampled_from([0.5, 0.6, 0.7, 0.8]), min_size=1, max_size=6))
def test_a_rank_is_one_more_than_the_number_of_better_rows(build_once, means):
    models = [f"m{n}" for n in range(len(means))]
    records = [build_once.record(model, metrics=mean) for model, mean in zip(models, means, strict=True)]
    summary = summarize(build_once.board(*models, seeds=(0,)), records)
    ranks = {row.model: row.rank for row in summary.rows}
    assert ranks == {model: 1 + sum(m > mean for m in means) for model, mean in zip(models, means, strict=True)}


@given(values=VALUES)
def test_a_mean_lies_within_its_values(build_once, values):
    board = build_once.board(seeds=tuple(range(len(values))))
    records = [build_once.record(seed=seed, metrics=value) for seed, value in enumerate(values)]
    spread = only(summarize(board, records)).metrics["auroc"]
    assert min(values) - 1e-12 <= spread.mean <= max(values) + 1e-12
    assert spread.deviation is not None
    assert spread.deviation >= 0


def test_a_leaderboard_becomes_plain_json(build):
    summary = summarize(build.board("net", "other"), [build.record(), build.record("other", failure="boom")])
    document = json.loads(json.dumps(as_plain(summary)))
    assert document["objective"] == "auroc"
    assert document["positives"] == {"Edema": 10, "Mass": 10, "Hernia": 10}
    assert document["rows"][0]["metrics"]["auroc"]["mean"] == pytest.approx(0.8)


def printed(summary: Leaderboard, width: int = 100) -> str:
    console = Output(width=width)
    with console.capture() as capture:
        console.print(table(summary, width))
    return capture.get()


def test_the_table_names_rows_values_and_reasons(build):
    records = [
        build.record(seed=0, metrics=0.8),
        build.record(seed=1, metrics=0.9),
        build.record("other", failure="boom"),
    ]
    text = printed(summarize(build.board("net", "other"), records))
    assert "net--bce--demo" in text
    assert "0.8500 ±0.0707" in text
    assert "2/2" in text
    assert "other--bce--demo: seed 0: failed (crashed): boom [net.py:1 in build]" in text


def test_a_narrow_table_keeps_the_objective_and_a_wide_one_shows_more(build):
    metrics = {"auroc": build.metric(0.8), "brier": build.metric(0.1, higher_is_better=False)}
    summary = summarize(build.board(seeds=(0,)), [build.record(metrics=metrics)])
    narrow, wide = printed(summary, 50), printed(summary, 120)
    assert "0.8000" in narrow
    assert "0.1000" not in narrow
    assert "0.1000" in wide


def test_a_name_with_brackets_is_printed_as_it_is(build):
    summary = summarize(build.board(title="[bold]A[/] board"), [build.record(failure="[red]no[/red]")])
    text = printed(summary)
    assert "[bold]A[/] board" in text
    assert "[red]no[/red]" in text
