"""Rows whose networks had seen the test before, wherever a board shows them."""

from __future__ import annotations

import csv
import io
import json

import pytest

from harness.cli.board_listing import as_plain
from harness.report import paper
from harness.report.frame import as_csv
from harness.report.headline import conclude, explain_nothing, judge
from harness.report.index import index_text
from harness.report.leaderboard import Leaderboard
from harness.report.page import render_text
from harness.report.shadow import tell_pretraining, tell_shadows
from harness.report.summary import BoardResults, summarize
from harness.results.record import PretrainingPart

SHARED = PretrainingPart(name="lists", about="many X-rays", overlap="shared", images=30, patients=9)
PEOPLE = PretrainingPart(name="lists", about="many X-rays", overlap="shared", images=0, patients=1)
RENAMED = PretrainingPart(name="other", overlap="shared", patients=7, why="they have other names")
POSSIBLE = PretrainingPart(name="lists", overlap="possible", why="its list is not here")
UNKNOWN = PretrainingPart(name="unknown", about="nobody says", overlap="unknown")
LOOSE = PretrainingPart(name="lists", overlap="unknown", why="its list is not here")
IMAGENET = PretrainingPart(name="imagenet", about="photographs", overlap="none", images=0, patients=0)


@pytest.fixture
def shown(build) -> Leaderboard:
    """Four rows, of which the best has seen the test, and the third says nothing of its weights."""
    combo = build.combo(build.row("silent"), 0, resolved={"recipe": {"weights": "imagenet"}})
    records = [
        build.record("first", metrics=0.8, pretraining=[IMAGENET]),
        build.record("seen", metrics=0.9, pretraining=[IMAGENET, SHARED]),
        build.record("silent", metrics=0.7, combo=combo),
        build.record("plain", metrics=0.6),
    ]
    return summarize(build.board("first", "seen", "silent", "plain", seeds=(0,)), records)


def find(summary: Leaderboard) -> dict[str, int | None]:
    return {row.model: row.rank for row in summary.rows}


def test_a_row_that_has_seen_the_test_has_numbers_and_no_rank(shown):
    assert find(shown) == {"first": 1, "silent": 2, "plain": 3, "seen": None}
    assert shown.rows[3].metrics["auroc"].mean == pytest.approx(0.9)
    assert "seen" not in {name for leaders in shown.leaders.values() for name in leaders}
    assert judge(shown).startswith("first")
    assert conclude(shown).startswith("first")


@pytest.mark.parametrize("part", [SHARED, PEOPLE, RENAMED, POSSIBLE])
def test_images_patients_and_what_nothing_excludes_take_the_rank(build, part):
    records = [build.record("a", metrics=0.9, pretraining=[part]), build.record("b", metrics=0.8)]
    assert find(summarize(build.board("a", "b", seeds=(0,)), records)) == {"b": 1, "a": None}


@pytest.mark.parametrize("part", [UNKNOWN, LOOSE, IMAGENET])
def test_what_is_unknown_keeps_its_rank(build, part):
    records = [build.record("a", metrics=0.9, pretraining=[part]), build.record("b", metrics=0.8)]
    assert find(summarize(build.board("a", "b", seeds=(0,)), records)) == {"a": 1, "b": 2}


def test_one_seed_that_has_seen_the_test_is_enough(build):
    records = [build.record("a", 0), build.record("a", 1, pretraining=[SHARED])]
    assert find(summarize(build.board("a"), records)) == {"a": None}


def test_it_takes_no_label_from_the_means_of_others(build):
    seen = build.record("seen", metrics={"auroc": build.metric(0.9, 0.9, None)}, pretraining=[SHARED])
    ranked = build.record("first", metrics={"auroc": build.metric(0.7, 0.8, 0.9)})
    summary = summarize(build.board("seen", "first", seeds=(0,)), [seen, ranked])
    assert summary.labels["auroc"] == build.labels
    assert summary.ranked[0].metrics["auroc"].mean == pytest.approx(0.8)
    assert summary.rows[1].metrics["auroc"].mean == pytest.approx(0.9)


def test_where_no_row_is_ranked_means_are_over_the_labels_of_all_of_them(build):
    records = [
        build.record("seen", metrics={"auroc": build.metric(0.9, 0.9, None)}, pretraining=[SHARED]),
        build.record("also", metrics={"auroc": build.metric(0.7, 0.8, 0.9)}, pretraining=[SHARED]),
    ]
    summary = summarize(build.board("seen", "also", seeds=(0,)), records)
    assert summary.labels["auroc"] == build.labels[:2]
    assert sorted(row.metrics["auroc"].mean for row in summary.rows) == pytest.approx([0.75, 0.9])


def test_each_source_is_told_in_a_sentence(build):
    parts = [SHARED, PEOPLE, RENAMED, POSSIBLE, UNKNOWN, LOOSE, IMAGENET]
    (row,) = summarize(build.board("a", seeds=(0,)), [build.record("a", pretraining=parts)]).rows
    assert tell_pretraining(row) == [
        "Pretrained on lists (many X-rays): 30 of the 100 test images and 9 of the 40 test patients are in it.",
        "Pretrained on lists (many X-rays): 0 of the 100 test images and 1 of the 40 test patients are in it.",
        "Pretrained on other: 7 of the 40 test patients are in it; they have other names.",
        "Pretrained on lists, which may hold test images: its list is not here.",
        "What its network was pretrained on is unknown (nobody says).",
        "Pretrained on lists: whether test images are in it is unknown, as its list is not here.",
        "Pretrained on imagenet (photographs): no test image is in it.",
        "The row is therefore not ranked, and compared with no other row.",
    ]


def test_the_page_marks_the_row_and_says_why(shown):
    page = render_text(shown)
    assert "has seen test images, not ranked</span>" in page
    assert "pretraining unknown</span>" in page
    assert "30 of the 100 test images and 9 of the 40 test patients are in it" in page
    assert "Not ranked, as its network has seen test images or patients before, or may have: seen" in page
    assert "Nobody knows whether the network of silent + bce has seen test images in pretraining" in page
    assert "4 of 4 rows have a result" in page


def test_the_page_over_boards_says_so(shown):
    index = index_text([BoardResults(shown)])
    assert "1 row not ranked: test images were seen before, or may have been" in index
    assert "Pretraining unknown for 1 of 4 rows" in index


def test_tables_for_programs_hold_what_was_seen(shown):
    table = {row["model"]: row for row in csv.DictReader(io.StringIO(as_csv(shown)))}
    assert table["seen"]["pretraining"] == "imagenet: none; lists: shared (30 images, 9 patients)"
    assert table["silent"]["pretraining"] == "unknown: unknown"
    assert table["plain"]["pretraining"] == ""
    plain = {row["model"]: row for row in json.loads(json.dumps(as_plain(shown), default=str))["rows"]}
    assert plain["seen"]["pretraining"][1] == SHARED.model_dump()
    assert plain["seen"]["shadow"] == "has seen test images, not ranked"
    assert plain["first"]["shadow"] == ""


def test_a_board_of_rows_that_have_seen_nothing_has_no_such_column(build):
    summary = summarize(build.board("a", seeds=(0,)), [build.record("a")])
    assert "pretraining" not in as_csv(summary).partition("\n")[0]
    assert tell_shadows(summary) == []


def test_the_table_for_a_paper_has_a_sign_for_each_mark_and_bold_for_none_of_them(shown):
    table = paper.make_table(shown)
    text = paper.as_markdown(table)
    assert "| silent + bce† |" in text
    assert "| seen + bce‡ | 0.900 |" in text
    assert "† pretraining unknown. ‡ has seen test images, not ranked." in text
    assert "‡ has seen test images, not ranked." in paper.as_latex(table)


def test_a_board_all_of_whose_rows_have_seen_the_test_has_no_answer(build):
    records = [build.record("a", pretraining=[SHARED]), build.record("b", pretraining=[POSSIBLE])]
    summary = summarize(build.board("a", "b", seeds=(0,)), records)
    assert not judge(summary)
    assert explain_nothing(summary) == (
        "No row is ranked: the networks of all rows with a result have seen test images before, or may have."
    )
    page = render_text(summary)
    assert "No row is ranked" in page
    assert "To measure what it lacks" not in page


def test_the_only_ranked_row_is_not_called_the_only_result(build):
    records = [build.record("a", metrics=0.9, pretraining=[SHARED]), build.record("b")]
    summary = summarize(build.board("a", "b", seeds=(0,)), records)
    assert judge(summary).endswith("No other row has a rank.")
    assert conclude(summary).endswith("It is the only row with a rank.")
