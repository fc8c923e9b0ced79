"""Boards whose splits share patients: never ranked, and what their leak is worth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.board import read_board
from harness.report.leak import measure_leak
from harness.report.page import render
from harness.report.summary import read_results

BOARD = """
title = "Phantom, {half}"
seeds = [0, 1, 2]
metrics = ["auroc"]
{reference}
[dataset]
name = "phantom"
train = 1000
val = 60
test = 1000
size = 16
difficulty = 8.0
steady = true
image_level = "{half}"

[[rows]]
models = ["tiny-cnn"]
losses = ["bce"]
recipes = ["demo"]
params.recipe = {{ size = 16, load_size = 16, epochs = 10, batch_size = 16 }}
"""
TOY = """
title = "Toy"
metrics = ["auroc"]

[dataset]
name = "toy"
leak = true
allow_leaks = true

[[rows]]
models = ["toy-net", "tiny-cnn"]
losses = ["bce"]
recipes = ["toy"]
"""


def write_board(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "board.toml").write_text(text)
    return folder


def test_a_board_whose_splits_share_patients_is_never_ranked(harness, tmp_path):
    folder = write_board(tmp_path / "b", TOY)
    code, out, err = harness("run", "b")
    assert code == 0, err
    assert "patients are in more than one split, on purpose: results are too good" in err + out
    summary = read_results(read_board(folder)).summary
    assert [row.rank for row in summary.rows] == [None, None]
    assert all("auroc" in row.metrics for row in summary.rows)
    assert not summary.ranked
    page = (folder / "index.html").read_text()
    assert "Not ranked, as the splits leak: 12 patients are in more than one split, on purpose" in page
    assert "harness run b</pre>" not in page.partition("</section>")[0]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_optimism_of_a_split_by_image_is_above_0_by_its_interval_and_stands_on_the_page(harness, tmp_path):
    write_board(tmp_path / "reference", BOARD.format(half="reference", reference=""))
    leaking = write_board(tmp_path / "leaking", BOARD.format(half="leaking", reference='reference = "../reference"'))
    for folder in ("reference", "leaking"):
        code, _, err = harness("run", folder)
        assert code == 0, err
    row = read_board(leaking).rows[0].name
    code, out, err = harness("compare", f"leaking::{row}", f"reference::{row}", "--json")
    found = json.loads(out)
    (pair,) = found["pairs"]
    assert (code, pair["over"]) == (0, "patients and seeds"), err
    assert pair["interval"][0] > 0, pair
    assert any("same test images and were trained on different ones" in note for note in found["notes"])
    leak = measure_leak(read_results(read_board(leaking)).summary)
    assert leak is not None
    (gain,) = (one.gain for one in leak.rows)
    assert gain.value == pytest.approx(pair["delta"])
    assert gain.interval == pytest.approx(tuple(pair["interval"]))
    page = (leaking / "index.html").read_text()
    assert "Not ranked, as the splits leak" in page
    assert f"tiny-cnn + bce gains {gain.value:.3f} in AUROC by the leak, with 95 % intervals above 0." in page
    # without the reference the page says so
    (tmp_path / "reference").rename(tmp_path / "elsewhere")
    said = render(read_board(leaking)).page.read_text()
    assert "The reference &#34;../reference&#34; is no board: it holds no board.toml" in said
