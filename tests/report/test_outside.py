"""Rows on other datasets than the board's own: the matrix, drops, what is missing and why, and what leaks."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.board import OutsideTest
from harness.components import LEAK
from harness.errors import UnknownNameError, UsageError
from harness.report.frame import as_csv
from harness.report.index import render_index
from harness.report.outside import summarize_outside
from harness.report.outside_table import OUTSIDE_FILE, as_rows, make_matrix
from harness.report.outside_wording import tell_cell, tell_drops, tell_order
from harness.report.page import render, render_text
from harness.report.summary import read_results
from harness.report.transfer import gather_carried
from harness.results.layout import resamples_path
from harness.results.record import FailurePart, OutsideLabel
from harness.scoring.pairing import compare_rows
from harness.scoring.rows import find_row

NEAR, FAR = OutsideTest(dataset="near", title="Near hospital"), OutsideTest(dataset="far", options={"view": "PA"})
TWO = ("Edema", "Mass")
WORSE = {NEAR.key: 0.9, FAR.key: 0.4}
LABELS = {NEAR.key: ("Edema", "Mass", "Hernia"), FAR.key: TWO}


def make_board(build, **changes):
    values = {"seeds": (0, 1, 2), "tests": (NEAR, FAR), "metrics": ("auroc", "f1", "ece")}
    return build.board("good", "poor", **(values | changes))


@pytest.fixture
def measured(build_outside, registry):
    """Two rows of three seeds on two outside tests, the second of which has two of three labels."""
    return build_outside.measure(make_board(build_outside), {"good": 1.2, "poor": 0.4}, WORSE, LABELS, registry)


def read(board):
    summary = read_results(board).summary
    return summary, summarize_outside(summary)


def show(board):
    """The page without pictures, which take the longest."""
    summary, tests = read(board)
    return render_text(summary, outside=tests)


def test_each_outside_test_ranks_the_rows_over_its_own_labels(measured):
    summary, (near, far) = read(measured)
    assert [test.title for test in (near, far)] == ["Near hospital", "far"]
    assert [row.title for row in near.seen.ranked] == [row.title for row in summary.ranked]
    assert near.seen.labels["auroc"] == ("Edema", "Mass", "Hernia")
    assert far.seen.labels["auroc"] == far.labels["auroc"] == TWO
    assert [row.group for row in near.seen.ranked] == [1, 2]
    assert far.dropped == ["Hernia"]


def test_a_drop_and_its_interval_come_from_what_lies_beside_the_records(measured):
    summary, (_, far) = read(measured)
    cell = far.cells["good--bce--demo"]
    values: dict[str, list[float]] = {"": [], far.key: []}
    drawn: dict[str, list[np.ndarray]] = {"": [], far.key: []}
    for record in cell.row.counted:
        for key, part in (("", record), (far.key, record.outside[far.key])):
            values[key].append(np.mean([part.metrics["auroc"].per_label[label].value for label in TWO]))
            with np.load(resamples_path(measured.folder, record.combo.name, key)) as file:
                drawn[key].append(np.mean([file[f"label/{label}"].astype(float) for label in TWO], axis=0))
    drops = np.array(values[""]) - np.array(values[far.key])
    patients = sum(np.mean(rows, axis=0).var(ddof=1) for rows in drawn.values())
    seeds = drops.var(ddof=1) / 3
    reach = stats.t.ppf(0.975, 2 * (patients + seeds) / seeds) * np.sqrt(patients + seeds)
    biases = [np.mean(drawn[key]) - np.mean(values[key]) for key in ("", far.key)]
    ends = sorted([drops.mean(), drops.mean() - (biases[0] - biases[1])])
    found = cell.drops["auroc"]
    assert found.value == pytest.approx(drops.mean(), abs=1e-12)
    assert found.interval == pytest.approx((ends[0] - reach, ends[1] + reach), abs=1e-7)
    assert found.over == "patients and seeds"
    assert found.inside != pytest.approx(summary.rows[0].metrics["auroc"].mean)  # over two labels, not three


def test_calibration_and_thresholds_stand_beside_those_of_the_own_test(measured):
    _, (_, far) = read(measured)
    table = gather_carried(far)
    assert {"before", "platt", "sensitivity@val-f1", "specificity@val-sens0.9", "f1@val-f1"} <= table.headings.keys()
    one = table.rows["good--bce--demo"]["sensitivity@val-f1"]
    records = far.cells["good--bce--demo"].records
    worked_out = []
    for side in zip(*records, strict=True):
        counts = [record.confusion["val-f1"][label] for record in side for label in TWO]
        worked_out.append(np.mean([c.true_positives / (c.true_positives + c.false_negatives) for c in counts]))
    assert (one.inside, one.outside) == pytest.approx(tuple(worked_out))
    raw = table.rows["good--bce--demo"]["before"]
    assert raw.outside == pytest.approx(
        np.mean([record.calibration.before.per_label[label].ece for _, record in records for label in TWO])
    )


def test_what_failed_and_what_was_not_measured_is_said_in_its_cell(build_outside, registry):
    failure = FailurePart(kind="data", message="3 images are in training as well", where="outside.py:1 in f")
    failed = build_outside.part(NEAR, TWO, status="failed", failure=failure, data=None)
    parts = {("good", seed, NEAR.key): failed for seed in range(3)} | {("poor", 1, FAR.key): None}
    board = make_board(build_outside)
    board = build_outside.measure(board, {"good": 1.2, "poor": 0.4}, WORSE, LABELS, registry, parts)
    _, (near, far) = read(board)
    broken, partial = near.cells["good--bce--demo"], far.cells["poor--bce--demo"]
    assert (broken.state, partial.state) == ("failed", "partial")
    assert broken.reasons == ("failed (data): 3 images are in training as well [outside.py:1 in f]",)
    assert partial.reasons == ("seed 1: not measured yet: harness run measures it without training",)
    assert partial.drops["auroc"].over == "patients"  # two seeds say nothing about the method
    page = show(board)
    assert "3 images are in training as well" in page
    assert "seed 1: not measured yet: harness run measures it without training" in page
    assert '<span class="caution">2 of 3 seeds</span>' in page
    rows = {(row["row"], row["test"], row["metric"]): row for row in as_rows((near, far))}
    assert rows["good--bce--demo", NEAR.key, "auroc"]["status"] == "failed"
    assert rows["good--bce--demo", NEAR.key, "auroc"]["value"] is None


def test_where_less_is_better_the_value_rises(build_outside, registry):
    board = make_board(build_outside, tests=(NEAR,), metrics=("brier",), objective="brier")
    board = build_outside.measure(board, {"good": 1.2, "poor": 0.4}, WORSE, LABELS, registry, shift=2.0)
    _, (near,) = read(board)
    drop = near.cells["good--bce--demo"].drops["brier"]
    assert drop.outside > drop.inside
    assert drop.value == pytest.approx(drop.outside - drop.inside)
    page = show(board)
    assert "Near hospital: Brier rises by" in page
    assert '<th scope="col">rise</th>' in page


def test_nothing_is_ranked_on_an_outside_test_that_training_knows(build_outside, registry):
    part = build_outside.part(NEAR, LABELS[NEAR.key])
    leaking = part.model_copy(update={"data": part.data.model_copy(update={"notes": {LEAK: "5 images are shared"}})})
    parts = {(row, seed, NEAR.key): leaking for row in ("good", "poor") for seed in range(3)}
    board = make_board(build_outside, tests=(NEAR,))
    board = build_outside.measure(board, {"good": 1.2, "poor": 0.4}, WORSE, LABELS, registry, parts)
    summary, (near,) = read(board)
    assert summary.ranked
    assert not near.seen.ranked
    assert near.leak == "5 images are shared"
    page = show(board)
    assert "Near hospital: never ranked, as it leaks: 5 images are shared." in page
    assert "Training knows this test." in page


def rewrite(board, change):
    """Change what lies in the records of the row `good`."""
    for path in (board.folder / "records").glob("good*.json"):
        said = json.loads(path.read_text())
        change(said)
        path.write_text(json.dumps(said))


SEEN = {"name": "lists", "overlap": "shared", "images": 3, "patients": 2}


@pytest.mark.parametrize("where", ["own", "this"])
def test_the_drop_of_a_network_that_has_seen_a_test_is_shown_and_not_judged(build_outside, registry, where):
    board = make_board(build_outside, tests=(NEAR,))
    board = build_outside.measure(board, {"good": 1.2, "poor": 0.4}, {NEAR.key: 0.2}, LABELS, registry)
    before = tell_drops(read(board)[1][0])
    assert before.endswith("more than chance explains, in 2 of 2 rows.")
    rewrite(board, lambda said: (said if where == "own" else said["outside"][NEAR.key]).update(pretraining=[SEEN]))
    summary, (near,) = read(board)
    cell = near.cells["good--bce--demo"]
    assert cell.drops["auroc"].is_certain
    assert cell.mark == f"its network has seen images of {'the own' if where == 'own' else 'this'} test, or may have"
    assert re.fullmatch(r"Near hospital: AUROC drops by 0.\d+ \[.*\], more than chance explains\.", tell_drops(near))
    page = show(board)
    assert f"not judged: {cell.mark}</span>" in page
    assert f"The drop is not judged: {cell.mark}" in tell_cell(near, cell)
    remarks = {row["row"]: row["remark"] for row in as_rows((near,)) if row["metric"] == "auroc"}
    assert remarks == {"good--bce--demo": cell.mark, "poor--bce--demo": None}
    said = f"{cell.row.title} on Near hospital: the drop is not judged, as {cell.mark}."
    matrix = make_matrix(summary, (near,), "board")
    assert matrix is not None
    assert said in matrix.caption


def test_no_drop_from_a_board_that_leaks_is_judged(build_outside, registry):
    board = make_board(build_outside, tests=(NEAR,))
    board = build_outside.measure(board, {"good": 1.2, "poor": 0.4}, {NEAR.key: 0.2}, LABELS, registry)
    for path in (board.folder / "records").glob("*.json"):
        said = json.loads(path.read_text())
        said["dataset"]["notes"] = {LEAK: "5 patients are in more than one split"}
        path.write_text(json.dumps(said))
    _, (near,) = read(board)
    leak = "the board's own test leaks: 5 patients are in more than one split"
    assert tell_drops(near) == f"Near hospital: no drop is judged, as {leak}."


def test_labels_say_what_stands_for_them_what_is_certain_and_what_is_left_out(build_outside, registry):
    labels = {
        "Edema": OutsideLabel(others=["Oedema"], known=110, left_out=10, positives=9, caution="read by one person"),
        "Mass": OutsideLabel(others=["Lump", "Tumor"], known=120, positives=7),
        "Hernia": OutsideLabel(others=[], reason="nobody looked for it"),
    }
    part = build_outside.part(FAR, TWO, labels=labels, unused=["Rib fracture"], notes=["no patients known"])
    parts = {(row, seed, FAR.key): part for row in ("good", "poor") for seed in range(3)}
    board = make_board(build_outside, tests=(FAR,))
    board = build_outside.measure(board, {"good": 1.2, "poor": 0.4}, WORSE, LABELS, registry, parts)
    text = re.sub(r"<[^>]*>", " ", show(board))
    for said in (
        "2 of the board's 3 labels have a counterpart there; dropped, as nothing there stands for it: Hernia; ",
        "merged: Mass is any of Lump, Tumor; not used, as the board has no label for it: Rib fracture",
        "230 targets are certain; 10 uncertain or unknown ones are left out",
        "its test split: 120 images of 60 patients",
        "read by one person",
        "nobody looked for it",
        "no patients known",
    ):
        assert said in text.replace("&#39;", "'")


def test_the_order_of_the_rows_and_a_significant_reversal_are_told(build_outside, registry):
    board = make_board(build_outside, tests=(NEAR,))
    skills, labels = {"good": 1.2, "poor": 0.4}, {NEAR.key: LABELS[NEAR.key]}
    same = build_outside.measure(board, skills, WORSE, labels, registry)
    summary, tests = read(same)
    told = tell_order(summary, tests)
    assert told == "The order of the rows is the same as on the board's own test on Near hospital."
    build_outside.predict_true = build_outside.predict

    def swap(test, skill, seed, used, shift=0.0):
        turned = {1.2 * 0.9: 0.1, 0.4 * 0.9: 1.5}
        return build_outside.predict_true(test, turned[skill] if test == NEAR.key else skill, seed, used, shift)

    build_outside.predict = swap
    summary, tests = read(build_outside.measure(board, skills, WORSE, labels, registry))
    told = tell_order(summary, tests)
    assert told == (
        "The order of the rows is another on Near hospital: poor + bce is first on Near hospital. Reversed "
        "significantly: good + bce is ahead of poor + bce on the own test and behind it on Near hospital."
    )


def test_without_outside_tests_a_page_says_nothing_of_them(build):
    board = build.board("net", seeds=(0, 1))
    build.write(build.record("net", 0), build.record("net", 1))
    summary = read_results(board).summary
    assert summarize_outside(summary) == ()
    page = render_text(summary)
    assert "utside" not in page.partition("<script")[0]
    (board.folder / OUTSIDE_FILE).write_text("of tests that were taken out of board.toml")
    render(board)
    assert not (board.folder / OUTSIDE_FILE).exists()


def test_the_tables_for_programs_and_papers_have_the_outside_tests(measured, harness):
    render(measured)
    rows = list(csv.DictReader(io.StringIO((measured.folder / OUTSIDE_FILE).read_text())))
    _, (_, far) = read(measured)
    drop = far.cells["good--bce--demo"].drops["auroc"]
    (row,) = [r for r in rows if (r["row"], r["test"], r["metric"]) == ("good--bce--demo", FAR.key, "auroc")]
    assert float(row["drop"]) == pytest.approx(drop.value, abs=1e-6)
    assert float(row["drop_high"]) == pytest.approx(drop.interval[1], abs=1e-6)
    assert (row["labels"], row["drop_labels"], row["seeds"]) == ("2", "2", "3")
    folder = str(measured.folder)
    code, out, _ = harness("show", folder)
    assert code == 0
    assert "\nfar: AUROC d" in out
    code, out, _ = harness("show", f"{folder}::good--bce--demo")
    assert code == 0
    assert f"{drop.value:.4f}" in out
    code, out, _ = harness("show", folder, "--markdown")
    assert "| row | own test | Near hospital | drop to Near hospital | far | drop to far |" in out
    code, out, _ = harness("show", folder, "--latex")
    assert out.count(r"\begin{table}") == 2
    code, out, _ = harness("show", folder, "--json")
    plain = json.loads(out)["outside"]
    assert [test["test"] for test in plain] == [NEAR.key, FAR.key]
    assert plain[1]["rows"][0]["drops"]["auroc"]["value"] == pytest.approx(drop.value)


def test_the_index_says_how_many_outside_tests_a_board_has(measured):
    page, _, failed = render_index(measured.folder.parent)
    assert not failed
    assert "and 2 outside tests" in page.read_text()


def test_rows_are_compared_on_an_outside_test(measured, harness):
    names = [f"{measured.folder}::{row}--bce--demo" for row in ("good", "poor")]
    rows = {name: find_row(name, "Near hospital") for name in names}
    (found,) = compare_rows(rows, ["auroc"]).metrics
    _, (near, _) = read(measured)
    assert found.pairs[0].delta == pytest.approx(near.seen.pairs[0].delta)
    assert found.pairs[0].interval == pytest.approx(near.seen.pairs[0].interval)
    code, out, _ = harness("compare", *names, "--test", "near")
    assert code == 0
    assert "is better than" in out
    with pytest.raises(UnknownNameError, match="unknown outside test of"):
        find_row(names[0], "nowhere")
    code, _, err = harness("compare", *names, "--test", "near", "--unit", "patient")
    assert code == 2
    assert "--test compares rows by what their records hold" in err


def test_two_states_of_a_board_are_compared_on_each_outside_test(build_outside, registry, measured, tmp_path, harness):
    before = measured.folder.rename(tmp_path / "before")
    build_outside.measure(
        make_board(build_outside), {"good": 1.2, "poor": 0.4}, {**WORSE, FAR.key: 1.5}, LABELS, registry
    )
    code, out, _ = harness("diff", str(before), str(measured.folder), "--json")
    assert code == 0
    boards = {one["board"]: {row["row"]: row["kind"] for row in one["rows"]} for one in json.loads(out)["boards"]}
    assert [*boards] == ["a-board", "a-board on Near hospital", "a-board on far"]
    assert set(boards["a-board on Near hospital"].values()) == {"same"}
    assert boards["a-board on far"]["poor--bce--demo"] == "changed"


def test_a_row_without_a_result_on_the_outside_test_cannot_be_compared_on_it(build_outside, registry):
    parts = {("good", seed, NEAR.key): None for seed in range(3)}
    board = make_board(build_outside)
    board = build_outside.measure(board, {"good": 1.2, "poor": 0.4}, WORSE, LABELS, registry, parts)
    with pytest.raises(UsageError, match=r"has no result on the outside test 'near'; harness run"):
        find_row(f"{board.folder}::good--bce--demo", "near")


def test_the_board_table_is_the_same_with_outside_tests_and_without(measured):
    summary, _ = read(measured)
    bare = replace(summary, board=replace(summary.board, tests=()))
    assert as_csv(bare) == as_csv(summary)
