"""The boards that are kept show what their records say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness.board import bundled_boards, read_board
from harness.report.index import render_index
from harness.report.page import render
from harness.report.summary import summarize
from harness.results.store import read_records

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"


@pytest.mark.parametrize("name", bundled_boards())
def test_a_kept_page_is_its_records_rendered_byte_for_byte(name, tmp_path):
    folder = shutil.copytree(LEADERBOARDS / name, tmp_path / name)
    assert read_records(folder).problems == ()
    page = render(read_board(folder), indexed=True).page
    assert page.read_bytes() == (LEADERBOARDS / name / "index.html").read_bytes()
    assert (folder / "board.csv").read_bytes() == (LEADERBOARDS / name / "board.csv").read_bytes()


@pytest.mark.slow
def test_the_page_over_kept_boards_is_made_of_them(tmp_path):
    path, _, _ = render_index(LEADERBOARDS, tmp_path)
    assert path.read_bytes() == (LEADERBOARDS / "index.html").read_bytes()


def test_the_kept_demo_is_complete_and_its_rows_differ():
    summary = summarize(read_board(LEADERBOARDS / "demo"), read_records(LEADERBOARDS / "demo").records)
    assert {row.status for row in summary.rows} == {"done"}
    means = [row.metrics["auroc"].mean for row in summary.rows]
    assert means[0] > 0.85
    assert means[0] - means[-1] > 0.1


def test_no_record_is_kept_that_was_not_measured():
    assert read_records(LEADERBOARDS / "nih-dacnet").records == ()
    assert "harness run nih-dacnet" in (LEADERBOARDS / "nih-dacnet" / "index.html").read_text(encoding="utf-8")
    for name in ("nih-official", "nih-70-10-20"):
        assert all(record.external is not None for record in read_records(LEADERBOARDS / name).records)


PUBLISHED = {
    "CASP-matched": 0.7334,
    "CASP": 0.7288,
    "DenseNet-121": 0.7158,
    "ResNet-18": 0.7039,
    "CASP recursive": 0.6914,
    "ResNet-50": 0.6913,
    "Compact ViT": 0.6731,
    "MobileNetV2": 0.6684,
}
"""Mean AUROCs that the authors of INQUIRELAB/casp-chestmnist give (commit 38f0f86)."""
REPLICA = {
    "Atelectasis": 0.8179808156177791,
    "Cardiomegaly": 0.909014913721344,
    "Effusion": 0.8827164014509215,
    "Infiltration": 0.715644983031959,
    "Mass": 0.8376837531798024,
    "Nodule": 0.7755751107094851,
    "Pneumonia": 0.7616870310044441,
    "Pneumothorax": 0.8776145243493956,
    "Consolidation": 0.8002045198129359,
    "Edema": 0.8944599670561432,
    "Emphysema": 0.9316231389092308,
    "Fibrosis": 0.8250897843248722,
    "Pleural_Thickening": 0.7889195976208047,
    "Hernia": 0.9175253237376412,
}
"""AUROCs that jrzech/reproduce-chexnet publishes with its predictions (pretrained/aucs.csv, commit a011a9a)."""


def test_the_official_board_has_the_means_that_the_authors_give_and_says_which_of_the_first_two_is_ahead():
    board = LEADERBOARDS / "nih-official"
    summary = summarize(read_board(board), read_records(board).records)
    found = {row.title: row.metrics["auroc"] for row in summary.ranked}
    assert list(found) == list(PUBLISHED)
    for name, value in PUBLISHED.items():
        assert found[name].mean == pytest.approx(value, abs=1e-4)
        assert len(found[name].seeds) == 5
    page = (board / "index.html").read_text(encoding="utf-8")
    assert re.search(
        r"CASP-matched \(external\) leads with AUROC 0\.7334 .* ahead of CASP \(external\)\. No significant", page
    )


def test_the_board_of_the_shared_split_has_the_aurocs_that_were_published_with_the_predictions():
    (record,) = read_records(LEADERBOARDS / "nih-70-10-20").records
    for label, value in REPLICA.items():
        assert record.metrics["auroc"].per_label[label].value == pytest.approx(value, abs=1e-12)


@pytest.mark.slow
def test_kept_boards_are_small_and_valid(harness):
    for name in bundled_boards():
        assert (LEADERBOARDS / name / "index.html").stat().st_size < 3e6
        code, out, _ = harness("validate", str(LEADERBOARDS / name))
        assert code == 0, out
    records = [path for name in bundled_boards() for path in (LEADERBOARDS / name / "records").glob("*")]
    assert sum(path.stat().st_size for path in records) < 20e6
