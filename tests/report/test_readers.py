"""Readers on a board's page: rows averaged over seeds, in tables, sentences and pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.board import board_text, row_text, save_board
from harness.evaluation.bootstrap import draw_resamples
from harness.evaluation.curves import trace_curves
from harness.evaluation.panel import Panel
from harness.evaluation.predictions import Predictions
from harness.evaluation.reader_summary import describe_readers, stand_beside
from harness.evaluation.readers import measure_readers
from harness.evaluation.resamples import Resamples
from harness.report.page import render
from harness.report.readers import summarize_readers
from harness.report.summary import read_results
from harness.results.store import write_record
from tests.report.conftest import require_valid
from tests.report.test_browser import open_page

LABELS = ("Edema", "Mass", "Hernia")
NAMES = ("Dr. A", "Dr. <B>", "Dr. C")
SEEDS = (0, 1, 2)
MODELS = {"alpha": 1.6, "beta": 1.0}
DRAW = np.random.default_rng(0)
TARGETS = (DRAW.random((150, 3)) < (0.4, 0.3, 0.2)).astype(np.float32)
DECISIONS = (1.4 * TARGETS + DRAW.normal(size=(3, 150, 3)) > 0.9).astype(np.float32)
THRESHOLDS = {"val-f1": np.zeros(3), "0.5": np.zeros(3)}


def predict(skill: float, seed: int) -> Predictions:
    noise = np.random.default_rng((int(10 * skill), seed)).normal(size=TARGETS.shape)
    names = np.array([f"i{row:03d}" for row in range(len(TARGETS))])
    return Predictions(labels=LABELS, image=names, patient=names, logits=skill * TARGETS + noise - 0.8, targets=TARGETS)


def make_panel(**changes: Any) -> Panel:
    values: dict[str, Any] = {
        "names": NAMES,
        "labels": LABELS,
        "decisions": DECISIONS,
        "digests": dict.fromkeys(NAMES, "d"),
    }
    return Panel(**(values | changes))


def make_board(build: Any, panel: Panel, *, beside: bool = True) -> Any:
    """A board of two rows with three seeds each beside a panel, and their page."""
    board = build.board(*MODELS, seeds=SEEDS)
    board = save_board(board.folder, board_text(board, [row_text([*MODELS], ["bce"], ["demo"], {})]))
    for model, skill in MODELS.items():
        for seed in SEEDS:
            test = predict(skill, seed)
            resampling = draw_resamples(test.patient, 200, seed="x")
            made = stand_beside(test, panel, THRESHOLDS, resampling)
            metrics = {"auroc": build.metric(skill / 2 + seed / 100)}
            noise = np.random.default_rng(seed).normal(0, 0.01, 200)
            resamples = Resamples(
                macro={"auroc": skill / 2 + noise},
                per_label=dict.fromkeys(LABELS, skill / 2 + noise),
                curves={**trace_curves(test), **made.curves},
                readers=made.differences if beside else {},
            )
            write_record(board.folder, build.record(model, seed, metrics, readers=made.part), resamples)
    return board


def test_a_row_is_held_against_readers_by_all_of_its_seeds(build):
    panel = make_panel()
    board = make_board(build, panel)
    found = summarize_readers(read_results(board).summary)
    assert found is not None
    assert [beside.row.model for beside in found.rows] == ["alpha", "beta"]
    tests = [predict(MODELS["alpha"], seed) for seed in SEEDS]
    resampling = draw_resamples(tests[0].patient, 200, seed="x")
    measured = [measure_readers(test, panel, THRESHOLDS, resampling) for test in tests]
    expected = describe_readers(measured, panel, tests[0].patient, resampling)
    for name, reader in found.rows[0].part.readers.items():
        for measure, one in reader.against.items():
            other = expected.readers[name].against[measure]
            assert (one.network, one.delta) == pytest.approx((other.network, other.delta))
            assert (one.p, one.p_holm, *(one.interval or ())) == pytest.approx(
                (other.p, other.p_holm, *(other.interval or ())), rel=1e-3
            )  # resamples are stored with seven digits
    averages = [beside.part.average["f1"] for beside in found.rows]
    p = sorted(one.p or 0 for one in averages)
    assert min(one.p_holm or 0 for one in averages) == pytest.approx(min(1, 2 * p[0]))


def test_the_page_says_it_in_tables_and_words(build):
    page = render(make_board(build, make_panel(notes=("Dr. C read a part",)))).page.read_text()
    require_valid(json.loads(build.held(page, "figures")))
    section = page.split('<h2 id="readers">')[1].split("</section>")[0]
    for text in (
        "3 readers, each held against the targets; means over 3 labels",
        "Dr. &lt;B&gt;",
        "Dr. C read a part.",
    ):
        assert text in section
    assert "than the average reader in" in section or "do not differ significantly in" in section
    assert "p Holm-adjusted for 2 rows" in section
    assert "Readers agree with a kappa of" in section
    assert '<a href="#readers">' in page


def test_without_resamples_there_are_values_and_no_verdict(build):
    found = summarize_readers(read_results(make_board(build, make_panel(), beside=False)).summary)
    assert found is not None
    one = found.rows[0].part
    assert one.average["f1"].delta is not None
    assert (one.average["f1"].p, one.average["f1"].interval) == (None, None)
    assert "cannot be compared with the average reader" in found.sentences[0]
    assert found.rows[0].count("f1", better=True) == 0


def test_a_row_with_a_seed_that_only_ranks_has_no_f1_beside_readers(build):
    panel = make_panel()
    board = make_board(build, panel)
    test = predict(1.0, 0)
    ranked = replace(test, given_scores=test.logits.astype(np.float64) * 9, is_rank_only=True)
    thresholds = {name: np.full(3, np.nan) for name in THRESHOLDS}
    made = stand_beside(ranked, panel, thresholds, draw_resamples(test.patient, 200, seed="x"))
    record = build.record("beta", 0, {"auroc": build.metric(0.5)}, readers=made.part)
    noise = {"auroc": 0.5 + np.random.default_rng(0).normal(0, 0.01, 200)}
    write_record(board.folder, record, Resamples(macro=noise, per_label={}, readers=made.differences))
    found = summarize_readers(read_results(board).summary)
    assert found is not None
    assert [beside.measures() for beside in found.rows] == [["sensitivity", "f1"], ["sensitivity"]]
    assert [beside.row.model for beside in found.of("f1")] == ["alpha"]
    assert "p Holm-adjusted for 1 row<" in render(board).page.read_text()


def test_seeds_with_thresholds_for_other_labels_have_no_f1_in_common_beside_readers(build):
    panel = make_panel()
    board = make_board(build, panel)
    test = predict(1.0, 0)
    thresholds = {name: np.array([0.0, 0.0, np.nan]) for name in THRESHOLDS}
    made = stand_beside(test, panel, thresholds, draw_resamples(test.patient, 200, seed="x"))
    assert made.part is not None
    assert made.part.without_threshold == ["Hernia"]
    record = build.record("beta", 0, {"auroc": build.metric(0.5)}, readers=made.part)
    write_record(board.folder, record, Resamples(macro={}, per_label={}, readers=made.differences))
    found = summarize_readers(read_results(board).summary)
    assert found is not None
    assert [beside.measures() for beside in found.rows] == [["sensitivity", "f1"], ["sensitivity"]]
    assert any("has no F1 beside readers: its seeds have thresholds" in sentence for sentence in found.sentences)


def test_a_board_without_readers_has_no_section(build):
    board = build.board("alpha", seeds=(0,))
    write_record(board.folder, build.record("alpha"))
    assert summarize_readers(read_results(board).summary) is None


def test_records_of_other_readers_are_left_out(build):
    board = make_board(build, make_panel())
    changed = stand_beside(
        predict(1.0, 0),
        make_panel(digests=dict.fromkeys(NAMES, "e")),
        THRESHOLDS,
        draw_resamples(predict(1.0, 0).patient, 200, seed="x"),
    )
    write_record(board.folder, build.record("beta", 0, {"auroc": build.metric(0.5)}, readers=changed.part))
    found = summarize_readers(read_results(board).summary)
    assert found is not None
    assert [beside.row.model for beside in found.rows] == ["alpha"]


@pytest.mark.service
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("truth", ["targets", "leave-one-out"])
def test_readers_are_points_on_the_curves(browser, build, theme, truth):
    file: Path = render(make_board(build, make_panel(truth=truth))).page
    kind = "roc" if truth == "targets" else "readers-roc"
    for page in open_page(browser, file, theme):
        for name in (kind, kind.replace("roc", "pr")):
            drawing = page.locator(f"#drawing-{name}")
            drawing.scroll_into_view_if_needed()
            page.wait_for_function("one => 'drawn' in one.dataset", arg=drawing.element_handle())
            assert set(NAMES) <= set(drawing.locator("svg text").all_text_contents())
            points = drawing.locator('svg [aria-roledescription="point"]')
            assert points.count() == len(NAMES)
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert points.first.get_attribute("fill") == "#8c8c8c"
            assert ground not in ("rgb(140, 140, 140)", "")
        assert page.locator("#drawing-roc").count() == 1
        assert page.locator("#drawing-readers-roc").count() == (truth != "targets")
        page.get_by_label("label of the curves").select_option("Mass")
        drawing.locator('svg [aria-roledescription="point"]').first.wait_for()
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
