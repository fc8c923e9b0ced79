"""The board of every kind of row: what page, board.csv and terminal say of how rows were trained and what is shared."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from harness.board import read_board
from harness.cli.board_listing import as_plain
from harness.cli.row_listing import as_text
from harness.report.figures.costs import draw_costs
from harness.report.headline import judge
from harness.report.kinds import (
    CONTROL,
    ENSEMBLE,
    LINEAR,
    NEIGHBORS,
    SCRATCH,
    TUNED,
    ZERO_SHOT,
)
from harness.report.page import render
from harness.report.summary import read_results
from harness.report.trained import format_seconds, mark_embedding, mark_kind, tell_training
from harness.results.record import EfficiencyPart, EmbeddingsPart
from tests.report.conftest import require_valid

KINDS = Path(__file__).parents[1] / "fixtures" / "kinds"
LINEAR_PROBE, KNN, FEW = (f"hf_dino--bce--{recipe}" for recipe in ("linear-probe", "knn", "few-shot-10-percent"))
OTHER = "open-clip_open--bce--linear-probe"


@pytest.fixture(scope="module")
def summary():
    return read_results(read_board(KINDS)).summary


@pytest.fixture(scope="module")
def rows(summary):
    return {row.name: row for row in summary.rows}


@pytest.fixture(scope="module")
def took(rows) -> dict[str, str]:
    """Row -> how long its embedding took, in words; the board is made again now and then, on other machines."""
    return {name: format_seconds(row.efficiency["embedding_seconds"]) for name, row in rows.items() if row.embeddings}


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "kinds"
    shutil.copytree(KINDS, folder)
    return render(read_board(folder)).page


def test_every_kind_of_row_is_on_the_board_and_all_are_compared_alike(summary, rows):
    kinds = {row.kind for row in summary.rows}
    assert kinds == {SCRATCH, TUNED, LINEAR, NEIGHBORS, ZERO_SHOT, ENSEMBLE, CONTROL}
    assert {row.status for row in summary.rows} == {"done"}
    ranked = {row.name for row in summary.ranked}
    assert ranked == {row.name for row in summary.rows if row.control is None}
    assert len(summary.pairs) == len(ranked) * (len(ranked) - 1) // 2
    assert all(pair.p is not None and pair.p_holm is not None and pair.interval for pair in summary.pairs)
    assert all(row.group is not None and row.metrics["auroc"].interval_seeds for row in summary.ranked)


def test_what_is_the_same_in_every_seed_has_the_interval_over_patients(rows):
    for name in (LINEAR_PROBE, KNN, OTHER):
        spread = rows[name].metrics["auroc"]
        assert spread.deviation == pytest.approx(0, abs=1e-12)
        assert spread.interval_seeds == pytest.approx(spread.interval)
    drawn = rows[FEW].metrics["auroc"]
    assert drawn.deviation > 0.01, "few-shot rows see other patients in each seed"
    assert drawn.interval_seeds[0] < drawn.interval[0]


def test_rows_are_marked_by_how_they_were_trained(summary, rows):
    marks = {name: mark_kind(row, summary) for name, row in rows.items()}
    assert marks[FEW] == "linear probe, 10 % of training patients"
    assert (marks[LINEAR_PROBE], marks[KNN]) == ("linear probe", "nearest neighbors")
    assert marks["tiny-cnn--bce--demo"] == "trained from scratch"
    assert {marks[name] for name in marks if "zero-shot" in name} == {"zero-shot"}
    assert {marks[name] for name in marks if name.startswith(("ensemble", "control"))} == {""}


def test_a_row_far_below_the_best_that_only_its_spread_ties_with_it_is_told_apart(summary):
    verdict = judge(summary)
    assert verdict.startswith("Tie of 3 rows, greedy ensemble of 2 to 4 rows first. AUROC from 0.802 to 0.698.")
    assert verdict.endswith(
        "hf/dino, few-shot-10-percent recipe (0.443) cannot be told from the first: its results vary too much."
    )


def test_where_all_rows_were_trained_alike_nothing_is_said_of_it(build):
    summary = build_summary(build, [build.record("a"), build.record("b")])
    assert [mark_kind(row, summary) for row in summary.rows] == ["", ""]


def summary_of(summary, name):
    return next(row for row in summary.rows if row.name == name)


def build_summary(build, records):
    from harness.report.summary import summarize

    return summarize(build.board(*(record.combo.model for record in records), seeds=(0,)), records)


def test_what_embeddings_cost_is_told_apart_and_counted_once(summary, rows, took):
    assert rows[LINEAR_PROBE].embeddings == rows[KNN].embeddings == rows[FEW].embeddings
    assert mark_embedding(rows[KNN], summary) == f"embedding {took[KNN]}, shared by 3 rows"
    assert mark_embedding(rows[OTHER], summary) == f"embedding {took[OTHER]}, of this row alone"
    assert mark_embedding(rows["tiny-cnn--bce--demo"], summary) == ""
    first, second = rows[LINEAR_PROBE].efficiency, rows[KNN].efficiency
    assert first["embedding_seconds"] == second["embedding_seconds"]
    assert first["device_hours"] * 3600 < first["embedding_seconds"] / 3, "whoever made them"


def test_an_ensemble_counts_what_its_members_share_once(summary, rows):
    row = next(row for row in rows.values() if row.ensemble)
    for record in row.counted:
        members = [r for m in record.ensemble.members for r in rows[m.row].counted if r.key == m.key]
        parts = {part.digest: part.seconds for member in members for part in member.efficiency.embeddings}
        assert {part.digest: part.seconds for part in record.efficiency.embeddings} == parts
        assert "embed" not in record.efficiency.seconds
    assert "shared with" in mark_embedding(row, summary)


def test_rows_with_embeddings_of_their_own_share_none(build):
    def cost(digest, seconds):
        part = EmbeddingsPart(key="0" * 16, digest=digest, images=9, seconds=seconds)
        return EfficiencyPart(seconds={"embed": seconds, "train": 1.0}, embeddings=[part])

    records = [build.record("a", efficiency=cost("one", 30.0)), build.record("b", efficiency=cost("other", 300.0))]
    summary = build_summary(build, records)
    marks = {row.model: mark_embedding(row, summary) for row in summary.rows}
    assert marks == {"a": "embedding 30 s, of this row alone", "b": "embedding 5 min, of this row alone"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (41.2, "41 s"), (130, "2 min"), (9000, "2.5 h")]
)
def test_times_are_told_in_the_unit_that_fits(seconds, text):
    assert format_seconds(seconds) == text


def test_the_page_says_what_a_reader_must_know(page, build, took):
    text = build.whole(page.read_text(encoding="utf-8"))
    plain = re.sub(r"<[^>]+>|\s+", " ", text)
    for said in (
        "linear probe, 10 % of training patients",
        f"embedding {took[KNN]}, shared by 3 rows",
        "The network kept the weights that it began with: a linear layer was fitted on its embeddings",
        "images are held against sentences about each label, and nothing was trained",
        "drawn from the data and the seed, the same for every row that asks for as many",
        "What validation chose for each label: how many of the nearest training images are asked",
        "embedding (s), shared by 3 rows",
    ):
        assert said in plain, said
    assert "hf/dino + bce, linear-probe" not in text, "no loss takes part in a probe"
    options = re.findall(r'<select id="filter-kind".*?</select>', text)[0]
    assert options.count("<option") == 7
    assert '<option value="control">' not in options


def test_board_csv_and_json_hold_kinds_and_what_is_shared(page, summary):
    with (page.parent / "board.csv").open(encoding="utf-8") as file:
        table = {row["row"]: row for row in csv.DictReader(file)}
    assert table[FEW]["kind"] == "linear probe, 10 % of training patients"
    assert table[KNN]["embeddings"] == table[LINEAR_PROBE]["embeddings"] != table[OTHER]["embeddings"]
    assert float(table[KNN]["embedding_seconds"]) == pytest.approx(sum(summary_of(summary, KNN).embeddings.values()))
    plain = {row["name"]: row for row in json.loads(json.dumps(as_plain(summary)))["rows"]}
    assert (plain[FEW]["kind"], plain[FEW]["share"]) == ("linear probe", "10 % of training patients")
    (shared,) = plain[KNN]["embeddings"]
    assert sorted(shared["rows"]) == sorted([LINEAR_PROBE, KNN, FEW])
    assert shared["seconds"] == pytest.approx(plain[KNN]["efficiency"]["embedding_seconds"])


def test_the_terminal_says_how_a_row_was_trained(summary, rows, took):
    said = "\n".join(str(part) for part in as_text(summary, rows[FEW]))
    assert "It saw 10 % of training patients (seed 0: " in said
    assert f"Embedding the images took {took[FEW]}" in said
    assert tell_training(rows["tiny-cnn--bce--demo"], summary) == []


def test_the_cost_picture_tells_kinds_by_shape_and_color(summary):
    figure = draw_costs(summary)
    assert figure is not None
    require_valid([figure.specification])
    assert list(figure.choices)[:2] == ["training", "fit"]
    rows = figure.specification["datasets"]["rows"]
    both = {(row["axis"], row["row"]): row["cost"] for row in rows}
    knn = "hf/dino, knn recipe"
    assert both["training", knn] > both["fit", knn]
    assert not any(row["kind"] == ZERO_SHOT for row in rows if row["axis"] == "training")
    assert any(row["kind"] == ZERO_SHOT for row in rows if row["axis"] == "image")
    (points,) = [one for one in figure.specification["layer"] if one["mark"]["type"] == "point"]
    for channel in ("shape", "color"):
        scale = points["encoding"][channel]["scale"]
        assert scale["domain"] == [SCRATCH, TUNED, LINEAR, NEIGHBORS, ZERO_SHOT, ENSEMBLE]
        assert len(set(scale["range"])) == 6
    assert "A zero-shot row has no training time" in figure.description
