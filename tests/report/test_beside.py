"""Published numbers beside measured rows: what interval a test set's size implies, and whether the two can agree."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from harness.board import bundled_text
from harness.cli.board_listing import as_plain, table
from harness.cli.row_listing import as_text
from harness.errors import UsageError
from harness.evaluation.resamples import Resamples
from harness.report.beside import set_beside
from harness.report.frame import as_rows
from harness.report.page import render_text
from harness.report.published import Published
from harness.report.summary import check_published, read_results, summarize

ERROR = 0.01
"""Standard error of the measured row over its 40 patients."""
OWN = {"name": "own", "title": "The own split", "test_images": 100, "compares": "Everything."}
LARGER = {"name": "other", "title": "A larger split", "test_images": 1000, "test_patients": 360, "compares": "Little."}


def publish(split=OWN, **row) -> Published:
    known = {"name": "Net 2020", "split": split["name"], "row": "net--bce--demo", "source": "a paper"}
    return Published.model_validate({"splits": [split], "rows": [known | row]})


@pytest.fixture
def measure(build):
    """A board with one row of the mean 0.8, whose resamples spread by `ERROR`."""

    def make(published: Published, seeds=(0.8,), resampled: bool = True, **changes):
        board = build.board("net", seeds=tuple(range(len(seeds))), **changes)
        records = [build.record("net", seed, value) for seed, value in enumerate(seeds)]
        noise = np.random.default_rng(0).normal(0, 1, 400)
        noise = ERROR * (noise - noise.mean()) / noise.std(ddof=1)
        drawn = {
            record.combo.name: Resamples(macro={"auroc": value + noise}, per_label={})
            for record, value in zip(records, seeds, strict=True)
        }
        summary = summarize(board, records, drawn if resampled else {})
        return dataclasses.replace(summary, beside=set_beside(published, summary))

    return make


def only(summary):
    (found,) = summary.beside["net--bce--demo"]
    return found


def test_on_the_same_test_images_the_published_number_has_the_error_of_the_row(measure):
    found = only(measure(publish(auroc=0.81)))
    assert found.interval == pytest.approx((0.81 - 1.96 * ERROR, 0.81 + 1.96 * ERROR), abs=1e-5)
    assert found.reach == pytest.approx(1.96 * math.hypot(ERROR, ERROR), abs=1e-5)
    assert "A difference of 0.0100 can be chance: two test sets of 40 patients differ by up to 0.0277." in found.text
    assert "Both have the same test images" in found.text
    assert "another split" not in found.text


def test_a_test_set_of_nine_times_the_patients_has_a_third_of_the_error(measure):
    found = only(measure(publish(LARGER, auroc=0.84, note="Ten crops.")))
    assert found.interval == pytest.approx((0.84 - 1.96 * ERROR / 3, 0.84 + 1.96 * ERROR / 3), abs=1e-5)
    assert found.reach == pytest.approx(1.96 * math.hypot(ERROR, ERROR / 3), abs=1e-5)
    assert "Published, Net 2020: 0.8400 on 1,000 images of 360 patients. Measured: 0.8000 [0.7" in found.text
    assert "more than chance explains, which is up to 0.0207 for test sets of 40 and 360 patients" in found.text
    assert "of another split: A larger split. Ten crops." in found.text
    assert "fewer than 3 seeds do not tell" in found.text


def test_sizes_are_images_where_the_published_patients_are_not_known(measure):
    split = {name: value for name, value in LARGER.items() if name != "test_patients"}
    found = only(measure(publish(split, auroc=0.801)))
    assert found.reach == pytest.approx(1.96 * math.hypot(ERROR, ERROR / math.sqrt(10)), abs=1e-5)
    assert "test sets of 100 and 1,000 images (patients are not known of both) differ" in found.text


def test_three_seeds_widen_what_chance_explains(measure):
    found = only(measure(publish(auroc=0.84), seeds=(0.79, 0.80, 0.81)))
    assert found.reach > 1.96 * math.sqrt(2 * ERROR**2 + 0.01**2 * 4 / 3)
    assert "can be chance" in found.text
    assert "seeds do not tell" not in found.text


def test_the_same_number_is_called_the_same(measure):
    assert "The two are the same, but for rounding." in only(measure(publish(auroc=0.80004))).text


SILENT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no resamples": ({"resampled": False}, OWN, "its resamples"),
    "another unit": ({}, OWN | {"unit": "patient"}, "these numbers are over patients"),
    "the own split of another size": ({"options": {"split": "own"}}, OWN | {"test_images": 90}, "on 90"),
    "no size": (
        {},
        {"name": "other", "title": "Another", "compares": "Nothing."},
        "the size of the published test set is not given",
    ),
}


@pytest.mark.parametrize("case", SILENT)
def test_without_an_interval_it_says_why_and_gives_no_verdict(measure, case):
    changes, split, why = SILENT[case]
    found = only(measure(publish(split, auroc=0.9), **changes))
    assert why in found.text
    assert found.interval is None
    assert "chance explains" not in found.text
    assert "can be chance" not in found.text


def test_a_mean_over_other_labels_is_no_mean_of_the_row(measure):
    labels = {"Edema": 0.9, "Mass": 0.7}
    found = only(measure(publish(auroc=0.8, auroc_per_label=labels)))
    assert found.value is None
    assert "what was published does not tell the same" in found.text


def test_an_f1_says_how_its_thresholds_were_chosen(build):
    board = build.board("net", objective="f1", seeds=(0,), metrics=("f1",))
    records = [build.record("net", 0, {"f1@val-f1": build.metric(0.3)})]
    summary = summarize(board, records)
    beside = set_beside(publish(f1=0.35, thresholds="fitted on the test labels"), summary)
    (found,) = beside["net--bce--demo"]
    assert "Its thresholds: fitted on the test labels. This board's are those of val-f1" in found.text


def test_what_is_not_measured_yet_has_its_published_number_in_words(build):
    summary = summarize(build.board("net"), [])
    (found,) = set_beside(publish(auroc=0.8), summary)["net--bce--demo"]
    assert found.value is None
    assert found.text.startswith("Published, Net 2020: 0.8000 on 100 images. Split: The own split.")
    assert "Nothing of this row has been measured here yet." in found.text


def test_a_row_is_named_by_its_title_too_and_a_submission_before_it_is_there(build):
    titled = dataclasses.replace(build.row("net"), title="My net")
    summary = summarize(build.board(titled), [])
    assert list(set_beside(publish(auroc=0.8, row="My net"), summary)) == ["net--bce--demo"]
    assert set_beside(publish(auroc=0.8, row="external--later"), summary) == {}


def test_rows_that_parameters_have_made_one_are_found_by_each_of_their_titles(build):
    row = dataclasses.replace(build.row("net"), title="DACNet / focal, 12 epochs")
    summary = summarize(build.board(row), [])
    for name in ("DACNet", "focal, 12 epochs", row.title, row.name):
        assert list(set_beside(publish(row=name, auroc=0.85), summary)) == [row.name]


def test_a_row_that_was_given_other_parameters_is_not_what_was_published_and_no_mistake(build):
    summary = summarize(build.board(build.row("net", epochs=1)), [])
    assert set_beside(publish(auroc=0.85), summary) == {}


def test_an_unknown_row_is_named_with_those_that_are_known(build):
    board = build.board("net", "other")
    build.write()
    (build.folder / "published.toml").write_text(
        '[[splits]]\nname = "own"\ntitle = "Own"\ncompares = "All."\n'
        '[[rows]]\nname = "Net 2020"\nsplit = "own"\nsource = "a paper"\nauroc = 0.8\nrow = "Net--bce--demo"\n'
    )
    for read in (read_results, check_published):
        with pytest.raises(
            UsageError, match=r"published\.toml: 'Net 2020' is about the row 'Net--bce--demo'"
        ) as caught:
            read(board)
        assert "'net + bce', 'other + bce'" in str(caught.value)


def test_page_table_and_terminal_show_it_and_it_is_never_ranked(measure):
    published = publish(LARGER, auroc=0.84)
    summary = measure(published)
    page = render_text(summary, (), published)
    assert 'class="hollow"' in page
    assert "published 0.8400" in page
    assert only(summary).text in page
    assert as_rows(summary)[0]["published"] == "0.8400"
    assert as_plain(summary)["rows"][0]["published"][0]["value"] == 0.84
    assert [column.header for column in table(summary, 200).columns].count("published") == 1
    assert any(only(summary).text in str(part) for part in as_text(summary, summary.rows[0]))
    assert [row.rank for row in summary.rows] == [1]


def test_a_board_without_links_has_none_of_it(measure):
    summary = measure(Published())
    page = render_text(summary)
    assert 'class="hollow"' not in page
    assert ".dots.published" not in page
    assert "published" not in as_rows(summary)[0]


def test_a_run_reads_the_file_before_it_trains(harness, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "board.toml").write_text(bundled_text("demo") or "", encoding="utf-8")
    (tmp_path / "b" / "published.toml").write_text(
        'splits = [{ name = "s", title = "S", compares = "Nothing." }]\n'
        'rows = [{ name = "Net", split = "s", source = "a paper", auroc = 0.8, row = "nobody" }]\n'
    )
    code, _, errors = harness("run", str(tmp_path / "b"), "--dry-run")
    assert code == 2
    assert "'Net' is about the row 'nobody'" in " ".join(errors.split())
    assert not (tmp_path / "b" / "records").exists()


def test_a_row_that_is_not_ranked_has_nothing_beside_it(measure):
    summary = measure(publish(auroc=0.81))
    unranked = dataclasses.replace(summary, rows=tuple(dataclasses.replace(row, rank=None) for row in summary.rows))
    (found,) = set_beside(publish(auroc=0.81), unranked)["net--bce--demo"]
    assert found.value is None
    assert "does not stand beside the measured row: the row is not ranked" in found.text
