"""Pictures: valid Vega-Lite of what the board holds, safe inside a page, the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from harness.board import combo_name
from harness.evaluation.curves import trace_net_benefit
from harness.evaluation.parts import ConfusionPart
from harness.evaluation.resamples import Resamples
from harness.report.figures import MOST_ROWS, make_figures
from harness.report.figures.costs import draw_costs, find_front, place_log_ticks
from harness.report.figures.stills import draw_stills
from harness.report.figures.style import thin
from harness.report.page import render_text
from harness.report.summary import summarize
from harness.results.record import EfficiencyPart
from tests.report.conftest import require_valid

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
    """Of the curves that lie beside the seeds of the best rows."""
    best = summary.ranked[:MOST_ROWS]
    curves = {row.name: [drawn[combo_name(row.name, seed)].curves for seed in row.seeds] for row in best}
    made = tuple(make_figures(summary, curves))
    require_valid(figure.specification for figure in made)
    return made


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
    (_, still), (_, again) = draw_stills(made[1]), draw_stills(made[1][::-1])
    for figure in made[1]:
        assert still(figure).startswith("<svg")
        assert "style=" not in still(figure)  # the page's policy would refuse it
        assert again(figure) == still(figure)


def test_a_board_without_resamples_has_no_pictures_and_a_small_page(build):
    summary = summarize(build.board("a"), [build.record("a")])
    assert list(make_figures(summary, {})) == []
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
        ((0, 1), "No difference is significant among 1 pair of the best 2 rows"),
        ((0, 1), "1 pair needs three seeds of both rows first"),
        (
            (0, 1, 2),
            "A star marks a significant difference: 1 of 1 pair of the best 2 rows, over patients and seeds",
        ),
    ):
        records = [build.record(model, seed, value) for model, value in (("a", 0.9), ("b", 0.6)) for seed in seeds]
        drawn = beside(records)
        figures = {f.name: f for f in pictures(summarize(build.board("a", "b", seeds=seeds), records, drawn), drawn)}
        assert against in figures["pairs"].description


def test_the_front_holds_the_rows_that_none_beats_in_both(build):
    rows = [
        {"row": "cheap", "value": 0.7, "cost": 1.0},
        {"row": "good", "value": 0.9, "cost": 5.0},
        {"row": "beaten", "value": 0.8, "cost": 6.0},
        {"row": "between", "value": 0.8, "cost": 3.0},
    ]
    assert [row["row"] for row in find_front(rows, higher=True)] == ["cheap", "between", "good"]
    assert [row["row"] for row in find_front(rows, higher=False)] == ["cheap"]


def test_costs_are_not_drawn_where_times_do_not_compare(build):
    def record(model, device, parameters):
        cost = EfficiencyPart(parameters=parameters, seconds={"train": 60.0 + parameters})
        return build.record(model, provenance=build.provenance(device=device), efficiency=cost)

    board = build.board("a", "b", seeds=(0,))
    assert draw_costs(summarize(board, [record("a", "one", 5), record("b", "another", 5)])) is None
    figure = draw_costs(summarize(board, [record("a", "one", 5), record("b", "another", 9)]))
    assert figure is not None
    assert list(figure.choices) == ["parameters"]
    assert "are not compared" in figure.description


def test_costs_are_drawn_one_at_a_time_with_every_row_and_round_ticks(build):
    records = []
    for number, name in enumerate(("a", "b", "c")):
        cost = EfficiencyPart(
            parameters=10**number * 3_000_000,
            inference_images_per_second=500.0 / 4**number,
            seconds={"train": 30.0 * 3**number},
        )
        records.append(build.record(name, 0, 0.8 + number / 50, efficiency=cost))
    figure = draw_costs(summarize(build.board("a", "b", "c", seeds=(0,)), records))
    assert figure is not None
    assert figure.choices == {
        "training": "training time, minutes",
        "image": "time per test image, ms",
        "parameters": "parameters, millions",
    }
    data = figure.specification["datasets"]
    times = [(row["row"], row["cost"]) for row in data["rows"] if row["axis"] == "image"]
    assert times == [("c + bce", 32.0), ("b + bce", 8.0), ("a + bce", 2.0)]
    assert {row["row"] for row in data["names"] if row["axis"] == "image" and not row["narrow"]} == {
        r for r, _ in times
    }
    params = {param["name"]: param["value"] for param in figure.specification["params"]}
    assert params["ticks"]["image"] == [2, 5, 10, 20]
    assert params["cost"] == "training"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.09, 1.5, [0.1, 0.2, 0.5, 1]), (1, 1e5, [1, 10, 100, 1000, 10000, 100000]), (88, 121, [90, 100, 110, 120])],
)
def test_ticks_of_a_logarithmic_axis_are_round_and_few(low, high, ticks):
    assert place_log_ticks(low, high) == ticks


def test_seeds_are_thin_lines_behind_their_mean_and_the_legend_has_areas(build):
    records = [build.record("a", seed, 0.9) for seed in (0, 1, 2)] + [build.record("b", 0, 0.8)]
    drawn = beside(records)
    figures = {f.name: f for f in pictures(summarize(build.board("a", "b", seeds=(0, 1, 2)), records, drawn), drawn)}
    roc = figures["roc"].specification
    seeds = [(line["row"], line["seed"]) for line in roc["datasets"]["seeds"] if line["label"] == "Edema"]
    assert seeds == [("a + bce", 0), ("a + bce", 1), ("a + bce", 2)]
    assert [line["row"] for line in roc["datasets"]["lines"] if line["label"] == "Edema"] == ["a + bce", "b + bce"]
    areas = next(param["value"] for param in roc["params"] if param["name"] == "areas")
    assert areas["Edema"] == {"a + bce": "0.900", "b + bce": "0.800"}
    assert "its area is the mean AUROC" in figures["roc"].description
    assert "seeds" not in figures["pr"].specification["datasets"]["lines"][0]


def test_operating_points_are_where_the_thresholds_of_each_policy_land(build):
    def counts(tp, fp):
        part = ConfusionPart(true_positives=tp, false_positives=fp, false_negatives=10 - tp, true_negatives=90 - fp)
        return {"0.5": {"Edema": part}, "oracle": {"Edema": part}}

    records = [build.record("a", 0, confusion=counts(4, 9)), build.record("a", 1, confusion=counts(6, 27))]
    drawn = beside(records)
    figures = {f.name: f for f in pictures(summarize(build.board("a"), records, drawn), drawn)}
    (point,) = figures["roc"].specification["datasets"]["decided"]
    assert point == {"row": "a + bce", "label": "Edema", "policy": ["0.5", "oracle"], "x": [0.2, 0.2], "y": [0.5, 0.5]}
    (point,) = figures["pr"].specification["datasets"]["decided"]
    assert (point["x"][0], point["y"][0]) == (0.5, 0.217)  # 10 of 46 flagged
    assert "decided" not in figures["reliability"].specification["datasets"]
    _, still = draw_stills([figures["roc"]])
    assert "policy" in still(figures["roc"]) or "oracle" in still(figures["roc"])


def test_names_cannot_break_out_of_the_page(build):
    wicked = "</script><script>alert(1)</script>"
    record = build.record(wicked)
    drawn = beside([record])
    summary = summarize(build.board(wicked, seeds=(0,)), [record], drawn)
    page = render_text(summary, figures=pictures(summary, drawn))
    assert "<script>alert" not in page
    assert summary.rows[0].title == f"{wicked} + bce"
    assert json.loads(build.held(page, "figures"))[0]["datasets"]["rows"][0]["row"] == summary.rows[0].title


def test_a_thinned_curve_stays_near_the_curve():
    x = np.linspace(0, 1, 200)
    line = thin({"x": x.tolist(), "y": np.sqrt(x).tolist()}, 0.01)
    assert len(line["x"]) < 40
    assert np.abs(np.interp(x, line["x"], line["y"]) - np.sqrt(x)).max() < 0.05
    assert (line["x"][0], line["x"][-1]) == (0.0, 1.0)
