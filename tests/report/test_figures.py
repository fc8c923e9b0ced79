"""Pictures: valid Vega-Lite of what the board holds, safe inside a page, the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from harness.board import combo_name
from harness.evaluation.curves import trace_net_benefit
from harness.evaluation.resamples import Resamples
from harness.report.figures import MOST_ROWS, make_figures
from harness.report.figures.embedding import bundle, draw_still
from harness.report.figures.style import thin
from harness.report.figures.systems import draw_costs
from harness.report.page import render_text
from harness.report.summary import summarize

LABELS = ("Edema", "Mass", "Hernia")


def beside(records) -> dict[str, Resamples]:
    curve = np.array([[0.0, 0.1, 0.5, 1.0], [0.0, 0.6, 0.9, 1.0]])
    diagram = np.array([[0.1, 0.4], [0.2, 0.5], [30.0, 20.0]])
    curves = {f"{kind}/{label}": curve for kind in ("roc", "pr") for label in LABELS}
    curves |= {f"reliability/{label}": diagram for label in LABELS}
    benefit = trace_net_benefit(np.linspace(0, 1, 50), np.arange(50) % 3 % 2.0)
    assert benefit is not None
    worth = np.stack([benefit.threshold, benefit.value, benefit.of_all])
    curves |= {f"benefit/{label}": worth for label in LABELS}
    found = {}
    for number, record in enumerate(records):
        noise = np.random.default_rng(number).normal(0, 0.01, 200)
        macro = {name: part.macro + noise for name, part in record.metrics.items() if part.macro is not None}
        found[record.combo.name] = Resamples(
            macro=macro, per_label=dict.fromkeys(LABELS, macro["auroc"]), curves=curves
        )
    return found


def pictures(summary, drawn):
    """Of the curves that lie beside first seeds."""
    return make_figures(
        summary, {row.name: drawn[combo_name(row.name, row.seeds[0])].curves for row in summary.ranked[:MOST_ROWS]}
    )


@pytest.fixture
def made(build):
    values = {"a": 0.9, "b": 0.85, "c": 0.8}
    records = [build.record(model, seed, value + seed / 100) for model, value in values.items() for seed in (0, 1)]
    drawn = beside(records)
    summary = summarize(build.board(*values), records, drawn)
    return summary, pictures(summary, drawn)


def test_there_is_a_picture_for_all_that_the_board_holds(made):
    _, figures = made
    assert [figure.name for figure in figures] == [
        "intervals",
        "training-time",
        "throughput",
        "labels",
        "roc",
        "pr",
        "reliability",
        "benefit",
        "histories",
        "pairs",
    ]
    for figure in figures:
        assert figure.title
        assert len(figure.description) > 30
        assert figure.specification["description"] == figure.description


def test_every_picture_can_be_drawn_and_is_the_same_each_time(made):
    for figure in made[1]:
        still = draw_still(figure)
        assert still.startswith("<svg")
        assert "style=" not in still  # the page's policy would refuse it
        assert draw_still(figure) == still


def test_a_board_without_resamples_has_no_pictures_and_a_small_page(build):
    summary = summarize(build.board("a"), [build.record("a")])
    assert make_figures(summary, {}) == ()
    assert len(render_text(summary)) < 200_000


def test_net_benefit_is_drawn_as_far_as_anything_is_worth_something(made):
    benefit = next(figure for figure in made[1] if figure.name == "benefit")
    assert benefit.labels == LABELS
    data = benefit.specification["datasets"]
    lines = [line for line in data["lines"] if line["label"] == "Edema"]
    everybody = next(line for line in data["everybody"] if line["label"] == "Edema")
    assert [line["row"] for line in lines] == ["a + bce", "b + bce", "c + bce"]
    assert everybody["y"][0] == pytest.approx(1 / 3, abs=0.02)
    assert everybody["x"][-1] < 0.5  # there it is well below 0
    for line in (*lines, everybody):
        assert len(line["x"]) == len(line["y"]) <= 40
        assert line["x"] == sorted(line["x"])
        assert min(line["y"]) >= -0.06


def test_pictures_are_of_the_best_rows_only(build):
    names = [f"m{number:02d}" for number in range(MOST_ROWS + 5)]
    records = [build.record(name, 0, 0.9 - number / 100) for number, name in enumerate(names)]
    drawn = beside(records)
    figures = {f.name: f for f in pictures(summarize(build.board(*names, seeds=(0,)), records, drawn), drawn)}
    assert "m24" in json.dumps(figures["intervals"].specification)
    assert "m19" in json.dumps(figures["roc"].specification)
    assert "m20" not in json.dumps(figures["roc"].specification)


def test_first_seeds_are_the_first_that_count(build):
    other = build.record("a", 0, 0.9, dataset=build.data(fingerprint="e" * 64))
    long = build.training().model_copy(update={"history": build.training().history * 5})
    records = [
        other.model_copy(update={"training": long}),
        build.record("a", 1, 0.9),
        build.record("b", 0, failure="ValueError: no such layer"),
        build.record("b", 1, 0.8),
    ]
    drawn = beside([record for record in records if record.status == "done"])
    figures = {f.name: f for f in pictures(summarize(build.board("a", "b"), records, drawn), drawn)}
    lines = figures["histories"].specification["datasets"]["lines"]
    assert [(line["row"], line["epoch"]) for line in lines] == [
        ("a + bce", [1, 2, 3]),
        ("b + bce", [1, 2, 3]),
    ]


def test_epochs_are_named_once_each_and_not_too_many(build):
    for epochs, named in ((3, [1, 2, 3]), (100, [1, 10, 19, 28, 37, 46, 55, 64, 73, 82, 91, 100])):
        epoch = build.training().history[0]
        history = [replace(epoch, epoch=number) for number in range(1, epochs + 1)]
        record = build.record("a", 0, training=build.training().model_copy(update={"history": history}))
        drawn = beside([record])
        figures = {f.name: f for f in pictures(summarize(build.board("a", seeds=(0,)), [record], drawn), drawn)}
        assert figures["histories"].specification["encoding"]["x"]["axis"]["values"] == named


def test_pairs_say_against_what_they_differ(build):
    for seeds, against in (
        ((0, 1), "0 of 1 pairs of the best 2 rows differ significantly"),
        ((0, 1), "1 need three seeds of both rows first"),
        ((0, 1, 2), "1 of 1 pairs of the best 2 rows differ significantly over patients and seeds"),
    ):
        records = [build.record(model, seed, value) for model, value in (("a", 0.9), ("b", 0.6)) for seed in seeds]
        drawn = beside(records)
        figures = {f.name: f for f in pictures(summarize(build.board("a", "b", seeds=seeds), records, drawn), drawn)}
        assert against in figures["pairs"].description


def test_the_front_holds_the_rows_that_none_beats_in_both(build):
    from harness.report.figures.systems import find_front

    rows = [
        {"row": "cheap", "value": 0.7, "cost": 1.0},
        {"row": "good", "value": 0.9, "cost": 5.0},
        {"row": "beaten", "value": 0.8, "cost": 6.0},
        {"row": "between", "value": 0.8, "cost": 3.0},
    ]
    front = find_front(rows, higher=True, more_is_better=False)
    assert [row["row"] for row in front] == ["cheap", "between", "good"]
    front = find_front(rows, higher=False, more_is_better=True)
    assert [row["row"] for row in front] == ["cheap", "beaten"]


def test_costs_are_not_drawn_where_times_do_not_compare(build):
    records = [
        build.record("a", provenance=build.provenance(device="one")),
        build.record("b", provenance=build.provenance(device="another")),
    ]
    assert list(draw_costs(summarize(build.board("a", "b", seeds=(0,)), records))) == []


def test_names_cannot_break_out_of_the_page(build):
    wicked = "</script><script>alert(1)</script>"
    record = build.record(wicked)
    drawn = beside([record])
    summary = summarize(build.board(wicked, seeds=(0,)), [record], drawn)
    page = render_text(summary, figures=pictures(summary, drawn))
    assert "<script>alert" not in page
    assert summary.rows[0].title == f"{wicked} + bce"
    assert json.loads(build.held(page, "figures"))[0]["datasets"]["rows"][0]["row"] == summary.rows[0].title


def test_the_bundle_is_one_script_that_ends_where_it_should():
    assert "</script" not in bundle().lower()
    assert bundle() is bundle()
    assert "vegaEmbed" in bundle()


def test_a_thinned_curve_stays_near_the_curve():
    x = np.linspace(0, 1, 200)
    line = thin({"x": x.tolist(), "y": np.sqrt(x).tolist()})
    assert len(line["x"]) < 40
    assert np.abs(np.interp(x, line["x"], line["y"]) - np.sqrt(x)).max() < 0.05
    assert (line["x"][0], line["x"][-1]) == (0.0, 1.0)
